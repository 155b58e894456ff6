package hv

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

func TestMain(m *testing.M) { os.Exit(need.Main(m)) }

// newRealVM makes a machine of a hand-made image.
func newRealVM(t *testing.T, code *asm.Code) *VM {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	vm, err := New(Config{Image: asm.Image{Code: code}.Write(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Close() })
	return vm
}

func runFor(vm *VM, d time.Duration) (Exit, error) {
	ctx, cancel := context.WithTimeout(context.Background(), need.Patience(d))
	defer cancel()
	return vm.Run(ctx)
}

// TestTripleFault spoils the IDT, which no guest can, and faults.
func TestTripleFault(t *testing.T) {
	vm := newRealVM(t, new(asm.Code).Raw(0x0f, 0x0b))
	e := vm.tables.slot(engine.SystemGVA+pageSize, false)
	clear(vm.mem.page(e.load().frame()))
	_, err := runFor(vm, 5*time.Second)
	var f *GuestFault
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	if !strings.Contains(f.Reason, "triple fault") || f.Regs.String() == "" {
		t.Errorf("%q", f.Reason)
	}
}

// TestLoadedTables: what New makes passes the walker, and so does what a guest
// has made of it.
func TestLoadedTables(t *testing.T) {
	c := new(asm.Code).Hypercall(hypercall.CallMap, 0x10_0000_0000, 1<<20, 3)
	c.Hypercall(hypercall.CallMap, 0x20_0000_0000, 1<<20, 3|uint64(hypercall.MapLazy))
	c.Store(0x20_0000_0000, 1).Hypercall(hypercall.CallAlias, 0x30_0000_0000, 0x1000, 3, 0x10_0000_0000)
	c.Hypercall(hypercall.CallProtect, 0x20_0000_0000, 0x10000, 0).Exit(0)
	vm := newRealVM(t, c)
	check := newChecker(t, vm)
	if err := check.check(); err != nil {
		t.Fatal(err)
	}
	if exit, err := runFor(vm, 5*time.Second); err != nil || exit.Code != 0 {
		t.Fatal(exit, err)
	}
	if err := check.check(); err != nil {
		t.Error(err)
	}
}

// TestLostFrames: when the host cannot invalidate, frames stay out of use.
func TestLostFrames(t *testing.T) {
	vm := newTestVM(t, 300)
	if s := vm.tables.doMap(scratch, 4*pageSize, hypercall.MapRead|hypercall.MapWrite); s != 0 {
		t.Fatal(s)
	}
	left, data := vm.mem.left, vm.mem.data
	vm.tables.each(pageRange{scratch, scratch + 4*pageSize}, false, func(_ uint64, e *entry) hypercall.Status {
		vm.tables.clear(e)
		return 0
	})
	vm.mem.data = make([]byte, len(data)+1)[1:] // misaligned: madvise refuses
	if vm.tables.flush() != hypercall.EIO || vm.mem.left != left {
		t.Errorf("%d frames free, %d before", vm.mem.left, left)
	}
	vm.mem.data = data
	if s := vm.tables.flush(); s != 0 || vm.mem.left != left+4 {
		t.Errorf("the next time: %v, %d frames free, %d before", s, vm.mem.left, left)
	}
}

// TestDefect: a panic while a guest is answered ends its machine with an error.
func TestDefect(t *testing.T) {
	vm := newRealVM(t, new(asm.Code).Hypercall(hypercall.CallConsoleWrite, 1, uint64(hypercall.StartInfoGVA), 1))
	vm.con.streams[1] = stream{fd: -1, w: panicky{}}
	_, err := runFor(vm, 5*time.Second)
	var d *Defect
	if !errors.As(err, &d) || d.Value != "broken" || len(d.Stack) == 0 {
		t.Fatalf("error %v, want a defect", err)
	}
}

type panicky struct{}

func (panicky) Write([]byte) (int, error) { panic("broken") }

// TestModes: what no machine can be made of, and why.
func TestModes(t *testing.T) {
	need.KVM(t)
	const required, usable = 0x21c, 0x224 // of asm.Image's note, in the file
	image := func(at int, clear, set hypercall.Feature) string {
		name := asm.Image{Code: new(asm.Code)}.Write(t)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f := hypercall.Feature(binary.LittleEndian.Uint64(b[at:]))&^clear | set
		binary.LittleEndian.PutUint64(b[at:], uint64(f))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	plain := image(usable, 0, 0)
	for _, test := range []struct {
		cfg  Config
		want string // "": it can be made
	}{
		{Config{Image: plain, Mode: hypercall.ModeTrap}, ""},
		{Config{Image: plain, Mode: 3}, "there is no mode 3"},
		{Config{Image: image(usable, hypercall.FeatureTrapMode, 0), Mode: hypercall.ModeTrap}, "cannot run in trap mode"},
		{Config{Image: image(usable, hypercall.FeatureTrapMode, 0)}, ""},
		{Config{Image: image(required, 0, hypercall.FeatureSuspend), Mode: hypercall.ModeTrap}, "lacks in trap mode: suspend"},
		{Config{Image: image(required, 0, hypercall.FeatureSuspend)}, ""},
		{Config{Image: plain, Mode: hypercall.ModeTrap, Memory: 501 << 30}, "more than 500 GiB"},
		{Config{Image: plain, Mode: hypercall.ModeTrap, Memory: MinMemory}, ""},
		{Config{Image: plain, Mode: hypercall.ModeTrap, Memory: 100 << 20, RootFS: make([]byte, 100<<20-1<<19)}, "give it more (-m)"},
	} {
		vm, err := New(test.cfg)
		if err == nil {
			vm.Close()
		}
		if err == nil && test.want != "" || err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("mode %d, %d MiB: %v, want %q", test.cfg.Mode, test.cfg.Memory>>20, err, test.want)
		}
	}
}

// TestTouchedIsTheGuests: what the host needs beside the guest's memory in trap
// mode is not counted as touched by the guest.
func TestTouchedIsTheGuests(t *testing.T) {
	need.KVM(t)
	need.Count(1)
	const memory = 4 << 20
	vm, err := New(Config{Image: asm.Image{Code: new(asm.Code).Stop(0)}.Write(t), Mode: hypercall.ModeTrap, Memory: memory, CollectKVMStats: true})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	vm.mem.populate(0, memory>>pageShift)
	if _, err := runFor(vm, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if m := vm.Stats().Memory; m.Guest != memory || m.GuestTouched != memory {
		t.Errorf("%d bytes of %d touched, want all", m.GuestTouched, m.Guest)
	}
}

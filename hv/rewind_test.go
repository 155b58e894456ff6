package hv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// recall is a snapshot of test/function/recall that waits for its first message.
func recall(t testing.TB, memory int64) *Snapshot {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	img := guestImage(t, "..", "test/function/recall")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Boot(ctx, Config{
		Image: img, Args: []string{"recall"}, Memory: memory, Stderr: os.Stderr,
		Messages: true, Ready: hypercall.ReadyMessage,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ask(t testing.TB, vm *VM, message string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := vm.Invoke(ctx, []byte(message))
	if err != nil {
		t.Fatalf("%s: %v", message, err)
	}
	return string(r.Data)
}

// clone is a machine of a snapshot's.
func clone(t testing.TB, s *Snapshot) *VM {
	t.Helper()
	need.Count(1)
	vm, err := s.New(Clone{Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Close() })
	return vm
}

// same compares all that the guest could see with the snapshot.
func same(t *testing.T, vm *VM) {
	t.Helper()
	s := vm.from
	now, err := newAccount(vm.mem, vm.tables.root)
	if err != nil {
		t.Errorf("account: %v", err)
		return
	}
	if now.left != vm.mem.left || now.owed != vm.mem.owed || !equalFrames(now.free, vm.mem.free) {
		t.Errorf("the tables say %d free frames and %d promised ones, the account %d and %d", now.left, now.owed, vm.mem.left, vm.mem.owed)
	}
	host := map[frame]bool{vm.start.frame: true}
	for _, a := range []hypercall.GVA{hypercall.SharedInfoGVA, hypercall.VCPUInfoGVA} {
		host[vm.tables.slot(uint64(a), false).load().frame()] = true
	}
	for f := range frame(vm.mem.total) {
		switch k := s.seen.kind[f]; {
		case k&(frameTable|frameSystem) != 0 || now.kind[f]&frameTable != 0 || host[f]:
		case !bytes.Equal(vm.mem.page(f), s.base.page(f)):
			t.Errorf("frame %#x, which was %d and is %d, differs", f, k, now.kind[f])
		}
	}
}

func equalFrames(a, b []uint64) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// TestRewind looks from inside the guest, and at every byte from outside, whether one
// invocation leaves the next anything.
func TestRewind(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	s := recall(t, 0)
	vm := clone(t, s)
	for i := range 5 {
		for _, step := range [][2]string{
			{"remember secret", "[secret]"}, {"look", "as it was"}, {"change secret", "changed"},
			{"use 20", "20971520"}, {"goroutines 100", ""}, {"zero 8", "zero"},
		} {
			if got := ask(t, vm, step[0]); step[1] != "" && got != step[1] {
				t.Errorf("round %d: %s: %s, want %s", i, step[0], got, step[1])
			}
		}
		begin := time.Now()
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			t.Log("rewound in", time.Since(begin))
		}
		same(t, vm)
		if t.Failed() {
			return
		}
	}
}

// What one life alone has written is not kept for ever, and not left either.
func TestRewindAfterMuch(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	s := recall(t, 0)
	vm := clone(t, s)
	for i, message := range []string{"echo 1", "use 30", "zero 30", "echo 1", "zero 30", "echo 1"} {
		if got := ask(t, vm, message); message[0] == 'z' && got != "zero" {
			t.Errorf("%s: %s", message, got)
		}
		if i > 0 && message == "echo 1" {
			vm.dirtied.rewinds = forgetEvery - 1
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		same(t, vm)
		if t.Failed() {
			t.Fatal(i, message)
		}
		dirty, err := vm.mem.written()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, d := range dirty {
			n += d.Pages
		}
		if n > 300 && message != "zero 30" {
			t.Errorf("after %s %d pages are kept", message, n)
		}
	}
}

func BenchmarkInvoke(b *testing.B) {
	s := recall(b, 0)
	for name, after := range map[string]func(*VM) error{
		"instance": func(*VM) error { return nil },
		"rewind":   (*VM).Rewind,
	} {
		b.Run(name, func(b *testing.B) {
			vm := clone(b, s)
			for b.Loop() {
				ask(b, vm, "echo hello")
				if err := after(vm); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(vm.stats.exits)/float64(b.N), "exits/op")
		})
	}
	b.Run("fresh", func(b *testing.B) {
		for b.Loop() {
			vm, err := s.New(Clone{})
			if err != nil {
				b.Fatal(err)
			}
			ask(b, vm, "echo hello")
			if err := vm.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What a machine has of its own is what it has written.
func TestOwnMemory(t *testing.T) {
	vm := clone(t, recall(t, 64<<20))
	few := vm.OwnMemory()
	ask(t, vm, "use 16")
	if much := vm.OwnMemory(); few <= 0 || much < few+16<<20 || much > 64<<20 {
		t.Errorf("got %d bytes, then %d", few, much)
	}
}

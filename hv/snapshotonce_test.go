package hv

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// onceAgrees opens a file for one machine too: what is refused has to be the same, and
// what is in memory.
func onceAgrees(t testing.TB, path string, s *Snapshot, want error) {
	t.Helper()
	one, err := OpenSnapshotOnce(path)
	if err != nil || want != nil {
		if err == nil {
			one.Close()
		}
		if err == nil || want == nil || err.Error() != want.Error() {
			t.Errorf("for one machine: %v; for many: %v", err, want)
		}
		return
	}
	defer one.Close()
	sameBase(t, one, s)
	if one.seen.left != s.seen.left || one.seen.owed != s.seen.owed || one.stored != s.stored {
		t.Errorf("for one machine: %+v; for many: %+v", one.seen.frames, s.seen.frames)
	}
}

func sameBase(t testing.TB, a, b *Snapshot) {
	t.Helper()
	for _, x := range b.state.Extents {
		if !bytes.Equal(a.base.run(x.First, x.Pages), b.base.run(x.First, x.Pages)) {
			t.Errorf("frames from %#x on are others", x.First)
		}
	}
}

func savedHostile(t *testing.T, code func(c *asm.Code)) (many *Snapshot, path string) {
	t.Helper()
	many = hostile(t, 0, nil, code)
	path = filepath.Join(t.TempDir(), "snap")
	if err := many.Save(path); err != nil {
		t.Fatal(err)
	}
	return many, path
}

func openOnce(t *testing.T, path string) *Snapshot {
	t.Helper()
	s, err := OpenSnapshotOnce(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The one machine works, is alone, and is its memory's only owner.
func TestSnapshotOnce(t *testing.T) {
	_, path := savedHostile(t, func(c *asm.Code) { respond(c, 1) })
	s := openOnce(t, path)
	vm := clone(t, s)
	ask(t, vm, "x")
	if vm, err := s.New(Clone{}); err == nil {
		vm.Close()
		t.Error("there is a second machine")
	}
	if err := vm.Rewind(); err == nil {
		t.Error("it was rewound")
	}
	if err := s.Save(path); err == nil {
		t.Error("memory that a machine has written was saved")
	}
	if err := s.Close(); err != nil { // before the machine: it has nothing any more
		t.Error(err)
	}
	vm.mem.page(vm.start.frame)[0]++ // there yet
	if acc, err := newAccount(vm.mem, vm.tables.root); err != nil || acc.left != vm.mem.left {
		t.Errorf("%d frames are left: %v, %v", vm.mem.left, acc, err)
	}
}

// What becomes of the file does not matter once it is open.
func TestSnapshotOnceLater(t *testing.T) {
	many, path := savedHostile(t, func(c *asm.Code) { respond(c, 1) })
	s := openOnce(t, path)
	if err := os.WriteFile(path, bytes.Repeat([]byte{0xff}, 100*pageSize), 0); err != nil {
		t.Fatal(err)
	}
	sameBase(t, s, many)
	ask(t, clone(t, s), "x")
}

// Pages of zeros take no memory of the host's, as many as a file may say there are.
func TestSnapshotOnceZeros(t *testing.T) {
	need.KVM(t)
	vm := newTestVM(t, 4096)
	free := vm.mem.hint*64 + 64
	path := filepath.Join(t.TempDir(), "snap")
	b := fileOf(t, vm, func(r *rest) { r.Extents = append(r.Extents, extent{frame(free), 4096 - free}) })
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openOnce(t, path)
	list, err := s.base.written()
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	for _, x := range list {
		pages += x.Pages
	}
	if pages > s.stored-(4096-free)+hugePage>>pageShift {
		t.Errorf("%d pages have memory", pages)
	}
}

// A program that gives pages back finds zeros there, and not what the file had.
func TestSnapshotOnceDiscard(t *testing.T) {
	_, path := savedHostile(t, func(c *asm.Code) { respond(c, 1) })
	vm := clone(t, openOnce(t, path))
	e := vm.tables.slot(uint64(hypercall.StartInfoGVA), false)
	f := e.load().frame()
	if isZero(vm.mem.page(f)) {
		t.Fatal("nothing is there")
	}
	if err := vm.mem.discard(f, 1); err != nil || !isZero(vm.mem.page(f)) {
		t.Errorf("something is there, or %v", err)
	}
}

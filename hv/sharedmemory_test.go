package hv

import (
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// TestTablesApart: with an engine whose guests can map any page of their memory, no
// table is in it; tables count as memory all the same, and none is given out twice.
func TestTablesApart(t *testing.T) {
	c := new(asm.Code)
	for i := range uint64(50) { // each with tables of its own
		c.Hypercall(hypercall.CallMap, 0x10_0000_0000+i<<30, pageSize, 3).Store(0x10_0000_0000+i<<30, i)
	}
	c.Hypercall(hypercall.CallUnmap, 0x10_0000_0000, 10<<30)
	vm, err := New(Config{Engine: EngineProc, Image: asm.Image{Code: c.Exit(0)}.Write(t), Memory: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	if exit, err := runFor(vm, 10*time.Second); err != nil || exit.Code != 0 {
		t.Fatal(exit, err)
	}
	tables, pages := map[frame]bool{vm.tables.root: true}, map[frame]bool{}
	vm.tables.eachBelow(vm.tables.root, 4, func(at frame, level int) {
		if at < vm.mem.inFile || tables[at] {
			t.Errorf("table at frame %#x of %#x", at, vm.mem.inFile)
		}
		tables[at] = true
		for _, e := range vm.mem.entries(at) {
			if level == 1 && e.holds() {
				pages[e.frame()] = true
			}
		}
	})
	for f := range pages {
		if f >= vm.mem.inFile {
			t.Errorf("the guest has frame %#x of %#x", f, vm.mem.inFile)
		}
	}
	if used := len(tables) + len(pages); used+vm.mem.left != vm.mem.total {
		t.Errorf("%d tables, %d pages, %d free of %d", len(tables), len(pages), vm.mem.left, vm.mem.total)
	}
}

// TestTablesFillMemory: where tables lie apart, a guest that needs many runs out of
// memory as it would elsewhere.
func TestTablesFillMemory(t *testing.T) {
	c := new(asm.Code)
	for i := range uint64(400) {
		c.Hypercall(hypercall.CallMap, 0x10_0000_0000+i<<30, pageSize, 3)
	}
	c.MovReg(asm.RDI, asm.RAX).Raw(0x48, 0xf7, 0xdf).Mov(asm.RAX, uint64(hypercall.CallExit)).CallPage() // neg rdi
	vm, err := New(Config{Engine: EngineProc, Image: asm.Image{Code: c}.Write(t), Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	if exit, err := runFor(vm, 10*time.Second); err != nil || exit.Code != int(hypercall.ENOMEM) {
		t.Fatal(exit, err)
	}
}

// TestOnlyKVM: what needs KVM says so.
func TestOnlyKVM(t *testing.T) {
	_, err := Boot(t.Context(), Config{Engine: EngineProc, Image: "none", Ready: hypercall.ReadyCall})
	if err == nil || err.Error() != "snapshot: "+errOnlyKVM.Error() {
		t.Error(err)
	}
	if _, err := New(Config{Engine: "none", Image: "none"}); err == nil {
		t.Error("an engine of no name")
	}
}

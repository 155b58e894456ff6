package hv

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/image"
)

// Places of a machine that is made without KVM.
const (
	testText = 0x400000 // two pages, executable
	testData = 0x410000 // four pages, writable
	testROM  = 0x420000 // two pages, read-only
	testTail = 0x430000 // two pages, executable, with their memory at first touch
)

// newTestVM makes a machine of memory and page tables alone, loaded as load
// does it.
func newTestVM(t testing.TB, pages int) *VM {
	t.Helper()
	mem, err := newMemory(int64(pages) * pageSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.close() })
	vm := &VM{engine: kvm.Engine, mem: mem, cfg: Config{Memory: int64(pages) * pageSize, Args: []string{"a"}}}
	vm.img = &image.Image{Segments: []image.Segment{{Addr: testText, MemSize: 0x22000}}}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vm.tables, err = newPageTables(mem)
	vm.space, vm.boot = guestMemory{vm.tables}, loader{mem, vm.tables}
	check(err)
	system, _ := mem.takeRun(systemPages)
	check(vm.tables.mapSystem(kvm.Engine, system))
	for _, s := range []struct {
		at    hypercall.GVA
		pages int64
		perm  image.Perm
	}{{testText, 2, image.PermR | image.PermX}, {testData, 4, image.PermR | image.PermW}, {testROM, 2, image.PermR}} {
		_, b, err := vm.place(s.at, s.pages*pageSize, segmentBits(s.perm))
		check(err)
		for i := range b {
			b[i] = byte(i >> 12)
		}
	}
	check(vm.tables.mapLazily(testTail, testTail+2*pageSize, segmentBits(image.PermX)))
	check(vm.loadHypercallPage())
	check(vm.loadBootStack())
	first, _, err := vm.place(hypercall.SharedInfoGVA, pageSize, pteWrite|pteNX)
	check(err)
	vm.shared = mem.sharedInfo(first)
	_, _, err = vm.place(hypercall.VCPUInfoGVA, pageSize, pteWrite|pteNX)
	check(err)
	vm.clock.init(testTSC, &vm.shared.Clock)
	check(vm.loadStartInfo())
	return vm
}

// What follows is written from the manual and not with the code under test
// (Intel SDM volume 3A, "4-Level Paging").

const (
	bitP, bitW, bitU     = 1 << 0, 1 << 1, 1 << 2
	bitPS                = 1 << 7
	bitOwed              = 1 << 8 // global, in an entry that is present
	bitFinal, bitLazy    = 1 << 9, 1 << 10
	bitParked            = 1 << 11
	bitNX                = uint64(1) << 63
	addrMask             = 0x000f_ffff_ffff_f000
	memoryBase           = 1 << 32
	systemPages          = 5
	kernelHalf           = 0xffff_8000_0000_0000
	reserved, lowestByte = 0x7f00_0000_0000, 0x10000
)

// mapping is one last-level entry that a walk found.
type mapping struct {
	frame uint64
	bits  uint64 // without address, accessed and dirty
}

// walk reads the page tables out of raw memory.
type walk struct {
	mem    []byte
	tables map[uint64]bool
	pages  map[uint64]mapping // by address, canonical
}

func (w *walk) table(f uint64, level int, base uint64) error {
	if f >= uint64(len(w.mem)>>12) {
		return fmt.Errorf("table of level %d at frame %#x outside memory", level, f)
	}
	if w.tables[f] {
		return fmt.Errorf("frame %#x is a table twice", f)
	}
	w.tables[f] = true
	for i := range uint64(512) {
		v := binary.LittleEndian.Uint64(w.mem[f<<12+8*i:]) &^ (1<<5 | 1<<6)
		a := base | i<<(12+9*(level-1))
		if level == 4 && i >= 256 {
			a |= 0xffff << 48
		}
		if v == 0 {
			continue
		}
		if level > 1 {
			if v&^addrMask != bitP|bitW|bitU {
				return fmt.Errorf("level %d entry for %#x is %#x", level, a, v)
			}
			if err := w.table((v&addrMask-memoryBase)>>12, level-1, a); err != nil {
				return err
			}
			continue
		}
		m := mapping{bits: v &^ addrMask, frame: (v&addrMask - memoryBase) >> 12}
		if v&addrMask == 0 {
			m.frame = none
		}
		w.pages[a] = m
	}
	return nil
}

const none = ^uint64(0)

// checker proves after each step that the tables say nothing they must not.
type checker struct {
	vm     *VM
	loaded map[uint64]mapping // contract's pages and text, as the loader made them
	later  map[uint64]bool    // text that gets its memory at first touch
}

func (vm *VM) walk() (*walk, error) {
	w := &walk{mem: vm.mem.data, tables: map[uint64]bool{}, pages: map[uint64]mapping{}}
	return w, w.table(uint64(vm.tables.root), 4, 0)
}

func newChecker(t testing.TB, vm *VM) *checker {
	t.Helper()
	w, err := vm.walk()
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{vm, map[uint64]mapping{}, map[uint64]bool{}}
	for a, m := range w.pages {
		if m.bits&(bitLazy|bitNX) == bitLazy {
			c.later[a] = true
		} else if a >= reserved || m.bits&bitNX == 0 {
			c.loaded[a] = m
		}
	}
	if n := len(c.loaded); n < 2+1+32+2+1+systemPages {
		t.Fatalf("%d pages are the loader's; the walker does not see them", n)
	}
	return c
}

func (c *checker) check() error {
	w, err := c.vm.walk()
	if err != nil {
		return err
	}
	users, owed := map[uint64]int{}, 0
	for a, m := range w.pages {
		if err := c.page(w, a, m); err != nil {
			return fmt.Errorf("%#x → frame %#x, bits %#x: %w", a, m.frame, m.bits, err)
		}
		if m.frame != none {
			users[m.frame]++
		}
		if m.bits&bitOwed != 0 {
			owed++
		}
	}
	for a := range c.later {
		if m := w.pages[a]; m.bits&bitNX != 0 || m.bits&(bitP|bitLazy) == 0 || users[m.frame] > 1 {
			return fmt.Errorf("%#x is %+v with %d users, and was text", a, m, users[m.frame])
		}
	}
	for a, m := range c.loaded {
		if w.pages[a] != m {
			return fmt.Errorf("%#x is %+v, the loader made %+v", a, w.pages[a], m)
		}
	}
	if owed != c.vm.mem.owed || owed > c.vm.mem.left {
		return fmt.Errorf("%d frames are promised, %d are counted, %d are left", owed, c.vm.mem.owed, c.vm.mem.left)
	}
	return c.frames(w, users)
}

func (c *checker) page(w *walk, a uint64, m mapping) error {
	_, loaded := c.loaded[a]
	switch {
	case a < lowestByte:
		return fmt.Errorf("below the lowest address")
	case a >= reserved && !loaded:
		return fmt.Errorf("in the contract's range")
	case m.bits&bitPS != 0:
		return fmt.Errorf("unknown bit")
	case m.bits&bitP == 0:
		return c.absent(w, a, m)
	case m.frame >= uint64(len(w.mem)>>12):
		return fmt.Errorf("outside memory")
	case w.tables[m.frame]:
		return fmt.Errorf("a page table")
	case m.bits&bitW != 0 && m.bits&bitNX == 0:
		return fmt.Errorf("writable and executable")
	case m.bits&bitNX == 0 && !loaded && !c.later[a]:
		return fmt.Errorf("executable")
	case m.bits&bitU == 0 && (a < kernelHalf || !loaded):
		return fmt.Errorf("supervisor")
	case m.bits&bitU != 0 && a >= kernelHalf:
		return fmt.Errorf("a system page for the guest")
	case m.bits&(bitLazy|bitParked|bitOwed) != 0:
		return fmt.Errorf("present, and waiting")
	}
	return nil
}

// absent checks an entry that is not present but says something.
func (c *checker) absent(w *walk, a uint64, m mapping) error {
	switch {
	case m.bits&bitOwed != 0 && m.bits&bitLazy == 0:
		return fmt.Errorf("promised a frame, and has one")
	case m.bits&bitLazy != 0 && m.frame != none:
		return fmt.Errorf("lazy, and has a frame")
	case m.bits&bitLazy == 0 && (m.bits&bitParked == 0 || m.frame == none):
		return fmt.Errorf("neither lazy nor parked")
	case m.frame != none && (m.frame >= uint64(len(w.mem)>>12) || w.tables[m.frame]):
		return fmt.Errorf("parked frame is not one")
	case m.bits&bitNX == 0 && !c.later[a]:
		return fmt.Errorf("will be executable")
	}
	return nil
}

// frames proves that every frame is free, a table, or mapped, and by how many.
func (c *checker) frames(w *walk, users map[uint64]int) error {
	m := c.vm.mem
	free := 0
	for f := range uint64(m.total) {
		isFree := m.free[f/64]>>(f%64)&1 == 1
		used := w.tables[f] || users[f] > 0
		if isFree {
			free++
		}
		switch {
		case isFree && used:
			return fmt.Errorf("frame %#x is free and in use", f)
		case !isFree && !used:
			return fmt.Errorf("frame %#x is lost", f)
		case users[f] > 1 && m.extra[frame(f)] != users[f]-1:
			return fmt.Errorf("frame %#x has %d users and counts %d more", f, users[f], m.extra[frame(f)])
		case users[f] < 2 && m.extra[frame(f)] != 0:
			return fmt.Errorf("frame %#x counts %d users too many", f, m.extra[frame(f)])
		}
	}
	if free != m.left {
		return fmt.Errorf("%d frames are free, %d are counted", free, m.left)
	}
	if n := len(c.vm.tables.void) + len(c.vm.tables.gone); n != 0 {
		return fmt.Errorf("%d frames wait for invalidation after the call", n)
	}
	return nil
}

package hv

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// newShadowVM is a machine of trap mode with memory and tables alone, and a page
// of text.
func newShadowVM(t testing.TB, pages int64) *VM {
	t.Helper()
	vm := &VM{cfg: Config{Memory: pages * pageSize, Mode: hypercall.ModeTrap}}
	if _, err := vm.createTrapMemory(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.mem.close() })
	vm.shadow.guest.physBits = 46
	vm.shadow.forget = func() error { return nil }
	if _, _, err := vm.place(testText, pageSize, pteFinal); err != nil {
		t.Fatal(err)
	}
	return vm
}

// oracle reads a guest's tables as the manual tells, and nothing else (Intel SDM
// volume 3A, "4-Level Paging").
type oracle struct {
	mem      []byte
	cr3      uint64
	physBits int
	wp, nxe  bool
}

// grant is what the tables say of an address.
type grant struct {
	addr                   uint64 // physical
	write, user, exec      bool
	dirty, global, present bool
}

func (o *oracle) word(at uint64) uint64 {
	if at+8 > uint64(len(o.mem)) {
		return ^uint64(0)
	}
	return binary.LittleEndian.Uint64(o.mem[at:])
}

func (o *oracle) look(a uint64) grant {
	g := grant{write: true, user: true, exec: true}
	table := o.cr3 &^ 0xfff
	for _, shift := range []int{39, 30, 21, 12} {
		v := o.word(table + a>>shift&511*8)
		if v&1 == 0 || o.isReserved(v, shift) {
			return grant{}
		}
		g.write = g.write && v&2 != 0
		g.user = g.user && v&4 != 0
		g.exec = g.exec && v>>63 == 0
		next := v & (1<<52 - 1) &^ 0xfff
		if shift == 12 || shift != 39 && v&0x80 != 0 {
			size := uint64(1) << shift
			g.addr, g.present = next&^(size-1)|a&(size-1), true
			g.dirty, g.global = v&0x40 != 0, v&0x100 != 0
			return g
		}
		table = next
	}
	return grant{}
}

func (o *oracle) isReserved(v uint64, shift int) bool {
	high := uint64(1<<52-1) &^ (1<<o.physBits - 1)
	switch {
	case v&high != 0 || v>>63 != 0 && !o.nxe:
		return true
	case shift == 39:
		return v&0x80 != 0
	case shift == 12 || v&0x80 == 0:
		return false
	}
	return v&(1<<shift-1)>>13 != 0 // bit 12 is PAT
}

// checkShadow proves that the shadow grants nothing that the guest's tables do
// not, nothing outside the guest's memory, no code but text and no writing to it.
func checkShadow(vm *VM) error {
	s := vm.shadow
	o := &oracle{mem: vm.phys.data, cr3: s.guest.cr3, physBits: s.guest.physBits, wp: s.guest.wp, nxe: s.guest.nxe}
	for view, t := range s.views {
		var bad error
		each(vm.mem.data, uint64(t.root)<<12, 39, 0, func(a, v uint64) {
			if bad == nil {
				bad = checkEntry(vm, o, view == 1, a, v)
			}
		})
		if bad != nil {
			return fmt.Errorf("view %d: %w", view, bad)
		}
	}
	return nil
}

// each calls f for all that a hardware walk of tables in mem finds in the lower
// half. Addresses in entries are the engine's, from 4 GiB on.
func each(mem []byte, table uint64, shift int, base uint64, f func(a, v uint64)) {
	for i := range uint64(512) {
		v := binary.LittleEndian.Uint64(mem[table+8*i:])
		a := base | i<<shift
		if v&1 == 0 || shift == 39 && i >= 256 {
			continue
		}
		if shift == 12 {
			f(a, v)
			continue
		}
		each(mem, v&(1<<52-1)&^0xfff-1<<32, shift-9, a, f)
	}
}

func checkEntry(vm *VM, o *oracle, user bool, a, v uint64) error {
	g := o.look(a)
	phys := v&(1<<52-1)&^0xfff - 1<<32
	text := vm.shadow.guest.text[frame(phys>>12)]
	canWrite, canExec := v&2 != 0, v>>63 == 0
	switch {
	case !g.present:
		return fmt.Errorf("%#x is mapped, the guest has nothing there", a)
	case g.addr&^0xfff != phys:
		return fmt.Errorf("%#x leads to %#x, the guest says %#x", a, phys, g.addr)
	case phys >= uint64(len(vm.phys.data)):
		return fmt.Errorf("%#x leads to %#x, outside the guest", a, phys)
	case user && !g.user:
		return fmt.Errorf("%#x is a supervisor's", a)
	case canWrite && !g.write && (user || o.wp):
		return fmt.Errorf("%#x may be written", a)
	case canWrite && !g.dirty:
		return fmt.Errorf("%#x may be written and is not dirty", a)
	case canExec && (!g.exec || !text):
		return fmt.Errorf("%#x may be executed", a)
	case canWrite && text:
		return fmt.Errorf("%#x is text and may be written", a)
	}
	return nil
}

// tableProgram is a guest that changes its tables at random, invalidates as it
// must, and touches memory.
type tableProgram struct {
	vm     *VM
	tables []uint64 // frames that it uses as tables, the root first
	rnd    *rand.Rand
}

func (p *tableProgram) entry() uint64 {
	frames := uint64(p.vm.phys.total)
	f := p.rnd.Uint64N(frames)
	switch p.rnd.IntN(12) {
	case 0:
		f = frames + p.rnd.Uint64N(1<<20) // beyond memory
	case 1, 2, 3, 4, 5, 6:
		f = p.tables[p.rnd.IntN(len(p.tables))] // another table, or itself
	}
	v := f<<12 | p.rnd.Uint64()&(0x67|0x100)
	if p.rnd.IntN(8) != 0 {
		v |= 1
	}
	if p.rnd.IntN(3) != 0 {
		v |= 0x27 // what a program gets anywhere by: writable, user's, accessed
	}
	switch p.rnd.IntN(16) {
	case 0:
		v |= 0x80 // large, mostly with reserved bits
	case 1:
		v = v&^0x3fffffff | 0x81
	case 2:
		v |= 1 << 63
	case 3:
		v |= 1 << (46 + p.rnd.IntN(6))
	}
	return v
}

// address is one that the few entries that are changed lie on the way of.
func (p *tableProgram) address() uint64 {
	a := p.rnd.Uint64() & 0xfff
	for _, shift := range []int{39, 30, 21, 12} {
		a |= p.rnd.Uint64N(4) << shift
	}
	return a
}

func (p *tableProgram) change() error {
	table, index := p.tables[p.rnd.IntN(len(p.tables))], p.rnd.Uint64N(4)
	binary.LittleEndian.PutUint64(p.vm.phys.data[table<<12+8*index:], p.entry())
	// Tables that lead to each other make one entry many: all must go.
	return p.vm.shadow.flush(true)
}

func (p *tableProgram) touch() error {
	code := []uint64{4, 4 | faultWrite, 4 | faultExecute}[p.rnd.IntN(3)]
	_, _, err := p.vm.shadow.fault(p.address(), code, []uint8{0, 3}[p.rnd.IntN(2)])
	switch err {
	case errNoMemoryThere, errTextWritten, errForeignCode:
		return nil
	}
	return err
}

func TestShadowNeverGrantsMore(t *testing.T) {
	for seed := range uint64(60) {
		vm := newShadowVM(t, 600)
		p := &tableProgram{vm: vm, rnd: rand.New(rand.NewPCG(seed, 1))}
		for range 6 {
			f, _ := vm.phys.take()
			p.tables = append(p.tables, uint64(f))
		}
		vm.shadow.guest.cr3 = p.tables[0] << 12
		vm.shadow.guest.wp, vm.shadow.guest.nxe = seed%3 != 0, seed%5 != 0
		for step := range 400 {
			var err error
			if p.rnd.IntN(4) == 0 {
				err = p.change()
			} else {
				err = p.touch()
			}
			if err == nil && step%8 == 0 {
				err = checkShadow(vm)
			}
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// mapPage maps a page in the guest's own tables.
func mapPage(t testing.TB, vm *VM, a uint64, bits entry) *entry {
	t.Helper()
	f, ok := vm.phys.take()
	if !ok {
		t.Fatal("no memory")
	}
	e, err := vm.boot.mapper.(*bootTables).entryAt(a, 1)
	if err != nil {
		t.Fatal(err)
	}
	e.store(entry(f)<<12 | bits)
	return e
}

func access(t testing.TB, vm *VM, a, code uint64) (shadowOutcome, uint64) {
	t.Helper()
	out, guestCode, err := vm.shadow.fault(a, code|faultUser, 0)
	if err != nil {
		t.Fatal(err)
	}
	return out, guestCode
}

// TestAccessedAndDirty: a read sets accessed and maps for reading; only a write
// sets dirty and maps for writing.
func TestAccessedAndDirty(t *testing.T) {
	vm := newShadowVM(t, 600)
	const a = 0x5000_0000
	e := mapPage(t, vm, a, ptePresent|pteWrite|pteNX)
	if out, _ := access(t, vm, a, 0); out != shadowFilled {
		t.Fatalf("outcome %d", out)
	}
	slot := vm.shadow.views[0].slot(a, false)
	if v := e.load(); v&(pteAccessed|pteDirty) != pteAccessed {
		t.Errorf("after a read: %#x", v)
	}
	if slot.load()&pteWrite != 0 {
		t.Error("mapped for writing after a read")
	}
	access(t, vm, a, faultWrite)
	if v := e.load(); v&pteDirty == 0 || slot.load()&pteWrite == 0 {
		t.Errorf("after a write: %#x, %#x", v, slot.load())
	}
	if out, _ := access(t, vm, a, faultWrite); out != shadowKnown {
		t.Errorf("the same once more: outcome %d", out)
	}
}

// TestGuestFaults: what the guest's tables refuse is the guest's fault, with the
// error code that its own CPL and entry make.
func TestGuestFaults(t *testing.T) {
	vm := newShadowVM(t, 600)
	const a = 0x5000_0000
	mapPage(t, vm, a, ptePresent|pteNX)
	mapPage(t, vm, a+pageSize, ptePresent|pteNX|1<<50)
	for _, test := range []struct {
		a, code, want uint64
		cpl           uint8
	}{
		{a + 2*pageSize, 0, 0, 0},
		{a + 2*pageSize, faultWrite, faultWrite, 0},
		{a, faultWrite, faultPresent | faultWrite, 0},
		{a, faultExecute, faultPresent | faultExecute, 0},
		{a, 0, faultPresent | faultUser, 3},
		{a + pageSize, 0, faultPresent | faultReserved, 0},
	} {
		out, code, err := vm.shadow.fault(test.a, test.code|faultUser, test.cpl)
		if out != shadowGuest || code != test.want || err != nil {
			t.Errorf("%+v: outcome %d, code %#x, %v", test, out, code, err)
		}
	}
}

// TestInvalidate: what the guest invalidates is gone, and only that.
func TestInvalidate(t *testing.T) {
	vm := newShadowVM(t, 2048)
	s := vm.shadow
	const a, b, large = 0x5000_0000, 0x5000_1000, uint64(hypercall.DirectMapGVA)
	mapPage(t, vm, a, ptePresent|pteWrite|pteUsed)
	mapPage(t, vm, b, ptePresent|pteWrite|pteUsed|pteGlobal)
	access(t, vm, a, 0)
	access(t, vm, large+5*pageSize, 0)
	has := func(a uint64) bool {
		e := s.views[0].slot(a, false)
		return e != nil && e.load() != 0
	}
	if !has(a) || !has(b) || !has(large) || !has(large+511*pageSize) {
		t.Fatal("not filled")
	}
	s.invalidatePage(a)
	if has(a) || !has(b) {
		t.Error("one page: the wrong one is gone")
	}
	s.invalidatePage(large + 7*pageSize)
	if has(large) || has(large+511*pageSize) {
		t.Error("a large page is still there in part")
	}
	access(t, vm, a, 0)
	s.flush(false)
	if has(a) || !has(b) {
		t.Error("a flush: not all but the global page")
	}
	s.flush(true)
	if has(b) {
		t.Error("a global page is still there")
	}
}

// TestShadowRestart: a guest that touches more of its address space than there
// are tables for loses time and nothing else.
func TestShadowRestart(t *testing.T) {
	vm := newShadowVM(t, 600)
	forgotten := 0
	vm.shadow.forget = func() error { forgotten++; return nil }
	f, _ := vm.phys.take()
	table := vm.phys.entries(f)
	for i := range table {
		table[i] = entry(f)<<12 | ptePresent | pteWrite | pteUsed // it is all four levels
	}
	vm.shadow.guest.cr3 = uint64(f) << 12
	for i := range uint64(5 * shadowPages) {
		if out, _ := access(t, vm, i<<21, 0); out != shadowFilled {
			t.Fatalf("page %d: outcome %d", i, out)
		}
	}
	if forgotten == 0 {
		t.Error("the tables were never used up")
	}
	if err := checkShadow(vm); err != nil {
		t.Error(err)
	}
}

package hv

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/sensitive"
)

// newShadowVM is a machine of trap mode with memory and tables alone, and a page
// of text.
func newShadowVM(t testing.TB, pages int64) *VM {
	t.Helper()
	vm := &VM{engine: kvm.Engine, cfg: Config{Memory: pages * pageSize, Mode: hypercall.ModeTrap}}
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

// newTableProgram has a root and five more tables.
func newTableProgram(vm *VM, choices rand.Source) *tableProgram {
	p := &tableProgram{vm: vm, rnd: rand.New(choices)}
	for range 6 {
		f, _ := vm.phys.take()
		p.tables = append(p.tables, uint64(f))
	}
	vm.shadow.guest.cr3 = p.tables[0] << 12
	vm.shadow.guest.wp, vm.shadow.guest.nxe = p.rnd.IntN(3) != 0, p.rnd.IntN(5) != 0
	return p
}

func (p *tableProgram) step() error {
	if p.rnd.IntN(4) == 0 {
		return p.change()
	}
	return p.touch()
}

func TestShadowNeverGrantsMore(t *testing.T) {
	for seed := range uint64(60) {
		vm := newShadowVM(t, 600)
		p := newTableProgram(vm, rand.NewPCG(seed, 1))
		for step := range 400 {
			err := p.step()
			if err == nil && step%8 == 0 {
				err = checkShadow(vm)
			}
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// scripted makes choices of the words of a fuzzer's input, and any after them.
type scripted struct {
	words []byte
	after *rand.PCG
}

func (s *scripted) Uint64() uint64 {
	if len(s.words) == 0 {
		return s.after.Uint64()
	}
	var b [8]byte
	s.words = s.words[copy(b[:], s.words):]
	return binary.LittleEndian.Uint64(b[:])
}

func FuzzShadow(f *testing.F) {
	f.Add([]byte{})
	long := make([]byte, 4096)
	for i := range long {
		long[i] = byte(i * 37)
	}
	f.Add(long)
	f.Fuzz(func(t *testing.T, input []byte) {
		vm := newShadowVM(t, 600)
		choices := &scripted{input[:min(len(input), 1<<14)], rand.NewPCG(1, 1)}
		p := newTableProgram(vm, choices)
		for len(choices.words) > 0 {
			if err := p.step(); err != nil {
				t.Fatal(err)
			}
			if err := checkShadow(vm); err != nil {
				t.Fatal(err)
			}
		}
	})
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

// TestTextIsNoTable: a guest that takes its text for a page table gets a page
// fault, and no flag is set in the text.
func TestTextIsNoTable(t *testing.T) {
	vm := newShadowVM(t, 600)
	const a = 0x5000_0000
	mapPage(t, vm, a, ptePresent|pteWrite)
	text := frame(0)
	for !vm.shadow.guest.text.has(text) {
		text++
	}
	code := vm.phys.entries(text)
	for i := range code {
		code[i] = entry(text)<<12 | ptePresent | pteWrite // it would be all levels below
	}
	before := *code
	for level := 2; level <= 4; level++ {
		e, err := vm.boot.mapper.(*bootTables).entryAt(a, level)
		if err != nil {
			t.Fatal(err)
		}
		old := e.load()
		e.store(entry(text)<<12 | ptePresent | pteWrite)
		out, fault := access(t, vm, a, faultWrite)
		if want := uint64(faultPresent | faultReserved | faultWrite); out != shadowGuest || fault != want {
			t.Errorf("named at level %d: outcome %d, code %#x, want %#x", level, out, fault, want)
		}
		e.store(old)
	}
	vm.shadow.guest.cr3 = uint64(text) << pageShift
	if out, _ := access(t, vm, a, faultWrite); out != shadowGuest {
		t.Errorf("named by CR3: outcome %d", out)
	}
	if *code != before {
		t.Error("the text has changed")
	}
}

// TestPageAt: calls reach what the guest can, and nothing else.
func TestPageAt(t *testing.T) {
	vm := newShadowVM(t, 600)
	const a, upper = 0x5000_0000, 0xffff_8000_0000_0000
	mapPage(t, vm, a, ptePresent|pteNX)
	mapPage(t, vm, a+pageSize, ptePresent|pteWrite|pteNX)
	mapPage(t, vm, upper|a, ptePresent|pteWrite|pteNX)
	for _, test := range []struct {
		a           uint64
		read, write bool
	}{
		{a, true, false},
		{a + pageSize + 5, true, true},
		{a + 2*pageSize, false, false},
		{uint64(testText), true, false},
		{1<<48 | a + pageSize, false, false}, // not canonical
		{1<<63 | a + pageSize, false, false},
		{upper | a, false, false}, // the guest cannot get there either
	} {
		for write, want := range map[bool]bool{false: test.read, true: test.write} {
			b, s := vm.space.pageAt(test.a, write)
			if (s == 0) != want || (b != nil) != want || s != 0 && s != hypercall.EFAULT {
				t.Errorf("%#x, write %t: %d bytes, status %d", test.a, write, len(b), s)
			}
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

// TestPatchedElsewhere: what was changed in the text is known at every address
// that the guest shows it at, and at no other.
func TestPatchedElsewhere(t *testing.T) {
	vm := newShadowVM(t, 600)
	tr, _, ok := vm.shadow.guest.walk(testText, 0)
	if !ok {
		t.Fatal("there is no text")
	}
	const alias = 0x5000_0000
	e := mapPage(t, vm, alias, ptePresent)
	e.store(entry(tr.frame)<<pageShift | ptePresent)
	mapPage(t, vm, alias+pageSize, ptePresent)
	g := &trapGuest{shadow: vm.shadow, sites: map[uint64]sensitive.Site{tr.frame<<pageShift | 0x123: {Name: "POPFQ"}}}
	for at, want := range map[uint64]bool{
		testText + 0x123: true, alias + 0x123: true, testText + 0x124: false,
		alias + pageSize + 0x123: false, alias + 2*pageSize + 0x123: false, 1<<63 + 0x123: false,
	} {
		if _, ok := g.patched(at); ok != want {
			t.Errorf("%#x: patched is %v", at, ok)
		}
	}
}

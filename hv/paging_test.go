package hv

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

var testTSC = engine.TSC{Hz: 2_000_000_000}

// model is what the paging calls promise, with Go's own memory for frames.
type model struct{ pages map[uint64]*modelPage }

type modelPage struct {
	read, write, exec bool
	cell              *uint64 // the first word; aliases share it
	sure              bool    // its memory is promised
}

func newModel() *model {
	m := &model{map[uint64]*modelPage{}}
	add := func(at uint64, n int, w, x bool) {
		for i := range n {
			cell := 0x0101010101010101 * uint64(i)
			m.pages[at+uint64(i)*4096] = &modelPage{true, w, x, &cell, true}
		}
	}
	add(testText, 2, false, true)
	add(testData, 4, true, false)
	add(testROM, 2, false, false)
	for i := range uint64(2) {
		m.pages[testTail+i*4096] = &modelPage{true, false, true, new(uint64), false}
	}
	return m
}

func goodRange(start, n uint64) bool {
	return start%4096 == 0 && n%4096 == 0 && n > 0 && start >= lowestByte && start < reserved && n <= reserved-start
}

// each calls f for the pages of a range.
func (m *model) each(start, n uint64, f func(a uint64)) {
	for a := start; a < start+n; a += 4096 {
		f(a)
	}
}

func (m *model) any(start, n uint64, f func(p *modelPage) bool) (found bool) {
	m.each(start, n, func(a uint64) { found = found || f(m.pages[a]) })
	return found
}

func isText(p *modelPage) bool { return p != nil && p.exec }
func isHole(p *modelPage) bool { return p == nil }

// errs is what a model's call may answer.
type errs []hypercall.Status

func (m *model) perms(flags hypercall.MapFlag) (read, write bool, s hypercall.Status) {
	switch {
	case flags >= 16:
		return false, false, hypercall.EINVAL
	case flags&4 != 0:
		return false, false, hypercall.EACCES
	}
	return flags&3 != 0, flags&2 != 0, 0
}

// call is what one call must answer, and what it does when it succeeds. Memory
// may run out in any that takes some.
func (m *model) call(nr hypercall.Call, a callArgs) (want errs, do func()) {
	start, n, flags := a[0], a[1], hypercall.MapFlag(a[2])
	if !goodRange(start, n) {
		return errs{hypercall.EINVAL}, nil
	}
	if n > 1<<36 {
		return errs{hypercall.ENOMEM}, nil
	}
	text := m.any(start, n, isText)
	switch nr {
	case hypercall.CallMap:
		return m.doMap(start, n, flags, text)
	case hypercall.CallUnmap:
		if text {
			return errs{hypercall.EACCES}, nil
		}
		return errs{0}, func() { m.each(start, n, func(at uint64) { delete(m.pages, at) }) }
	case hypercall.CallProtect:
		r, w, s := m.perms(flags)
		switch {
		case s != 0:
			return errs{s}, nil
		case text && m.any(start, n, isHole):
			return errs{hypercall.EINVAL, hypercall.EACCES}, nil
		case text:
			return errs{hypercall.EACCES}, nil
		case m.any(start, n, isHole):
			return errs{hypercall.EINVAL}, nil
		}
		return errs{0}, func() {
			m.each(start, n, func(at uint64) { p := m.pages[at]; p.read, p.write = r, w })
		}
	case hypercall.CallDiscard:
		return errs{0}, func() { m.discard(start, n) }
	case hypercall.CallAlias:
		return m.alias(start, n, flags, a[3], text)
	}
	panic(nr)
}

func (m *model) doMap(start, n uint64, flags hypercall.MapFlag, text bool) (errs, func()) {
	r, w, s := m.perms(flags)
	switch {
	case s != 0:
		return errs{s}, nil
	case text:
		return errs{hypercall.EACCES}, nil
	}
	return errs{0, hypercall.ENOMEM}, func() {
		m.each(start, n, func(at uint64) { m.pages[at] = &modelPage{r, w, false, new(uint64), r && flags&hypercall.MapLazy == 0} })
	}
}

func (m *model) discard(start, n uint64) {
	m.each(start, n, func(at uint64) {
		if p := m.pages[at]; p != nil && p.write && m.users(p.cell) == 1 {
			*p.cell, p.sure = 0, false
		}
	})
}

func (m *model) users(cell *uint64) (n int) {
	for _, p := range m.pages {
		if p.cell == cell {
			n++
		}
	}
	return n
}

func (m *model) alias(start, n uint64, flags hypercall.MapFlag, source uint64, text bool) (errs, func()) {
	r, w, s := m.perms(flags)
	switch {
	case !goodRange(source, n):
		return errs{hypercall.EINVAL}, nil
	case s != 0:
		return errs{s}, nil
	case !r || flags&hypercall.MapLazy != 0, source < start+n && start < source+n:
		return errs{hypercall.EINVAL}, nil
	case m.any(source, n, isText) || m.any(source, n, isHole) || text:
		return errs{hypercall.EACCES, hypercall.EINVAL, hypercall.ENOMEM}, nil
	}
	return errs{0, hypercall.ENOMEM}, func() {
		m.each(start, n, func(at uint64) {
			m.pages[at-start+source].sure = true
			m.pages[at] = &modelPage{r, w, false, m.pages[at-start+source].cell, true}
		})
	}
}

// randomCall draws from few places, so that they meet.
func randomCall(r *rand.Rand) (hypercall.Call, callArgs) {
	places := []uint64{testText, testText + 4096, testTail, testTail, testData, testData + 4096, testROM, 0x1ff000, 0x200000, 0x201000,
		0x40_0000_0000, 0x40_0000_1000, 0x40_0020_0000, 0x7eff_ffff_e000, 0x7eff_ffff_f000}
	odd := []uint64{0, 0x1000, 0xf000, 0x10000, 0x7f00_0000_0000, 0x7ffd_0000_0000, 1 << 47, 1<<64 - 4096, kernelHalf, 0x200001}
	at := func() uint64 {
		if r.IntN(20) == 0 {
			return odd[r.IntN(len(odd))]
		}
		return places[r.IntN(len(places))]
	}
	n := uint64(1+r.IntN(5)) * 4096
	if r.IntN(8) == 0 {
		n += 600 << 12 // beyond what gets its memory at once
	}
	switch r.IntN(40) {
	case 0:
		n = []uint64{0, 1, 4097, 1 << 36, 1<<36 + 4096, 1<<64 - 4096, 600 << 12}[r.IntN(7)]
	}
	if n > 1<<30 && n <= 1<<36 {
		n = 1 << 23 // the model is not made for sixteen million pages
	}
	flags := uint64([]int{0, 1, 2, 3, 8, 9, 10, 11, 2, 3, 3, 11}[r.IntN(12)])
	if r.IntN(30) == 0 {
		flags = []uint64{4, 6, 7, 16, 1 << 63, 12}[r.IntN(6)]
	}
	return hypercall.CallMap + hypercall.Call(r.IntN(5)), callArgs{at(), n, flags, at()}
}

// TestPagingModel runs random paging calls beside the model and looks at the
// memory and at the raw tables after each.
func TestPagingModel(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { pagingModel(t, uint64(seed)) })
	}
}

func pagingModel(t *testing.T, seed uint64) {
	pages := 220 // memory runs out now and then
	if seed%2 == 0 {
		pages = 3000
	}
	vm := newTestVM(t, pages)
	check := newChecker(t, vm)
	m, r := newModel(), rand.New(rand.NewPCG(seed, 1))
	for step := range 300 {
		nr, a := randomCall(r)
		want, do := m.call(nr, a)
		got := hypercall.Status(-vm.dispatch(nr, a))
		ok := false
		for _, w := range want {
			ok = ok || w == got
		}
		if !ok {
			t.Fatalf("step %d: %v%#x returns %v, want one of %v", step, nr, a, got, want)
		}
		if got == 0 && do != nil {
			do()
		}
		if got == hypercall.ENOMEM && goodRange(a[0], a[1]) && a[1] <= 1<<36 {
			m.forget(vm, a[0], a[1])
		}
		if err := check.check(); err != nil {
			t.Fatalf("step %d, after %v%#x = %v: %v", step, nr, a, got, err)
		}
		m.compare(t, vm, r, a[0])
	}
	for a := range m.pages {
		if p := m.pages[a]; !p.exec {
			if s := vm.tables.doUnmap(a, 4096); s != 0 {
				t.Fatalf("unmap %#x: %v", a, s)
			}
		}
	}
	if err := check.check(); err != nil {
		t.Fatal(err)
	}
	w, _ := vm.walk()
	later := 0
	for a := range check.later {
		if w.pages[a].frame != none {
			later++
		}
	}
	if used, want := vm.mem.total-vm.mem.left, len(w.tables)+len(check.loaded)+later; used != want {
		t.Errorf("%d frames in use after all is unmapped, want %d", used, want)
	}
}

// forget: what a call without memory left behind is a hole or what was there.
func (m *model) forget(vm *VM, start, n uint64) {
	m.each(start, n, func(a uint64) {
		e := vm.tables.slot(a, false)
		if e == nil || e.load() == 0 {
			delete(m.pages, a)
		}
	})
}

// compare reads and writes pages as a call would.
func (m *model) compare(t *testing.T, vm *VM, r *rand.Rand, near uint64) {
	t.Helper()
	look := []uint64{near, near + 4096}
	for a := range m.pages {
		look = append(look, a)
		if len(look) > 12 {
			break
		}
	}
	for _, a := range look {
		if a%4096 != 0 || a >= reserved || a < lowestByte {
			continue
		}
		p := m.pages[a]
		var b [8]byte
		got, want := vm.space.copyIn(b[:], a), hypercall.EFAULT
		if p != nil && p.read {
			want = 0
		}
		if got != want && (got != hypercall.ENOMEM || p == nil || p.sure) {
			t.Fatalf("read %#x: %v, want %v", a, got, want)
		}
		if v := binary.LittleEndian.Uint64(b[:]); got == 0 && v != *p.cell {
			t.Fatalf("read %#x: %#x, want %#x", a, v, *p.cell)
		}
		binary.LittleEndian.PutUint64(b[:], r.Uint64())
		got, want = vm.space.copyOut(a, b[:]), hypercall.EFAULT
		if p != nil && p.write {
			want = 0
		}
		if got != want && (got != hypercall.ENOMEM || p == nil || p.sure) {
			t.Fatalf("write %#x: %v, want %v", a, got, want)
		}
		if got == 0 {
			*p.cell = binary.LittleEndian.Uint64(b[:])
		}
	}
}

// TestPromises: what is promised to one mapping limits further promises, but
// not who touches memory while there is some.
func TestPromises(t *testing.T) {
	mem, err := newMemory(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.close()
	tables, err := newPageTables(mem)
	if err != nil {
		t.Fatal(err)
	}
	const a, b, size = 0x10_0000_0000, 0x20_0000_0000, 6 << 20
	if s := tables.doMap(a, size, hypercall.MapWrite); s != 0 {
		t.Fatal(s)
	}
	if s := tables.doMap(b, size, hypercall.MapWrite); s != hypercall.ENOMEM {
		t.Errorf("6 MiB more in 8: status %d, want ENOMEM", s)
	}
	const lazy = 8 << 20
	if s := tables.doMap(b, lazy, hypercall.MapWrite|hypercall.MapLazy); s != 0 {
		t.Fatal(s)
	}
	var ahead readAhead
	touched := 0
	for p := uint64(b); p < b+lazy; p += pageSize {
		switch tables.faultIn(p, faultWrite, &ahead) {
		case touchDone, touchKnown:
			touched++
		}
	}
	if touched < 1600 || mem.left != 0 {
		t.Errorf("%d pages touched, %d frames left: want all the memory in use", touched, mem.left)
	}
	if s := tables.doMap(0x30_0000_0000, 1<<20, hypercall.MapWrite); s != hypercall.ENOMEM {
		t.Errorf("a promise of nothing: status %d, want ENOMEM", s)
	}
	if s := tables.doDiscard(a, size); s != 0 || mem.owed != 0 {
		t.Errorf("status %d, %d frames promised after a discard", s, mem.owed)
	}
}

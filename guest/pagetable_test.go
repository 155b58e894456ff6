package guest

import (
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

const (
	rd   = hypercall.MapRead
	wr   = hypercall.MapWrite
	lazy = hypercall.MapLazy

	testText = uintptr(0x400000)
	testRAM  = 8 << 20
	testFrom = 8 * pageSize
)

// newTables are page tables in memory that stands for the physical one: the root
// in its first page, and one page of text at testText. It is none of Go's heap,
// whose checks would not have it addressed by number.
func newTables(t *testing.T) *pageTables {
	t.Helper()
	raw, err := syscall.Mmap(-1, 0, testRAM, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(raw) })
	p := new(pageTables)
	p.ram.init(uintptr(unsafe.Pointer(&raw[0])), testFrom, testRAM)
	table := p.lastTable(testText, true)
	table[testText>>12&511] = frameEntry(testFrom/pageSize-1) | ptePresent | pteUser | pteUsed
	return p
}

// modelPage is a page as the contract tells of it.
type modelPage struct {
	mapped  bool
	perm    hypercall.MapFlag
	memory  *modelMemory // nil: comes at first touch
	isOwed  bool
	content uint64
}

type modelMemory struct {
	users int
	value uint64
}

// model is the contract's paging calls in the simplest way.
type model struct {
	t     *testing.T
	p     *pageTables
	pages map[uintptr]*modelPage
	total int // frames that were free at the start
}

func (m *model) page(a uintptr) *modelPage {
	if m.pages[a] == nil {
		m.pages[a] = new(modelPage)
	}
	return m.pages[a]
}

func (m *model) drop(a uintptr) {
	if g := m.page(a); g.memory != nil {
		g.memory.users--
	}
	*m.page(a) = modelPage{}
}

// doMap is map. Where memory comes from, at once or later, the tables decide; the
// model follows them.
func (m *model) doMap(a, n uintptr, f hypercall.MapFlag) {
	if s := m.p.doMap(a, n, f); s != 0 {
		m.t.Fatalf("map: %d", s)
	}
	for i, p := uintptr(0), a; p < a+n; i, p = i+1, p+pageSize {
		m.drop(p)
		g := m.page(p)
		g.mapped, g.perm = true, f&(rd|wr)
		switch {
		case f&lazy != 0 || f&(rd|wr) == 0:
		case i < headPages:
			g.memory = &modelMemory{users: 1}
		default:
			g.isOwed = true
		}
	}
}

func (m *model) doUnmap(a, n uintptr) {
	if s := m.p.doUnmap(a, n); s != 0 {
		m.t.Fatalf("unmap: %d", s)
	}
	for p := a; p < a+n; p += pageSize {
		m.drop(p)
	}
}

func (m *model) whole(a, n uintptr) bool {
	for p := a; p < a+n; p += pageSize {
		if !m.page(p).mapped {
			return false
		}
	}
	return true
}

func (m *model) doProtect(a, n uintptr, f hypercall.MapFlag) {
	want := hypercall.Status(0)
	if !m.whole(a, n) {
		want = hypercall.EINVAL
	}
	if s := m.p.doProtect(a, n, f); s != want {
		m.t.Fatalf("protect: %d, want %d", s, want)
	}
	for p := a; want == 0 && p < a+n; p += pageSize {
		m.page(p).perm = f & (rd | wr)
	}
}

func (m *model) doDiscard(a, n uintptr) {
	if s := m.p.doDiscard(a, n); s != 0 {
		m.t.Fatalf("discard: %d", s)
	}
	for p := a; p < a+n; p += pageSize {
		g := m.page(p)
		if g.memory != nil && g.perm&wr != 0 && g.memory.users == 1 {
			g.memory.users, g.memory = 0, nil
		}
		g.isOwed = false
	}
}

func (m *model) doAlias(a, n uintptr, f hypercall.MapFlag, src uintptr) {
	want := hypercall.Status(0)
	if f&(rd|wr) == 0 || src < a+n && a < src+n || !m.whole(src, n) {
		want = hypercall.EINVAL
	}
	if s := m.p.doAlias(a, n, f, src); s != want {
		m.t.Fatalf("alias: %d, want %d", s, want)
	}
	if want != 0 {
		m.follow()
		return
	}
	for i := uintptr(0); i < n; i += pageSize {
		m.bring(src + i)
		m.drop(a + i)
		g, s := m.page(a+i), m.page(src+i)
		s.memory.users++
		*g = modelPage{mapped: true, perm: f & (rd | wr), memory: s.memory}
	}
}

// bring is what the model does when the tables take a frame for a page.
func (m *model) bring(a uintptr) {
	if g := m.page(a); g.memory == nil {
		g.memory, g.isOwed = &modelMemory{users: 1}, false
	}
}

// follow takes over which lazy pages have come: how many a fault brings in is not
// the contract's.
func (m *model) follow() {
	for a, g := range m.pages {
		if e := m.p.slot(a); e != nil && e.holds() && g.mapped {
			m.bring(a)
		}
	}
}

// touch reads or writes a page as a program would.
func (m *model) touch(a uintptr, code uintptr) {
	g := m.page(a)
	may := g.mapped && g.perm != 0 && (code&faultWrite == 0 || g.perm&wr != 0)
	held := g.memory != nil
	got := m.p.faultIn(a, code)
	switch {
	case !may && got != touchRefused, may && held && got != touchKnown, may && !held && got != touchDone:
		m.t.Fatalf("touch of %#x for %d: %d; may %v, there before %v", a, code, got, may, held)
	case !may:
		return
	}
	m.follow()
	word := m.word(a)
	if *word != g.memory.value {
		m.t.Fatalf("%#x reads %#x, want %#x", a, *word, g.memory.value)
	}
	if code&faultWrite != 0 {
		g.memory.value = rand.Uint64()
		*word = g.memory.value
	}
}

func (m *model) word(a uintptr) *uint64 {
	return (*uint64)(unsafe.Pointer(m.p.ram.addr(m.p.slot(a).frame())))
}

// check compares the tables and the account of frames with the model.
func (m *model) check() {
	m.t.Helper()
	owed, used := 0, map[int]*modelMemory{}
	for a, g := range m.pages {
		v := entry(0)
		if e := m.p.slot(a); e != nil {
			v = *e
		}
		if v.holds() != (g.memory != nil) || (v != 0) != g.mapped || v&ptePresent != 0 && v&pteNX == 0 {
			m.t.Fatalf("%#x: entry %#x, want %+v", a, v, *g)
		}
		for code, need := range map[uintptr]hypercall.MapFlag{0: rd | wr, faultWrite: wr} {
			if allows(v, code) != (g.perm&need != 0) {
				m.t.Fatalf("%#x: entry %#x allows %d: %v; %+v", a, v, code, allows(v, code), *g)
			}
		}
		if g.isOwed {
			owed++
		}
		if g.memory == nil {
			continue
		}
		if was := used[v.frame()]; was != nil && was != g.memory {
			m.t.Fatalf("frame %d has two users that share nothing", v.frame())
		}
		used[v.frame()] = g.memory
	}
	if m.p.ram.owed != owed {
		m.t.Fatalf("%d frames are promised, want %d", m.p.ram.owed, owed)
	}
	if got := m.p.ram.left + len(used) + m.tables(); got != m.total {
		m.t.Fatalf("%d frames are known of, want %d", got, m.total)
	}
}

// tables counts the frames that are tables, but for the root.
func (m *model) tables() (n int) {
	var count func(at entry, level int)
	count = func(at entry, level int) {
		for _, e := range m.p.table(at) {
			if e&ptePresent != 0 {
				n++
				if level > 2 {
					count(e, level-1)
				}
			}
		}
	}
	count(entry(m.p.root), 4)
	return n
}

// translations are the present entries of the model's pages: what a processor may
// know.
func (m *model) translations() map[uintptr]entry {
	list := map[uintptr]entry{}
	for a := range m.pages {
		if e := m.p.slot(a); e != nil && *e&ptePresent != 0 {
			list[a] = *e
		}
	}
	return list
}

// forgotten checks that every translation that is no longer true was flushed.
func (m *model) forgotten(before map[uintptr]entry) {
	m.t.Helper()
	if m.p.changed != 0 {
		m.t.Fatalf("%d changes wait for a flush", m.p.changed)
	}
	flushed := map[uintptr]bool{}
	for _, a := range m.p.stale[:min(m.p.flushed, maxInvalidate)] {
		flushed[a] = true
	}
	for a, old := range before {
		now := *m.p.slot(a)
		kept := now&ptePresent != 0 && now.frame() == old.frame() && now&pteWrite >= old&pteWrite
		if !kept && !flushed[a] && m.p.flushed <= maxInvalidate {
			m.t.Fatalf("%#x was %#x, is %#x, and nobody forgot it", a, old, now)
		}
	}
}

func (m *model) step(r *rand.Rand) {
	// Ranges lie across the border of a table, and near a second one.
	at := func() uintptr {
		return uintptr([]uint64{0x7000_001f_0000, 0x7000_4000_0000}[r.IntN(2)]) + uintptr(r.IntN(32))*pageSize
	}
	a, n := at(), uintptr(1+r.IntN(20))*pageSize
	flags := []hypercall.MapFlag{0, rd, wr, rd | wr, wr | lazy, rd | lazy}[r.IntN(6)]
	switch r.IntN(9) {
	case 0:
		if r.IntN(8) == 0 {
			n += 150 * pageSize // beyond what is there at once
		}
		m.doMap(a, n, flags)
	case 1:
		m.doUnmap(a, n)
	case 2:
		m.doProtect(a, n, flags&^lazy)
	case 3:
		m.doDiscard(a, n)
	case 4:
		m.doAlias(a, n, flags&^lazy, at())
	default:
		m.touch(a, uintptr(r.IntN(2))*faultWrite)
	}
}

// TestPagingModel does what programs do, at random, and compares with the model
// after each step.
func TestPagingModel(t *testing.T) {
	for seed := range uint64(30) {
		p := newTables(t)
		m := &model{t: t, p: p, pages: map[uintptr]*modelPage{}}
		m.total = p.ram.left + m.tables()
		r := rand.New(rand.NewPCG(seed, 1))
		for range 400 {
			before := m.translations()
			p.flushed = 0
			m.step(r)
			m.check()
			m.forgotten(before)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// TestPagingRefusals: what the contract refuses, with nothing changed.
func TestPagingRefusals(t *testing.T) {
	p := newTables(t)
	const at = uintptr(0x7000_0000_0000)
	reserved := uintptr(hypercall.ReservedGVA)
	text := *p.slot(testText)
	for name, c := range map[string][2]hypercall.Status{
		"not a page":   {p.doMap(at+1, pageSize, wr), hypercall.EINVAL},
		"no length":    {p.doMap(at, 0, wr), hypercall.EINVAL},
		"low":          {p.doUnmap(0, pageSize), hypercall.EINVAL},
		"high":         {p.doUnmap(reserved, pageSize), hypercall.EINVAL},
		"over the end": {p.doDiscard(reserved-pageSize, 2*pageSize), hypercall.EINVAL},
		"wraps":        {p.doUnmap(at, ^at+1), hypercall.EINVAL},
		"too much":     {p.doMap(at, maxRange+pageSize, wr|lazy), hypercall.ENOMEM},
		"no memory":    {p.doMap(at, testRAM, wr), hypercall.ENOMEM},
		"execute":      {p.doMap(at, pageSize, hypercall.MapExec), hypercall.EACCES},
		"flag":         {p.doMap(at, pageSize, 1<<8), hypercall.EINVAL},
		"text map":     {p.doMap(testText, pageSize, wr), hypercall.EACCES},
		"text unmap":   {p.doUnmap(testText-pageSize, 2*pageSize), hypercall.EACCES},
		"text protect": {p.doProtect(testText, pageSize, wr), hypercall.EACCES},
		"text discard": {p.doDiscard(testText, pageSize), 0},
		"text alias":   {p.doAlias(at, pageSize, rd, testText), hypercall.EACCES},
		"hole":         {p.doProtect(at, pageSize, rd), hypercall.EINVAL},
		"hole alias":   {p.doAlias(at, pageSize, rd, at+1<<30), hypercall.EINVAL},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %d, want %d", name, c[0], c[1])
		}
	}
	if *p.slot(testText) != text {
		t.Errorf("the text's entry is %#x, was %#x", *p.slot(testText), text)
	}
}

// TestLastFrame: memory runs out at a touch, and what is used again is zero.
func TestLastFrame(t *testing.T) {
	p := newTables(t)
	const at = uintptr(0x7000_0000_0000)
	if s := p.doMap(at, testRAM, wr|lazy); s != 0 {
		t.Fatal(s)
	}
	touched := uintptr(0)
	for p.faultIn(at+touched, faultWrite) == touchDone {
		for p.slot(at+touched) != nil && p.slot(at+touched).holds() {
			*(*uint64)(unsafe.Pointer(p.ram.addr(p.slot(at + touched).frame()))) = 1
			touched += pageSize
		}
	}
	if p.ram.left != 0 || touched < testRAM/2 {
		t.Fatalf("%d frames are left, %#x bytes were touched", p.ram.left, touched)
	}
	if s := p.doUnmap(at, testRAM); s != 0 {
		t.Fatal(s)
	}
	if s := p.doMap(at, 64*pageSize, wr); s != 0 {
		t.Fatal(s)
	}
	for a := at; a < at+64*pageSize; a += pageSize {
		if v := *(*uint64)(unsafe.Pointer(p.ram.addr(p.slot(a).frame()))); v != 0 {
			t.Fatalf("%#x reads %d", a, v)
		}
	}
}

// TestDescriptors compares with encodings made by hand from the manual's figures.
func TestDescriptors(t *testing.T) {
	if lo, hi := tssDescriptor(0x1122_3344_5566_7788); lo != 0x5500_8966_7788_0067 || hi != 0x1122_3344 {
		t.Errorf("TSS: %#x %#x", lo, hi)
	}
	if g := interruptGate(0x1122_3344_5566_7788); g.lo != 0x5566_8e01_0008_7788 || g.hi != 0x1122_3344 {
		t.Errorf("gate: %#x %#x", g.lo, g.hi)
	}
	var s taskState
	s.setTrapStack(0x1122_3344_5566_7788)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s))
	if len(b) != 104 || binary.LittleEndian.Uint64(b[0x24:]) != 0x1122_3344_5566_7788 || binary.LittleEndian.Uint16(b[0x66:]) != 104 {
		t.Errorf("TSS: % x", b)
	}
	p := tablePointer{limit: 0x1234, base: 0x5566}
	all := unsafe.Slice((*byte)(unsafe.Pointer(&p)), unsafe.Sizeof(p))
	if got := [10]byte(all[p.operand()-uintptr(unsafe.Pointer(&p)):]); got != [10]byte{0x34, 0x12, 0x66, 0x55} {
		t.Errorf("operand: % x", got)
	}
}

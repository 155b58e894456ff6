package emulate

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/hv/engine"
)

// The test machine's memory, by guest-virtual address: what is not in a page
// of the map faults.
const (
	atGDT   = 0x1000
	atIDT   = 0x2000
	atTSS   = 0x4000
	atData  = 0x10000 // two pages
	atStack = 0x21000 // grows down into the page below
	atRSP0  = 0x31000
	atIST1  = 0x41000
	atCode  = 0x400000

	kernelCS, kernelSS = 0x08, 0x10
	userSS, userCS     = 0x18 | 3, 0x20 | 3
	tssSelector        = 0x28
	ldtSelector        = 0x38
	narrowCS           = 0x48
	conformingCS       = 0x50
	absentSS           = 0x58
	readOnlyDS         = 0x60
	callGate           = 0x68
	kernelSS2          = 0x78 // base 0x12345000
)

// testBus is memory, ports and MSRs in maps. It keeps a log of what is asked.
type testBus struct {
	pages    map[uint64]*[pageSize]byte
	readOnly map[uint64]bool
	wild     func(a uint64, f func(at *byte, i int), n int) *Exception // in place of pages
	input    uint32
	log      []string
	fs, gs   uint64
	tpr      uint8
	msrs     map[uint32]uint64
	reads    int // of memory
	bytes    int // touched
}

func (b *testBus) note(format string, args ...any) {
	if len(b.log) < 100 {
		b.log = append(b.log, fmt.Sprintf(format, args...))
	}
}

// check holds the package to what it promises a Bus.
func (b *testBus) check(gva uint64, p []byte) {
	b.bytes += len(p)
	if len(p) == 0 || len(p) > pageSize || !canonicalSpan(gva, uint64(len(p))) {
		panic(fmt.Sprintf("%d bytes at %#x", len(p), gva))
	}
}

func (b *testBus) touch(gva uint64, p []byte, cpl uint8, f func(at *byte, i int), write bool) *Exception {
	b.check(gva, p)
	if b.wild != nil {
		return b.wild(gva, f, len(p))
	}
	code := uint64(0)
	if write {
		code |= pfWrite
	}
	if cpl == 3 {
		code |= 4
	}
	for i := range p {
		a := gva + uint64(i)
		page := b.pages[a/pageSize]
		if page == nil {
			return &Exception{vectorPF, code, true, a}
		}
		if write && b.readOnly[a/pageSize] {
			return &Exception{vectorPF, code | 1, true, a}
		}
		f(&page[a%pageSize], i)
	}
	return nil
}

func (b *testBus) ReadMemory(gva uint64, p []byte, _ Access, cpl uint8) *Exception {
	b.reads++
	return b.touch(gva, p, cpl, func(at *byte, i int) { p[i] = *at }, false)
}

func (b *testBus) WriteMemory(gva uint64, p []byte, cpl uint8) *Exception {
	if e := b.touch(gva, p, cpl, func(*byte, int) {}, true); e != nil {
		return e
	}
	return b.touch(gva, p, cpl, func(at *byte, i int) { *at = p[i] }, true)
}

func (b *testBus) In(port uint16, size int) uint32 {
	b.note("in %#x %d", port, size)
	b.input++
	return b.input
}
func (b *testBus) Out(port uint16, size int, v uint32) { b.note("out %#x %d %#x", port, size, v) }
func (b *testBus) ReadMSR(index uint32) (uint64, bool) {
	v, ok := b.msrs[index]
	return v, ok
}
func (b *testBus) WriteMSR(index uint32, v uint64) bool {
	_, ok := b.msrs[index]
	if ok {
		b.msrs[index] = v
	}
	return ok
}
func (b *testBus) TaskPriority() uint8       { return b.tpr }
func (b *testBus) SetTaskPriority(v uint8)   { b.tpr = v }
func (b *testBus) InvalidatePage(gva uint64) { b.note("invlpg %#x", gva) }
func (b *testBus) FlushTLB(global bool)      { b.note("flush %v", global) }
func (b *testBus) Bases() (fs, gs uint64)    { return b.fs, b.gs }
func (b *testBus) SetBases(fs, gs uint64)    { b.fs, b.gs = fs, gs }
func (b *testBus) CPLChanged()               { b.note("cpl") }

// machine is a virtual processor in 64-bit mode at CPL 0 with tables, of which
// each handler n is at 0xffff_8000_0000_0000 + n.
type machine struct {
	t *testing.T
	CPU
	engine.Regs
	testBus
}

const handlers = 0xffff_8000_0000_0000

func newMachine(t *testing.T) *machine {
	m := &machine{t: t}
	m.pages, m.readOnly = map[uint64]*[pageSize]byte{}, map[uint64]bool{}
	m.msrs = map[uint32]uint64{0x80b: 0, 0x838: 7}
	for _, a := range []uint64{atGDT, atIDT, atTSS, atData, atData + pageSize, atStack - 1, atRSP0 - 1, atIST1 - 1, atCode} {
		m.pages[a/pageSize] = new([pageSize]byte)
	}
	m.CPU = CPU{CR0: cr0PE | cr0ET | cr0NE | cr0WP | cr0AM | cr0PG, CR4: cr4PAE | cr4OSXSAVE, CR4Offered: CR4Usual | cr4OSXSAVE | cr4FSGSBASE,
		EFER: eferLME | eferLMA | eferNXE | eferSCE, XCR0: 7, CS: kernelCS, SS: kernelSS, TR: tssSelector,
		GDT: Table{atGDT, 0xff}, IDT: Table{atIDT, 0xfff}, TSS: Segment{atTSS, 0x200, true}}
	m.Regs = engine.Regs{RIP: atCode, RSP: atStack, RFLAGS: flagOne | flagIF}
	m.tables()
	return m
}

// seg makes a descriptor: type and S as in the low 5 bits, flags as G D L AVL.
func seg(base uint64, limit uint32, kind, dpl, flags uint64, present bool) uint64 {
	v := uint64(limit&0xffff) | (base&0xffffff)<<16 | kind<<40 | dpl<<45 | uint64(limit>>16)<<48 | flags<<52 | base>>24<<56
	if present {
		v |= 1 << 47
	}
	return v
}

func (m *machine) tables() {
	const code, data, flat = 0x1a, 0x12, 0xfffff // readable, writable, not accessed
	for selector, d := range map[uint64]uint64{
		kernelCS:        seg(0, flat, code, 0, 0xa, true),
		kernelSS:        seg(0, flat, data, 0, 0xc, true),
		userSS &^ 3:     seg(0, flat, data, 3, 0xc, true),
		userCS &^ 3:     seg(0, flat, code, 3, 0xa, true),
		tssSelector:     seg(atTSS, 0x200, typeTSS, 0, 0, true),
		tssSelector + 8: 0,
		ldtSelector:     seg(atData, 0xf, typeLDT, 0, 0, true),
		ldtSelector + 8: 0,
		narrowCS:        seg(0, flat, code, 0, 0xc, true),
		conformingCS:    seg(0, flat, code|4, 0, 0xa, true),
		absentSS:        seg(0, flat, data, 0, 0xc, false),
		readOnlyDS:      seg(0, 0x123, 0x10, 3, 0, true),
		callGate:        seg(0, 0, typeCallGate, 3, 0, true),
		callGate + 8:    0,
		kernelSS2:       seg(0x12345000, flat, data, 0, 0xc, true),
	} {
		m.poke(atGDT+selector, d)
	}
	for n := range uint64(256) {
		m.setGate(int(n), kernelCS, typeInterrupt, 0, 0)
	}
	m.setGate(3, kernelCS, typeTrap, 3, 0)
	m.setGate(vectorDF, kernelCS, typeInterrupt, 0, 1)
	m.poke(atTSS+4, atRSP0)
	m.poke(atTSS+36, atIST1)
	m.poke(atTSS+102, 0x80)
}

func (m *machine) setGate(n int, selector, kind, dpl, ist uint64) {
	offset := uint64(handlers) + uint64(n)
	m.poke(atIDT+uint64(n)*16, offset&0xffff|selector<<16|ist<<32|kind<<40|dpl<<45|1<<47|offset>>16&0xffff<<48)
	m.poke(atIDT+uint64(n)*16+8, offset>>32)
}

func (m *machine) poke(a uint64, values ...uint64) {
	for i, v := range values {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		for j := range b {
			at := a + uint64(i*8+j)
			m.pages[at/pageSize][at%pageSize] = b[j]
		}
	}
}

func (m *machine) peek(a uint64) uint64 {
	var b [8]byte
	for j := range b {
		at := a + uint64(j)
		b[j] = m.pages[at/pageSize][at%pageSize]
	}
	return binary.LittleEndian.Uint64(b[:])
}

// user is the same processor at CPL 3.
func (m *machine) user() { m.CPL, m.CS, m.SS = 3, userCS, userSS }

// step runs the bytes with a #GP from the real processor behind them.
func (m *machine) step(code string) Result {
	m.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(code, " ", ""))
	if err != nil {
		m.t.Fatal(err)
	}
	return m.Step(&m.Regs, append(b, make([]byte, maxLength-len(b))...), realGP, &m.testBus)
}

// realGP is what the real processor raised: an error code that no emulation
// gives, to know it again.
var realGP = Exception{Vector: vectorGP, Error: 0x7777, HasError: true}

// done runs the bytes and wants them emulated, RIP after them.
func (m *machine) done(code string) Result {
	m.t.Helper()
	from := m.RIP
	res := m.step(code)
	n := uint64(len(strings.ReplaceAll(code, " ", "")) / 2)
	if res.Exception != nil || res.Refused != "" || m.RIP != from+n {
		m.t.Errorf("%s: exception %+v, refused %q, RIP %+d; want it done, %d bytes", code, res.Exception, res.Refused, m.RIP-from, n)
	}
	return res
}

// fails runs the bytes and wants an exception, with nothing changed.
func (m *machine) fails(code string, vector uint8, errorCode uint64) {
	m.t.Helper()
	registers, cpu := m.Regs, m.CPU
	res := m.step(code)
	switch {
	case res.Exception == nil || res.Exception.Vector != vector || res.Exception.Error != errorCode:
		m.t.Errorf("%s: %+v, exception %+v; want vector %d, error %#x", code, res, res.Exception, vector, errorCode)
	case res.Exception.HasError != (vector != vectorUD):
		m.t.Errorf("%s: vector %d, has error code: %v", code, vector, res.Exception.HasError)
	case m.Regs != registers || m.CPU != cpu:
		m.t.Errorf("%s: the state has changed:\n%v %+v\n%v %+v", code, &registers, cpu, &m.Regs, m.CPU)
	}
}

// refuses runs the bytes and wants them refused with a text that has part in it.
func (m *machine) refuses(code, part string) {
	m.t.Helper()
	registers, cpu := m.Regs, m.CPU
	if res := m.step(code); !strings.Contains(res.Refused, part) || !strings.Contains(res.Refused, "at 0x") || res.Exception != nil {
		m.t.Errorf("%s: %+v, want it refused with %q", code, res, part)
	}
	if m.Regs != registers || m.CPU != cpu {
		m.t.Errorf("%s: the state has changed", code)
	}
}

func (m *machine) equal(what string, got, want uint64) {
	m.t.Helper()
	if got != want {
		m.t.Errorf("%s is %#x, want %#x", what, got, want)
	}
}

func (m *machine) logged(want ...string) {
	m.t.Helper()
	if got := strings.Join(m.log, "; "); got != strings.Join(want, "; ") {
		m.t.Errorf("the bus saw %q, want %q", got, want)
	}
	m.log = nil
}

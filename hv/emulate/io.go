package emulate

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"
)

// maxIterations bounds a string instruction's share of one Step; it then
// begins again where it is.
const maxIterations = 4096

const (
	pageSize = 4096
	pfWrite  = 1 << 1 // of a page fault's error code
)

// port is the operand that names it.
func (s *step) port(arg x86asm.Arg) uint16 {
	if n, ok := arg.(x86asm.Imm); ok {
		return uint16(uint8(n))
	}
	return uint16(s.r.RDX)
}

// reach allows an access of n bytes to a port, and notes it.
func (s *step) reach(port uint16, n int, write bool) *Exception {
	if s.c.CPL > s.c.IOPL {
		if e := s.permitted(port, n); e != nil {
			return e
		}
	}
	s.res.IO, s.res.Port, s.res.Write = true, port, write
	return nil
}

// permitted looks into the TSS's map (Intel SDM volume 1, "I/O Permission Bit
// Map").
func (s *step) permitted(port uint16, n int) *Exception {
	const mapBase = 102 // offset in the TSS of the map's own offset
	t := s.c.TSS
	if !t.Valid || t.Limit < mapBase+1 || !canonicalSpan(t.Base, uint64(t.Limit)+1) {
		return gp(0)
	}
	at, e := s.read(t.Base+mapBase, 2, 0)
	if e != nil {
		return e
	}
	at += uint64(port / 8)
	if at+1 > uint64(t.Limit) {
		return gp(0)
	}
	v, e := s.read(t.Base+at, 2, 0)
	if e != nil {
		return e
	}
	if v>>(port%8)&(1<<n-1) != 0 {
		return gp(0)
	}
	return nil
}

func (s *step) input() *Exception {
	name, port := s.operandReg(0), s.port(s.in.Args[1])
	_, bits := register(name)
	if e := s.reach(port, bits/8, false); e != nil {
		return e
	}
	s.set(name, uint64(s.bus.In(port, bits/8)))
	return nil
}

func (s *step) output() *Exception {
	name, port := s.operandReg(1), s.port(s.in.Args[0])
	_, bits := register(name)
	if e := s.reach(port, bits/8, true); e != nil {
		return e
	}
	s.bus.Out(port, bits/8, uint32(s.value(name)))
	return nil
}

func (s *step) insb() *Exception  { return s.stringIO(1, false) }
func (s *step) insw() *Exception  { return s.stringIO(2, false) }
func (s *step) insd() *Exception  { return s.stringIO(4, false) }
func (s *step) outsb() *Exception { return s.stringIO(1, true) }
func (s *step) outsw() *Exception { return s.stringIO(2, true) }
func (s *step) outsd() *Exception { return s.stringIO(4, true) }

// transfer is string I/O under way. size is an element's, in bytes.
type transfer struct {
	size  int
	write bool
	base  uint64 // of the segment
	index *uint64
	bits  int // of addresses
	down  bool
}

func (s *step) stringIO(size int, write bool) *Exception {
	t := transfer{size: size, write: write, index: &s.r.RDI, bits: s.in.AddrSize, down: s.r.RFLAGS&flagDF != 0}
	if write {
		t.index, t.base = &s.r.RSI, s.segmentBase(s.overriding())
	}
	if e := s.reach(uint16(s.r.RDX), size, write); e != nil {
		return e
	}
	if !s.in.rep {
		_, e := s.chunk(&t, 1)
		return e
	}
	return s.repeat(&t)
}

// repeat does what one Step may: all of it, or maxIterations, or, single
// stepping, one. RIP stays at the instruction until the count is 0.
func (s *step) repeat(t *transfer) *Exception {
	s.progress = true
	budget := uint64(maxIterations)
	if s.r.RFLAGS&flagTF != 0 {
		budget = 1
	}
	count := s.r.RCX & (1<<t.bits - 1)
	for count > 0 && budget > 0 {
		n, e := s.chunk(t, int(min(count, budget)))
		if e != nil {
			return e
		}
		count, budget = count-uint64(n), budget-uint64(n)
		s.r.RCX = count
	}
	if count > 0 {
		s.r.RIP = s.start
	}
	return nil
}

// chunk moves up to n elements in one copy, as many as lie in one page, and
// advances the index by those that were moved: all or, with an exception, none.
func (s *step) chunk(t *transfer, n int) (int, *Exception) {
	a := *t.index&(1<<t.bits-1) + t.base
	if room := int(pageSize-a%pageSize) / t.size; t.down {
		n = 1
	} else {
		n = max(1, min(n, room))
	}
	bytes := n * t.size
	if !canonicalSpan(a, uint64(bytes)) {
		return 0, gp(0)
	}
	b := make([]byte, bytes)
	if e := s.bus.ReadMemory(a, b, Read, s.c.CPL); e != nil {
		if !t.write && e.Vector == vectorPF {
			e.Error |= pfWrite
		}
		return 0, e
	}
	if t.write {
		s.send(b, t.size)
	} else if e := s.receive(a, b, t.size); e != nil {
		return 0, e
	}
	s.advance(t, bytes)
	return n, nil
}

func (s *step) advance(t *transfer, bytes int) {
	by := uint64(bytes)
	if t.down {
		by = -by
	}
	*t.index = merge(*t.index, *t.index+by, t.bits)
}

func (s *step) send(b []byte, size int) {
	for ; len(b) > 0; b = b[size:] {
		var word [4]byte
		copy(word[:], b[:size])
		s.bus.Out(uint16(s.r.RDX), size, binary.LittleEndian.Uint32(word[:]))
	}
}

// receive writes what is there already before it asks the device: a fault has
// to come before anything is taken from it.
func (s *step) receive(a uint64, b []byte, size int) *Exception {
	if e := s.bus.WriteMemory(a, b, s.c.CPL); e != nil {
		return e
	}
	for rest := b; len(rest) > 0; rest = rest[size:] {
		var word [4]byte
		binary.LittleEndian.PutUint32(word[:], s.bus.In(uint16(s.r.RDX), size))
		copy(rest[:size], word[:])
	}
	return s.bus.WriteMemory(a, b, s.c.CPL)
}

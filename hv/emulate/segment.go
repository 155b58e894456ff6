package emulate

import "golang.org/x/arch/x86/x86asm"

// selector is where the guest's own selector of a segment register is.
func (c *CPU) selector(name x86asm.Reg) *uint16 {
	switch name {
	case x86asm.ES:
		return &c.ES
	case x86asm.CS:
		return &c.CS
	case x86asm.SS:
		return &c.SS
	case x86asm.DS:
		return &c.DS
	case x86asm.FS:
		return &c.FS
	default:
		return &c.GS
	}
}

// overriding is the segment override of an instruction whose operand the
// decoder does not show.
func (s *step) overriding() x86asm.Reg {
	for _, p := range s.in.Prefix {
		switch p & 0xff {
		case x86asm.PrefixFS:
			return x86asm.FS
		case x86asm.PrefixGS:
			return x86asm.GS
		}
	}
	return 0
}

func (s *step) fromSegment() *Exception {
	return s.store(s.in.Args[0], 2, uint64(*s.c.selector(s.operandReg(1))))
}

func (s *step) toSegment() *Exception {
	name := s.operandReg(0)
	if name == x86asm.CS {
		return undefined()
	}
	v, e := s.load(s.in.Args[1], 2)
	if e != nil {
		return e
	}
	return s.loadSegment(name, uint16(v))
}

func (s *step) pushSegment() *Exception {
	return s.push(s.stackBytes(), uint64(*s.c.selector(s.operandReg(0))))
}

func (s *step) popSegment() *Exception {
	var v uint64
	if e := s.pop(s.stackBytes(), &v); e != nil {
		return e
	}
	return s.loadSegment(s.operandReg(0), uint16(v))
}

func (s *step) lss() *Exception { return s.loadFar(x86asm.SS) }
func (s *step) lfs() *Exception { return s.loadFar(x86asm.FS) }
func (s *step) lgs() *Exception { return s.loadFar(x86asm.GS) }

// loadFar loads a register and a segment register from an offset and a selector.
func (s *step) loadFar(name x86asm.Reg) *Exception {
	offset, selector, e := s.farPointer(s.in.Args[1])
	if e != nil {
		return e
	}
	s.set(s.operandReg(0), offset)
	if e := s.loadSegment(name, selector); e != nil {
		return e
	}
	s.c.Shadow = false // LSS has none
	return nil
}

// farPointer reads an offset of the operand size and the selector after it.
func (s *step) farPointer(arg x86asm.Arg) (offset uint64, selector uint16, e *Exception) {
	n := s.bytes()
	a, e := s.memory(arg, n+2)
	if e != nil {
		return 0, 0, e
	}
	if offset, e = s.read(a, n, s.c.CPL); e != nil {
		return 0, 0, e
	}
	v, e := s.read(a+uint64(n), 2, s.c.CPL)
	return offset, uint16(v), e
}

// loadSegment loads ES, SS, DS, FS or GS. A null selector leaves the segment
// usable, with base 0, since 64-bit mode looks at neither.
func (s *step) loadSegment(name x86asm.Reg, selector uint16) *Exception {
	var d descriptor
	if name == x86asm.SS || !null(selector) {
		var e *Exception
		if d, e = s.segmentFor(name, selector); e != nil {
			return e
		}
	}
	*s.c.selector(name) = selector
	switch fs, gs := s.bus.Bases(); name {
	case x86asm.FS:
		s.bus.SetBases(d.base(), gs)
	case x86asm.GS:
		s.bus.SetBases(fs, d.base())
	case x86asm.SS:
		s.shadow()
	}
	return nil
}

// segmentFor checks a selector for a data segment or the stack (Intel SDM
// volume 2B, "MOV—Move").
func (s *step) segmentFor(name x86asm.Reg, selector uint16) (descriptor, *Exception) {
	bad, rpl, cpl := gp(selectorError(selector)), uint8(selector&3), s.c.CPL
	if null(selector) { // for SS
		if cpl == 3 || rpl != cpl {
			return 0, gp(0)
		}
		return 0, nil
	}
	d, ok, e := s.descriptor(selector)
	if e != nil {
		return 0, e
	}
	missing := uint8(vectorNP)
	switch {
	case !ok, d.system():
		return 0, bad
	case name == x86asm.SS:
		missing = vectorSS
		if rpl != cpl || d.dpl() != cpl || !d.writable() {
			return 0, bad
		}
	case !d.readable(), !d.conforming() && d.dpl() < max(rpl, cpl):
		return 0, bad
	}
	if !d.present() {
		return 0, withError(missing, selectorError(selector))
	}
	return d, s.mark(selector, d, 1)
}

package emulate

import "golang.org/x/arch/x86/x86asm"

const narrowCode = "code that is not 64-bit is not supported"

// popFar pops an offset and a selector.
func (s *step) popFar(rest ...*uint64) (rip uint64, cs uint16, e *Exception) {
	var selector uint64
	e = s.pop(s.bytes(), append([]*uint64{&rip, &selector}, rest...)...)
	return rip, uint16(selector), e
}

// lret returns to a segment of the same CPL (Intel SDM volume 2B, "RET—Return
// From Procedure").
func (s *step) lret() *Exception {
	rip, cs, e := s.popFar()
	if e != nil {
		return e
	}
	if n, ok := s.in.Args[0].(x86asm.Imm); ok {
		s.r.RSP += uint64(uint16(n))
	}
	if e := s.returnTo(cs); e != nil || s.res.Refused != "" {
		return e
	}
	if uint8(cs&3) != s.c.CPL {
		return s.refuse("a far return to another CPL is not supported")
	}
	return s.jump(rip, cs)
}

// returnTo checks a code selector from the stack. The CPL to be is its RPL.
func (s *step) returnTo(cs uint16) *Exception {
	rpl := uint8(cs & 3)
	if null(cs) {
		return gp(0)
	}
	d, ok, e := s.descriptor(cs)
	switch {
	case e != nil:
		return e
	case !ok, !d.code(), rpl < s.c.CPL, d.conforming() && d.dpl() > rpl, !d.conforming() && d.dpl() != rpl:
		return gp(selectorError(cs))
	}
	return s.enterable(cs, d)
}

// enterable makes the last checks of a code segment and marks it.
func (s *step) enterable(cs uint16, d descriptor) *Exception {
	ok, e := s.codeSegment(cs, d, 0)
	switch {
	case e != nil:
		return e
	case !ok:
		return s.refuse(narrowCode)
	}
	return s.mark(cs, d, 1)
}

func (s *step) jump(rip uint64, cs uint16) *Exception {
	if !canonical(rip) {
		return gp(0)
	}
	s.r.RIP, s.c.CS = rip, cs
	return nil
}

// ljmp and lcall go to a segment of the same CPL; gates are refused.
func (s *step) ljmp() *Exception {
	rip, cs, e := s.farTarget()
	if e != nil || s.res.Refused != "" {
		return e
	}
	return s.jump(rip, cs)
}

func (s *step) lcall() *Exception {
	old := s.c.CS
	rip, cs, e := s.farTarget()
	if e != nil || s.res.Refused != "" {
		return e
	}
	if !canonical(rip) {
		return gp(0)
	}
	if e := s.push(s.bytes(), uint64(old), s.next); e != nil {
		return e
	}
	return s.jump(rip, cs)
}

// farTarget checks what a far jump or call names (Intel SDM volume 2A,
// "JMP—Jump").
func (s *step) farTarget() (rip uint64, cs uint16, e *Exception) {
	rip, cs, e = s.farPointer(s.in.Args[0])
	if e != nil {
		return 0, 0, e
	}
	if null(cs) {
		return 0, 0, gp(0)
	}
	bad, rpl, cpl := gp(selectorError(cs)), uint8(cs&3), s.c.CPL
	d, ok, e := s.descriptor(cs)
	switch {
	case e != nil:
		return 0, 0, e
	case !ok:
		return 0, 0, bad
	case d.system() && d.kind() == typeCallGate:
		return 0, 0, s.refuse("call gates are not supported")
	case !d.code(), d.conforming() && d.dpl() > cpl, !d.conforming() && (rpl > cpl || d.dpl() != cpl):
		return 0, 0, bad
	}
	return rip, cs&^3 | uint16(cpl), s.enterable(cs, d)
}

// iret returns from a handler (Intel SDM volume 2A, "IRET/IRETD/IRETQ—Interrupt
// Return"). In 64-bit mode the stack pointer is always popped.
func (s *step) iret() *Exception {
	if s.r.RFLAGS&flagNT != 0 {
		return gp(0)
	}
	var flags, rsp, ss uint64
	rip, cs, e := s.popFar(&flags, &rsp, &ss)
	if e != nil {
		return e
	}
	if e := s.returnTo(cs); e != nil || s.res.Refused != "" {
		return e
	}
	cpl := uint8(cs & 3)
	if cpl != 0 && cpl != 3 {
		return s.refuse("CPL 1 and 2 are not supported")
	}
	if e := s.stackFor(uint16(ss), cpl); e != nil {
		return e
	}
	mask := flagStatus | flagTF | flagDF | flagNT | flagRF | flagAC | flagID | s.flagsOfCPL()
	if s.in.DataSize == 16 {
		mask &= 0xffff
	}
	if e := s.jump(rip, cs); e != nil {
		return e
	}
	if e := s.dropSegments(cpl); e != nil {
		return e
	}
	s.setFlags(flags, mask)
	s.keepRF = true
	s.r.RSP, s.c.SS = rsp, uint16(ss)
	s.setCPL(cpl)
	return nil
}

// stackFor checks the stack segment of a return to cpl.
func (s *step) stackFor(ss uint16, cpl uint8) *Exception {
	if null(ss) {
		if cpl == 3 || uint8(ss&3) != cpl {
			return gp(0)
		}
		return nil
	}
	d, ok, e := s.descriptor(ss)
	switch {
	case e != nil:
		return e
	case !ok, uint8(ss&3) != cpl, !d.writable(), d.dpl() != cpl:
		return gp(selectorError(ss))
	case !d.present():
		return withError(vectorSS, selectorError(ss))
	}
	return s.mark(ss, d, 1)
}

func (k core) setCPL(cpl uint8) {
	if k.c.CPL != cpl {
		k.c.CPL = cpl
		k.bus.CPLChanged()
	}
}

// dropSegments makes null what an outer CPL may not have.
func (s *step) dropSegments(cpl uint8) *Exception {
	if cpl == s.c.CPL {
		return nil
	}
	for _, p := range []*uint16{&s.c.ES, &s.c.DS, &s.c.FS, &s.c.GS} {
		d, ok, e := s.descriptor(*p)
		if e != nil {
			return e
		}
		if !ok || !d.conforming() && d.dpl() < cpl {
			*p = 0
		}
	}
	return nil
}

package emulate

import "golang.org/x/arch/x86/x86asm"

// syscall enters CPL 0 (Intel SDM volume 2B, "SYSCALL—Fast System Call").
func (s *step) syscall() *Exception {
	if s.c.EFER&eferSCE == 0 {
		return undefined()
	}
	s.r.RCX, s.r.R11 = s.next, s.c.Flags(s.r)&^flagRF
	s.setFlags(0, s.c.FMASK)
	s.r.RIP = s.c.LSTAR
	s.c.CS = uint16(s.c.STAR>>32) &^ 3
	s.c.SS = s.c.CS + 8
	s.entering = true
	s.setCPL(0)
	return nil
}

// sysret leaves it.
func (s *step) sysret() *Exception {
	const flags = 0x3c7fd7 // all but RF and VM
	switch {
	case s.c.EFER&eferSCE == 0:
		return undefined()
	case s.c.CPL != 0:
		return gp(0)
	case s.in.DataSize != 64:
		return s.refuse(narrowCode)
	case !canonical(s.r.RCX):
		return gp(0)
	}
	s.r.RIP = s.r.RCX
	s.setFlags(s.r.R11, flags)
	base := uint16(s.c.STAR >> 48)
	s.c.CS, s.c.SS = (base+16)|3, (base+8)|3
	s.setCPL(3)
	return nil
}

// sysenter and sysexit are #GP(0) until the guest has given them a segment.
func (s *step) sysenter() *Exception {
	if s.c.SysenterCS&^3 == 0 {
		return gp(0)
	}
	return s.refuse("SYSENTER and SYSEXIT are not supported")
}

// intN is a software interrupt: the gate's DPL counts.
func (s *step) intN() *Exception {
	n, _ := s.in.Args[0].(x86asm.Imm)
	return s.interrupt(event{Exception: Exception{Vector: uint8(n)}, origin: software})
}

// icebp raises #DB as the processor itself does.
func (s *step) icebp() *Exception {
	return s.interrupt(event{Exception: Exception{Vector: vectorDB}})
}

func (s *step) interrupt(ev event) *Exception {
	s.entering, s.keepRF = true, true
	s.r.RFLAGS &^= flagRF
	e, err := s.enter(ev)
	if err != nil {
		return s.refuse(err.Error())
	}
	return e
}

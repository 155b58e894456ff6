package emulate

import "golang.org/x/arch/x86/x86asm"

func (s *step) operandReg(i int) x86asm.Reg {
	name, _ := s.in.Args[i].(x86asm.Reg)
	return name
}

func (s *step) fromControl() *Exception {
	var v uint64
	switch s.operandReg(1) {
	case x86asm.CR0:
		v = s.c.CR0
	case x86asm.CR2:
		v = s.c.CR2
	case x86asm.CR3:
		v = s.c.CR3
	case x86asm.CR4:
		v = s.c.CR4
	case x86asm.CR8:
		v = uint64(s.bus.TaskPriority())
	default:
		return undefined()
	}
	s.set(s.operandReg(0), v)
	return nil
}

func (s *step) toControl() *Exception {
	v := s.value(s.operandReg(1))
	switch s.operandReg(0) {
	case x86asm.CR0:
		return s.setCR0(v)
	case x86asm.CR2:
		s.c.CR2 = v
	case x86asm.CR3:
		return s.setCR3(v)
	case x86asm.CR4:
		return s.setCR4(v)
	case x86asm.CR8:
		if v > 15 {
			return gp(0)
		}
		s.bus.SetTaskPriority(uint8(v))
	default:
		return undefined()
	}
	return nil
}

// setCR0 keeps TS and EM out: use of the FPU would have to trap, and does not.
func (s *step) setCR0(v uint64) *Exception {
	v = v&(cr0Known|^uint64(0xffffffff)) | cr0ET
	switch {
	case v>>32 != 0, v&cr0PG != 0 && v&cr0PE == 0, v&cr0NW != 0 && v&cr0CD == 0:
		return gp(0)
	case v&cr0PG == 0:
		return s.refuse("paging cannot be switched off")
	case v&(cr0TS|cr0EM) != 0:
		return s.refuse("CR0.TS and CR0.EM are not supported")
	}
	changed := v ^ s.c.CR0
	s.c.CR0 = v
	if changed&cr0WP != 0 {
		s.bus.FlushTLB(true)
	}
	return nil
}

func (s *step) setCR3(v uint64) *Exception {
	if v>>52 != 0 {
		return gp(0)
	}
	s.c.CR3 = v
	s.bus.FlushTLB(false)
	return nil
}

func (s *step) setCR4(v uint64) *Exception {
	switch {
	case v&^(s.c.CR4Offered|cr4Unsupported|cr4PAE) != 0, v&cr4PAE == 0:
		return gp(0)
	case v&cr4Unsupported != 0:
		return s.refuse("CR4.VME, CR4.PVI and CR4.TSD are not supported")
	case s.c.CR4&^v&cr4Real != 0:
		return s.refuse("to clear CR4.OSFXSR, OSXMMEXCPT, FSGSBASE or OSXSAVE is not supported")
	}
	changed := v ^ s.c.CR4
	s.c.CR4 = v
	if changed&cr4Paging != 0 {
		s.bus.FlushTLB(true)
	}
	return nil
}

func (s *step) clts() *Exception {
	s.c.CR0 &^= cr0TS
	return nil
}

// lmsw can set PE, and not clear it.
func (s *step) lmsw() *Exception {
	const bits = cr0PE | cr0MP | cr0EM | cr0TS
	v, e := s.load(s.in.Args[0], 2)
	if e != nil {
		return e
	}
	return s.setCR0(s.c.CR0&^bits | v&bits | s.c.CR0&cr0PE)
}

func (s *step) smsw() *Exception { return s.store(s.in.Args[0], 2, s.c.CR0) }

// invlpg of an address that is none does nothing.
func (s *step) invlpg() *Exception {
	m, ok := s.in.Args[0].(x86asm.Mem)
	if !ok {
		return undefined()
	}
	if a := s.offset(m) + s.segmentBase(m.Segment); canonical(a) {
		s.bus.InvalidatePage(a)
	}
	return nil
}

// nothing is for caches, which have none but the real processor's.
func (s *step) nothing() *Exception { return nil }

// xsetbv: XCR0 is the real processor's, and stays.
func (s *step) xsetbv() *Exception {
	v := s.r.RDX<<32 | s.r.RAX&0xffffffff
	switch {
	case !s.in.plain, s.c.CR4&cr4OSXSAVE == 0:
		return undefined()
	case s.c.CPL != 0, s.r.RCX&0xffffffff != 0, v&1 == 0, v&^s.c.XCR0 != 0, v&4 != 0 && v&2 == 0:
		return gp(0)
	case v != s.c.XCR0:
		return s.refuse("XCR0 cannot be changed")
	}
	return nil
}

// debug is the register that a DRn names: 4 and 5 are 6 and 7 unless CR4.DE is
// set (Intel SDM volume 3B, "Debug Registers DR4 and DR5").
func (s *step) debug(name x86asm.Reg) (*uint64, int, *Exception) {
	n := int(name - x86asm.DR0)
	if n > 7 || (n == 4 || n == 5) && s.c.CR4&cr4DE != 0 {
		return nil, 0, undefined()
	}
	if s.c.CPL != 0 {
		return nil, 0, gp(0)
	}
	if n == 4 || n == 5 {
		n += 2
	}
	return &s.c.DR[n], n, nil
}

func (s *step) fromDebug() *Exception {
	p, n, e := s.debug(s.operandReg(1))
	if e != nil {
		return e
	}
	v := *p
	switch n {
	case 6:
		v |= dr6One
	case 7:
		v |= dr7One
	}
	s.set(s.operandReg(0), v)
	return nil
}

func (s *step) toDebug() *Exception {
	p, n, e := s.debug(s.operandReg(0))
	if e != nil {
		return e
	}
	v := s.value(s.operandReg(1))
	switch {
	case n >= 6 && v>>32 != 0:
		return gp(0)
	case n == 6:
		v = v&dr6Known | dr6One
	case n == 7 && v&(dr7Enable|dr7GD) != 0:
		return s.refuse("hardware breakpoints are not supported")
	case n == 7:
		v = v&dr7Known | dr7One
	}
	*p = v
	return nil
}

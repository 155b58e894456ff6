package emulate

import "github.com/pvrun/pvrun/hv/engine"

// Flags is RFLAGS as the guest sees it: with its own IF and IOPL.
func (c *CPU) Flags(r *engine.Regs) uint64 {
	v := r.RFLAGS&^flagsOfOwner | flagOne | uint64(c.IOPL&3)<<12
	if c.IF {
		v |= flagIF
	}
	return v
}

// setFlags changes the bits of the guest's RFLAGS that are in mask.
func (k core) setFlags(v, mask uint64) {
	v = k.c.Flags(k.r)&^mask | v&mask | flagOne
	k.c.IF = v&flagIF != 0
	k.c.IOPL = uint8(v >> 12 & 3)
	k.r.RFLAGS = v&^flagsOfOwner | k.r.RFLAGS&flagsOfOwner
}

// flagsOfCPL are those of IF and IOPL that code at the present CPL may change.
func (k core) flagsOfCPL() uint64 {
	switch {
	case k.c.CPL == 0:
		return flagIF | flagIOPL
	case k.c.CPL <= k.c.IOPL:
		return flagIF
	}
	return 0
}

func (s *step) cli() *Exception {
	s.c.IF = false
	return nil
}

// sti: interrupts come after the next instruction at the earliest, if they
// were off.
func (s *step) sti() *Exception {
	if !s.c.IF {
		s.shadow()
	}
	s.c.IF = true
	return nil
}

func (s *step) shadow() { s.c.Shadow, s.c.ShadowRIP = true, s.next }

func (s *step) hlt() *Exception {
	s.res.Halt = true
	return nil
}

func (s *step) pushf() *Exception {
	return s.push(s.stackBytes(), s.c.Flags(s.r)&^(flagRF|flagVM))
}

func (s *step) popf() *Exception {
	var v uint64
	n := s.stackBytes()
	if e := s.pop(n, &v); e != nil {
		return e
	}
	mask := flagStatus | flagTF | flagDF | flagNT | flagAC | flagID | s.flagsOfCPL()
	if n == 2 {
		mask &= 0xffff
	}
	s.setFlags(v, mask)
	return nil
}

// clac and stac exist where SMAP does.
func (s *step) clac() *Exception { return s.setAC(0) }

func (s *step) stac() *Exception { return s.setAC(flagAC) }

func (s *step) setAC(v uint64) *Exception {
	if s.c.CPL != 0 || s.c.CR4Offered&cr4SMAP == 0 {
		return undefined()
	}
	s.r.RFLAGS = s.r.RFLAGS&^flagAC | v
	return nil
}

// monitor takes the address and forgets it: a wait that ends too early is
// allowed at any time.
func (s *step) monitor() *Exception {
	if s.r.RCX&0xffffffff != 0 {
		return gp(0)
	}
	a := s.r.RAX
	if s.in.AddrSize == 32 {
		a = uint64(uint32(a))
	}
	a += s.segmentBase(s.overriding())
	if !canonical(a) {
		return gp(0)
	}
	_, e := s.read(a, 1, s.c.CPL)
	return e
}

// mwait waits for an interrupt: stores to the monitored address come from this
// processor alone. ECX bit 0 lets masked ones end it (Intel SDM volume 2B,
// "MWAIT—Monitor Wait").
func (s *step) mwait() *Exception {
	if s.r.RCX&0xfffffffe != 0 {
		return gp(0)
	}
	s.res.Halt, s.res.WakeMasked = true, s.r.RCX&1 != 0
	return nil
}

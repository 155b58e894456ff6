package emulate

// Model-specific registers (Intel SDM volume 4, "Model-Specific Registers").
const (
	msrSysenterCS   = 0x174
	msrSysenterESP  = 0x175
	msrSysenterEIP  = 0x176
	msrMiscEnable   = 0x1a0
	msrPAT          = 0x277
	msrEFER         = 0xc0000080
	msrSTAR         = 0xc0000081
	msrLSTAR        = 0xc0000082
	msrCSTAR        = 0xc0000083
	msrFMASK        = 0xc0000084
	msrFSBase       = 0xc0000100
	msrGSBase       = 0xc0000101
	msrKernelGSBase = 0xc0000102
	msrTSCAux       = 0xc0000103
)

func (s *step) rdmsr() *Exception {
	index := uint32(s.r.RCX)
	s.res.Name = msrName("trap.RDMSR.", index)
	v, ok := s.readMSR(index)
	if !ok {
		return gp(0)
	}
	s.r.RAX, s.r.RDX = v&0xffffffff, v>>32
	return nil
}

func (s *step) wrmsr() *Exception {
	index := uint32(s.r.RCX)
	s.res.Name = msrName("trap.WRMSR.", index)
	if !s.writeMSR(index, s.r.RDX<<32|s.r.RAX&0xffffffff) {
		return gp(0)
	}
	return nil
}

// msr is where the CPU keeps an MSR, nil when it does not.
func (c *CPU) msr(index uint32) *uint64 {
	switch index {
	case msrSysenterCS:
		return &c.SysenterCS
	case msrSysenterESP:
		return &c.SysenterESP
	case msrSysenterEIP:
		return &c.SysenterEIP
	case msrMiscEnable:
		return &c.MiscEnable
	case msrPAT:
		return &c.PAT
	case msrEFER:
		return &c.EFER
	case msrSTAR:
		return &c.STAR
	case msrLSTAR:
		return &c.LSTAR
	case msrCSTAR:
		return &c.CSTAR
	case msrFMASK:
		return &c.FMASK
	case msrKernelGSBase:
		return &c.KernelGSBase
	case msrTSCAux:
		return &c.TSCAux
	}
	return nil
}

func (s *step) readMSR(index uint32) (uint64, bool) {
	fs, gs := s.bus.Bases()
	switch p := s.c.msr(index); {
	case index == msrFSBase:
		return fs, true
	case index == msrGSBase:
		return gs, true
	case p != nil:
		return *p, true
	}
	return s.bus.ReadMSR(index)
}

func (s *step) writeMSR(index uint32, v uint64) bool {
	p := s.c.msr(index)
	switch index {
	case msrFSBase, msrGSBase:
		return s.writeBase(index, v)
	case msrEFER:
		return s.writeEFER(v)
	}
	if p == nil {
		return s.bus.WriteMSR(index, v)
	}
	if !s.c.takes(index, v) {
		return false
	}
	*p = v
	return true
}

func (s *step) writeBase(index uint32, v uint64) bool {
	if !canonical(v) {
		return false
	}
	fs, gs := s.bus.Bases()
	if index == msrFSBase {
		fs = v
	} else {
		gs = v
	}
	s.bus.SetBases(fs, gs)
	return true
}

// writeEFER: LMA is read-only, and LME cannot change while paging is on (Intel
// SDM volume 3A, "Initializing IA-32e Mode").
func (s *step) writeEFER(v uint64) bool {
	v = v&^eferLMA | s.c.EFER&eferLMA
	changed := v ^ s.c.EFER
	if changed&^(eferSCE|eferNXE) != 0 {
		return false
	}
	s.c.EFER = v
	if changed&eferNXE != 0 {
		s.bus.FlushTLB(true)
	}
	return true
}

// takes reports whether an MSR that only keeps its value takes this one.
func (c *CPU) takes(index uint32, v uint64) bool {
	switch index {
	case msrLSTAR, msrCSTAR, msrKernelGSBase, msrSysenterESP, msrSysenterEIP:
		return canonical(v)
	case msrFMASK, msrTSCAux, msrSysenterCS:
		return v>>32 == 0
	case msrPAT:
		return validPAT(v)
	case msrMiscEnable:
		const fastStrings = 1
		return (v^c.MiscEnable)&^fastStrings == 0
	}
	return true
}

// validPAT: eight memory types, of which 2, 3 and those above 7 do not exist.
func validPAT(v uint64) bool {
	for ; v != 0; v >>= 8 {
		if t := v & 0xff; t > 7 || t == 2 || t == 3 {
			return false
		}
	}
	return true
}

func (s *step) swapgs() *Exception {
	fs, gs := s.bus.Bases()
	s.bus.SetBases(fs, s.c.KernelGSBase)
	s.c.KernelGSBase = gs
	return nil
}

// rdbase and wrbase are RDFSBASE and its sisters, which trap where the real
// CR4.FSGSBASE is clear.
func (s *step) rdbase(gs bool) *Exception {
	if s.c.CR4&cr4FSGSBASE == 0 {
		return undefined()
	}
	v, g := s.bus.Bases()
	if gs {
		v = g
	}
	return s.store(s.in.Args[0], s.bytes(), v)
}

func (s *step) wrbase(index uint32) *Exception {
	if s.c.CR4&cr4FSGSBASE == 0 {
		return undefined()
	}
	if !s.writeBase(index, s.value(s.operandReg(0))) {
		return gp(0)
	}
	return nil
}

func (s *step) rdfsbase() *Exception { return s.rdbase(false) }
func (s *step) rdgsbase() *Exception { return s.rdbase(true) }
func (s *step) wrfsbase() *Exception { return s.wrbase(msrFSBase) }
func (s *step) wrgsbase() *Exception { return s.wrbase(msrGSBase) }

// rdpmc: there are no counters.
func (s *step) rdpmc() *Exception { return gp(0) }

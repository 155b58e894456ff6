package emulate

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"
)

const tableBytes = 10 // of LGDT's operand in 64-bit mode

func (s *step) lgdt() *Exception { return s.loadTable(&s.c.GDT) }
func (s *step) lidt() *Exception { return s.loadTable(&s.c.IDT) }
func (s *step) sgdt() *Exception { return s.storeTable(s.c.GDT) }
func (s *step) sidt() *Exception { return s.storeTable(s.c.IDT) }

func (s *step) loadTable(t *Table) *Exception {
	a, e := s.memory(s.in.Args[0], tableBytes)
	if e != nil {
		return e
	}
	var b [tableBytes]byte
	if e := s.bus.ReadMemory(a, b[:], Read, s.c.CPL); e != nil {
		return e
	}
	base := binary.LittleEndian.Uint64(b[2:])
	if !canonical(base) {
		return gp(0)
	}
	*t = Table{Base: base, Limit: binary.LittleEndian.Uint16(b[:])}
	return nil
}

// storeTable is allowed at every CPL: UMIP is not offered.
func (s *step) storeTable(t Table) *Exception {
	a, e := s.memory(s.in.Args[0], tableBytes)
	if e != nil {
		return e
	}
	var b [tableBytes]byte
	binary.LittleEndian.PutUint16(b[:], t.Limit)
	binary.LittleEndian.PutUint64(b[2:], t.Base)
	return s.bus.WriteMemory(a, b[:], s.c.CPL)
}

func (s *step) sldt() *Exception { return s.store(s.in.Args[0], 2, uint64(s.c.LDTR)) }
func (s *step) str() *Exception  { return s.store(s.in.Args[0], 2, uint64(s.c.TR)) }

func (s *step) lldt() *Exception {
	v, e := s.load(s.in.Args[0], 2)
	if e != nil {
		return e
	}
	selector, seg := uint16(v), Segment{}
	if !null(selector) {
		if seg, e = s.systemDescriptor(selector, typeLDT); e != nil {
			return e
		}
	}
	s.c.LDTR, s.c.LDT = selector, seg
	return nil
}

// ltr sets the busy bit in the guest's table.
func (s *step) ltr() *Exception {
	v, e := s.load(s.in.Args[0], 2)
	if e != nil {
		return e
	}
	selector := uint16(v)
	seg, e := s.systemDescriptor(selector, typeTSS)
	if e != nil {
		return e
	}
	d, _, e := s.descriptor(selector)
	if e != nil {
		return e
	}
	if e := s.mark(selector, d, 2); e != nil {
		return e
	}
	s.c.TR, s.c.TSS = selector, seg
	return nil
}

// inspect reads the descriptor that LAR, LSL, VERR or VERW asks about. Not ok:
// it is not visible from here.
func (s *step) inspect(arg x86asm.Arg) (d descriptor, ok bool, e *Exception) {
	v, e := s.load(arg, 2)
	if e != nil {
		return 0, false, e
	}
	selector := uint16(v)
	d, ok, e = s.descriptor(selector)
	hidden := !d.conforming() && d.dpl() < max(s.c.CPL, uint8(selector&3))
	return d, ok && !hidden, e
}

func (s *step) setZF(set bool) {
	s.r.RFLAGS &^= flagZF
	if set {
		s.r.RFLAGS |= flagZF
	}
}

// lar and lsl look at the system descriptors that 64-bit mode knows (Intel SDM
// volume 2A, "LAR—Load Access Rights Byte", "LSL—Load Segment Limit").
func (s *step) lar() *Exception {
	d, ok, e := s.inspect(s.in.Args[1])
	if e != nil {
		return e
	}
	if d.system() {
		switch d.kind() {
		case typeLDT, typeTSS, typeBusyTSS, typeCallGate:
		default:
			ok = false
		}
	}
	if ok {
		s.set(s.operandReg(0), uint64(d>>32)&0x00f0ff00)
	}
	s.setZF(ok)
	return nil
}

func (s *step) lsl() *Exception {
	d, ok, e := s.inspect(s.in.Args[1])
	if e != nil {
		return e
	}
	if d.system() {
		switch d.kind() {
		case typeLDT, typeTSS, typeBusyTSS:
		default:
			ok = false
		}
	}
	if ok {
		s.set(s.operandReg(0), uint64(d.limit()))
	}
	s.setZF(ok)
	return nil
}

func (s *step) verr() *Exception {
	d, ok, e := s.inspect(s.in.Args[0])
	if e == nil {
		s.setZF(ok && d.readable())
	}
	return e
}

func (s *step) verw() *Exception {
	d, ok, e := s.inspect(s.in.Args[0])
	if e == nil {
		s.setZF(ok && d.writable())
	}
	return e
}

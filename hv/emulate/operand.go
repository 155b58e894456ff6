package emulate

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"

	"github.com/pvrun/pvrun/hv/engine"
)

// general is the n-th general register in the processor's numbering.
func general(r *engine.Regs, n int) *uint64 {
	return [...]*uint64{&r.RAX, &r.RCX, &r.RDX, &r.RBX, &r.RSP, &r.RBP, &r.RSI, &r.RDI,
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15}[n&15]
}

// register says which general register a name means, and its bits. Of those
// with 8 bits no instruction of ours has another than AL.
func register(name x86asm.Reg) (n, bits int) {
	switch {
	case name >= x86asm.RAX && name <= x86asm.R15:
		return int(name - x86asm.RAX), 64
	case name >= x86asm.EAX && name <= x86asm.R15L:
		return int(name - x86asm.EAX), 32
	case name >= x86asm.AX && name <= x86asm.R15W:
		return int(name - x86asm.AX), 16
	}
	return 0, 8
}

// value is the register's low bits.
func (k core) value(name x86asm.Reg) uint64 {
	n, bits := register(name)
	return *general(k.r, n) & (1<<bits - 1)
}

// set stores into a register as the processor does: 32 bits clear the upper
// half, 16 and 8 leave the rest alone.
func (k core) set(name x86asm.Reg, v uint64) {
	n, bits := register(name)
	p := general(k.r, n)
	*p = merge(*p, v, bits)
}

func merge(old, v uint64, bits int) uint64 {
	switch mask := uint64(1)<<bits - 1; bits {
	case 64:
		return v
	case 32:
		return v & mask
	default:
		return old&^mask | v&mask
	}
}

// segmentBase is what an override adds to an address in 64-bit mode.
func (k core) segmentBase(segment x86asm.Reg) uint64 {
	switch fs, gs := k.bus.Bases(); segment {
	case x86asm.FS:
		return fs
	case x86asm.GS:
		return gs
	}
	return 0
}

// offset is a memory operand's address in its segment. RIP-relative is
// relative to the end of the instruction.
func (s *step) offset(m x86asm.Mem) uint64 {
	a := uint64(int64(int32(m.Disp)))
	switch m.Base {
	case 0:
	case x86asm.RIP, x86asm.EIP:
		a += s.next
	default:
		a += s.value(m.Base)
	}
	if m.Index != 0 {
		a += s.value(m.Index) * uint64(m.Scale)
	}
	if s.in.AddrSize == 32 {
		a = uint64(uint32(a))
	}
	return a
}

// linear is a memory operand's address, of n bytes.
func (s *step) linear(m x86asm.Mem, n int) (uint64, *Exception) {
	a := s.offset(m) + s.segmentBase(m.Segment)
	if canonicalSpan(a, uint64(n)) {
		return a, nil
	}
	if m.Segment == x86asm.FS || m.Segment == x86asm.GS {
		return 0, gp(0)
	}
	switch m.Base {
	case x86asm.RSP, x86asm.RBP, x86asm.ESP, x86asm.EBP:
		return 0, withError(vectorSS, 0)
	}
	return 0, gp(0)
}

// memory is the instruction's memory operand. Instructions that have one
// alone get #UD for a register.
func (s *step) memory(arg x86asm.Arg, n int) (uint64, *Exception) {
	m, ok := arg.(x86asm.Mem)
	if !ok {
		return 0, undefined()
	}
	return s.linear(m, n)
}

// load reads a register, or n bytes of memory.
func (s *step) load(arg x86asm.Arg, n int) (uint64, *Exception) {
	if name, ok := arg.(x86asm.Reg); ok {
		return s.value(name) & (1<<(8*n) - 1), nil
	}
	a, e := s.memory(arg, n)
	if e != nil {
		return 0, e
	}
	return s.read(a, n, s.c.CPL)
}

// store writes a register as wide as it is, or n bytes of memory.
func (s *step) store(arg x86asm.Arg, n int, v uint64) *Exception {
	if name, ok := arg.(x86asm.Reg); ok {
		s.set(name, v)
		return nil
	}
	a, e := s.memory(arg, n)
	if e != nil {
		return e
	}
	return s.write(a, n, v, s.c.CPL)
}

// read reads n bytes, at most 8, at a canonical address.
func (k core) read(a uint64, n int, cpl uint8) (uint64, *Exception) {
	var b [8]byte
	e := k.bus.ReadMemory(a, b[:n], Read, cpl)
	return binary.LittleEndian.Uint64(b[:]), e
}

func (k core) write(a uint64, n int, v uint64, cpl uint8) *Exception {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return k.bus.WriteMemory(a, b[:n], cpl)
}

// push pushes values of n bytes each.
func (s *step) push(n int, values ...uint64) *Exception {
	var b []byte
	for i := range values {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], values[len(values)-1-i])
		b = append(b, word[:n]...)
	}
	a := s.r.RSP - uint64(len(b))
	if !canonicalSpan(a, uint64(len(b))) {
		return withError(vectorSS, 0)
	}
	if e := s.bus.WriteMemory(a, b, s.c.CPL); e != nil {
		return e
	}
	s.r.RSP = a
	return nil
}

// pop pops values of n bytes each.
func (s *step) pop(n int, values ...*uint64) *Exception {
	b := make([]byte, n*len(values), n*len(values)+8)
	if !canonicalSpan(s.r.RSP, uint64(len(b))) {
		return withError(vectorSS, 0)
	}
	if e := s.bus.ReadMemory(s.r.RSP, b, Read, s.c.CPL); e != nil {
		return e
	}
	for i, p := range values {
		var word [8]byte
		copy(word[:n], b[i*n:])
		*p = binary.LittleEndian.Uint64(word[:])
	}
	s.r.RSP += uint64(len(b))
	return nil
}

// bytes is the operand size, of 2, 4 or 8 bytes.
func (s *step) bytes() int { return s.in.DataSize / 8 }

// stackBytes is the operand size of instructions on the stack: 8 bytes, or 2
// with the prefix 66.
func (s *step) stackBytes() int {
	if s.in.DataSize == 16 {
		return 2
	}
	return 8
}

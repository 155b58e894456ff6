package asm

import "github.com/pvrun/pvrun/hypercall"

// Instructions of a guest in trap mode, which believes to have a bare machine.
// All clobber RAX, RCX, RDX and R11 as they need.

// Cli is CLI.
func (c *Code) Cli() *Code { return c.Raw(0xfa) }

// Sti is STI.
func (c *Code) Sti() *Code { return c.Raw(0xfb) }

// Hlt is HLT.
func (c *Code) Hlt() *Code { return c.Raw(0xf4) }

// Iretq is IRETQ.
func (c *Code) Iretq() *Code { return c.Raw(0x48, 0xcf) }

// Push pushes a register.
func (c *Code) Push(r Reg) *Code {
	if r >= R8 {
		c.Raw(0x41)
	}
	return c.Raw(0x50 | byte(r&7))
}

// Pop pops a register.
func (c *Code) Pop(r Reg) *Code {
	if r >= R8 {
		c.Raw(0x41)
	}
	return c.Raw(0x58 | byte(r&7))
}

// Flags puts RFLAGS in RAX, by PUSHFQ.
func (c *Code) Flags() *Code { return c.Raw(0x9c).Pop(RAX) }

// Wrmsr writes a model-specific register.
func (c *Code) Wrmsr(index uint32, v uint64) *Code {
	return c.Mov(RCX, uint64(index)).Mov(RAX, v&0xffffffff).Mov(RDX, v>>32).Raw(0x0f, 0x30)
}

// Rdmsr reads a model-specific register into RAX.
func (c *Code) Rdmsr(index uint32) *Code {
	c.Mov(RCX, uint64(index)).Raw(0x0f, 0x32)
	return c.Raw(0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0) // shl rdx, 32; or rax, rdx
}

// OutB, OutW and OutD write to a port; InB, InW and InD read one into RAX.
func (c *Code) OutB(port uint16, v uint8) *Code  { return c.out(port, uint64(v)).Raw(0xee) }
func (c *Code) OutW(port uint16, v uint16) *Code { return c.out(port, uint64(v)).Raw(0x66, 0xef) }
func (c *Code) OutD(port uint16, v uint32) *Code { return c.out(port, uint64(v)).Raw(0xef) }
func (c *Code) InB(port uint16) *Code            { return c.out(port, 0).Raw(0xec) }
func (c *Code) InW(port uint16) *Code            { return c.out(port, 0).Raw(0x66, 0xed) }
func (c *Code) InD(port uint16) *Code            { return c.out(port, 0).Raw(0xed) }

func (c *Code) out(port uint16, v uint64) *Code { return c.Mov(RDX, uint64(port)).Mov(RAX, v) }

// FromCR puts control register n in RAX; ToCR loads it from there.
func (c *Code) FromCR(n byte) *Code { return c.control(0x20, n) }
func (c *Code) ToCR(n byte) *Code   { return c.control(0x22, n) }

func (c *Code) control(op, n byte) *Code {
	if n >= 8 {
		c.Raw(0x44)
	}
	return c.Raw(0x0f, op, 0xc0|n&7<<3)
}

// Invlpg is INVLPG of an address.
func (c *Code) Invlpg(a uint64) *Code { return c.Mov(RAX, a).Raw(0x0f, 0x01, 0x38) }

// Word is MOV RAX, [addr], and SetWord MOV [addr], RAX, of an address below 2 GiB.
// They clobber nothing else.
func (c *Code) Word(addr uint32) *Code    { return c.absolute(addr, 0x48, 0x8b, 0x04, 0x25) }
func (c *Code) SetWord(addr uint32) *Code { return c.absolute(addr, 0x48, 0x89, 0x04, 0x25) }

// Count adds one to the word at an address below 2 GiB. It clobbers nothing.
func (c *Code) Count(addr uint32) *Code { return c.absolute(addr, 0x48, 0xff, 0x04, 0x25) }

func (c *Code) absolute(addr uint32, b ...byte) *Code {
	c.Raw(b...)
	c.B = le.AppendUint32(c.B, addr)
	return c
}

// AddAX, OrAX and AndAX change RAX.
func (c *Code) AddAX(v uint64) *Code { return c.Mov(RCX, v).Raw(0x48, 0x01, 0xc8) }
func (c *Code) OrAX(v uint64) *Code  { return c.Mov(RCX, v).Raw(0x48, 0x09, 0xc8) }
func (c *Code) AndAX(v uint64) *Code { return c.Mov(RCX, v).Raw(0x48, 0x21, 0xc8) }

// CmpAX compares RAX. It clobbers RCX.
func (c *Code) CmpAX(v uint64) *Code { return c.Mov(RCX, v).Raw(0x48, 0x39, 0xc8) }

// Conditions of jumps.
const (
	Below    = 2
	Equal    = 4
	NotEqual = 5
)

// Unless is f, jumped over when the condition holds.
func (c *Code) Unless(condition byte, f func(c *Code)) *Code {
	c.Raw(0x0f, 0x80|condition, 0, 0, 0, 0)
	from := len(c.B)
	f(c)
	le.PutUint32(c.B[from-4:], uint32(len(c.B)-from))
	return c
}

// Call calls a place before, a length that B had.
func (c *Code) Call(to int) *Code {
	c.Raw(0xe8)
	c.B = le.AppendUint32(c.B, uint32(to-len(c.B)-4))
	return c
}

// Patch makes the jump, whose distance of 32 bits ends at a place before, lead
// here.
func (c *Code) Patch(at int) *Code {
	le.PutUint32(c.B[at-4:], uint32(len(c.B)-at))
	return c
}

// Back jumps to a place before, a length that B had, when the condition holds.
func (c *Code) Back(condition byte, to int) *Code {
	c.Raw(0x0f, 0x80|condition)
	c.B = le.AppendUint32(c.B, uint32(to-len(c.B)-4))
	return c
}

// Until repeats f until what it leaves in RAX is at least v.
func (c *Code) Until(v uint64, f func(c *Code)) *Code {
	loop := len(c.B)
	f(c)
	return c.CmpAX(v).Back(Below, loop)
}

// Times does f n times, counted in R13.
func (c *Code) Times(n uint64, f func(c *Code)) *Code {
	c.Mov(R13, n)
	loop := len(c.B)
	f(c)
	return c.Raw(0x49, 0xff, 0xcd).Back(NotEqual, loop) // dec r13
}

// Entry puts the address of a page-table entry in RAX, at which the guest sees
// it: the one for an address at a level, 1 being the last. The tables above are
// there.
func (c *Code) Entry(a uint64, level int) *Code {
	c.FromCR(3)
	for n := 4; ; n-- {
		c.AndAX(1<<52 - 1<<12).AddAX(uint64(hypercall.DirectMapGVA) + a>>(12+9*(n-1))&511*8)
		if n == level {
			return c
		}
		c.Raw(0x48, 0x8b, 0x00) // mov rax, [rax]
	}
}

// SetEntry writes an entry; see Entry.
func (c *Code) SetEntry(a uint64, level int, v uint64) *Code {
	return c.Entry(a, level).Mov(RCX, v).Raw(0x48, 0x89, 0x08) // mov [rax], rcx
}

// GetEntry reads one into RAX.
func (c *Code) GetEntry(a uint64, level int) *Code {
	return c.Entry(a, level).Raw(0x48, 0x8b, 0x00)
}

// Allow sets bits in all four entries for an address.
func (c *Code) Allow(a, bits uint64) *Code {
	for level := 4; level > 0; level-- {
		c.Entry(a, level).Mov(RCX, bits).Raw(0x48, 0x09, 0x08) // or [rax], rcx
	}
	return c
}

// Flush writes CR3 anew.
func (c *Code) Flush() *Code { return c.FromCR(3).ToCR(3) }

// Report writes the results to the first serial line and ends the machine with
// code 0, by the control port.
func (c *Code) Report() *Code {
	c.MovReg(RCX, R15).Mov(RSI, Results).Raw(0x48, 0x29, 0xf1) // sub rcx, rsi
	c.Mov(RDX, SerialPort).Raw(0xfc, 0xf3, 0x6e)               // cld; rep outsb
	return c.Stop(0)
}

// Stop ends the machine by the control port.
func (c *Code) Stop(code uint32) *Code { return c.OutD(hypercall.ControlPort, code) }

// SerialPort is the first serial line's first port.
const SerialPort = 0x3f8

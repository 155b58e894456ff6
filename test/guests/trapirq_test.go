package guests

import (
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// MSRs of the local APIC (Intel SDM volume 3A, "x2APIC Register Address Space").
const (
	apicTPR      = 0x808
	apicEOI      = 0x80b
	apicSVR      = 0x80f
	apicISR      = 0x810
	apicIRR      = 0x820
	apicTimer    = 0x832
	apicInitial  = 0x838
	apicDivide   = 0x83e
	apicSelf     = 0x83f
	tscDeadline  = 0x6e0
	apicEnabled  = 0x1ff
	modeDeadline = 2 << 17
	modePeriodic = 1 << 17
)

// The test's own words: how often each of three vectors came, and a list of
// what was recorded.
const (
	count0 = asm.Vars
	count1 = asm.Vars + 8
	count2 = asm.Vars + 16
	record = asm.Vars + 0x100 // RBP points to its end
	other  = asm.Vars + 0x80
)

// counts is a handler that counts and ends the interrupt.
func counts(addr uint32) *asm.Code {
	c := saved(new(asm.Code).Count(addr), func(c *asm.Code) { c.Wrmsr(apicEOI, 0) })
	return c.Iretq()
}

// saved keeps the registers that f clobbers.
func saved(c *asm.Code, f func(c *asm.Code)) *asm.Code {
	c.Push(asm.RAX).Push(asm.RCX).Push(asm.RDX)
	f(c)
	return c.Pop(asm.RDX).Pop(asm.RCX).Pop(asm.RAX)
}

// note appends a number to the record. It clobbers nothing but RBP.
func note(c *asm.Code, v byte) *asm.Code {
	return c.Raw(0xc6, 0x45, 0, v, 0x48, 0xff, 0xc5) // mov byte [rbp], v; inc rbp
}

func withAPIC() *bare {
	b := newBare()
	b.code.Wrmsr(apicSVR, apicEnabled).Mov(asm.RBP, record)
	for i, v := range []byte{0x40, 0x50, 0x60} {
		b.image.Handlers[v] = counts(count0 + uint32(8*i))
	}
	return b
}

// spin runs on for a while without a trap.
func spin(c *asm.Code) { c.Times(1000, func(c *asm.Code) { c.Raw(0xf3, 0x90) }) }

// TestTrapMasked: an interrupt that is masked stays pending, and comes after STI.
func TestTrapMasked(t *testing.T) {
	b := withAPIC()
	b.code.Cli().Wrmsr(apicSelf, 0x40)
	spin(b.code)
	b.word("with IF clear", 0, count0)
	b.result("requested", 1, func(c *asm.Code) { c.Rdmsr(apicIRR + 2) })
	b.code.Sti().Raw(0x90)
	b.result("after STI", 1, func(c *asm.Code) { c.Until(1, func(c *asm.Code) { c.Word(count0) }) })
	b.result("taken", 0, func(c *asm.Code) { c.Rdmsr(apicIRR + 2) })
	b.result("ended", 0, func(c *asm.Code) { c.Rdmsr(apicISR + 2) })
	b.code.Cli().Wrmsr(apicSelf, 0x40).Raw(0x68, 2, 2, 0, 0, 0x9d) // push 0x202; popfq
	b.result("after POPFQ", 2, func(c *asm.Code) { c.Until(2, func(c *asm.Code) { c.Word(count0) }) })
	b.code.Wrmsr(apicTPR, 0x40).Wrmsr(apicSelf, 0x40)
	spin(b.code)
	b.word("below the task priority", 2, count0)
	b.result("CR8", 4, func(c *asm.Code) { c.FromCR(8) })
	b.result("CR8 lowered", 3, func(c *asm.Code) {
		c.Mov(asm.RAX, 0).ToCR(8).Until(3, func(c *asm.Code) { c.Word(count0) })
	})
	b.run(t)
}

// TestTrapShadow: no interrupt comes between STI and the instruction after it,
// but then it does: when HLT is next, when nothing traps any more, and when the
// next trap is CLI.
func TestTrapShadow(t *testing.T) {
	at := func(c *asm.Code) *asm.Code { return c.Raw(0x48, 0x8b, 0x04, 0x24).SetWord(other) } // mov rax, [rsp]: where it came
	b := withAPIC()
	b.image.Handlers[0x40] = saved(at(new(asm.Code).Count(count0).Push(asm.RAX).Raw(0x48, 0x83, 0xc4, 8)), func(c *asm.Code) { c.Wrmsr(apicEOI, 0) }).Iretq()
	here := func() uint64 { return asm.Text + uint64(len(b.code.B)) }
	b.code.Wrmsr(apicSelf, 0x40).Sti().Hlt()
	after := here()
	b.word("STI; HLT", 1, count0)
	b.word("after HLT", after, other)

	b.code.Cli().Wrmsr(apicSelf, 0x40).Mov(asm.R12, 0).Sti().Raw(0x49, 0xff, 0xc4, 0x90, 0xfa) // inc r12; nop; cli
	b.word("STI; INC; NOP; CLI", 2, count0)
	b.result("INC was done", 1, func(c *asm.Code) { c.MovReg(asm.RAX, asm.R12) })
	b.code.Cli().Wrmsr(apicSelf, 0x40).Sti().Cli()
	spin(b.code)
	b.word("STI; CLI", 2, count0)
	b.run(t)
}

// TestTrapSpins: a guest that does nothing more is interrupted, wherever it
// spins.
func TestTrapSpins(t *testing.T) {
	end := func() *asm.Code { return new(asm.Code).Stop(5) }
	for name, f := range map[string]func(c *asm.Code){
		"right after STI":    func(c *asm.Code) { c.Sti().Spin() },
		"later":              func(c *asm.Code) { c.Sti().Raw(0x90).Spin() },
		"STI; NOP; CLI":      func(c *asm.Code) { c.Raw(0xfb, 0x90, 0xfa, 0xeb, 0xfb) },
		"PUSHFQ; STI; POPFQ": func(c *asm.Code) { c.Raw(0x9c, 0xfb, 0x90, 0x9d, 0xeb, 0xfa) },
		"traps without end":  func(c *asm.Code) { c.Sti().Raw(0x9c, 0x58, 0xeb, 0xfc) },
		"HLT":                func(c *asm.Code) { c.Sti().Raw(0xf4, 0xeb, 0xfd) },
		"after MOV to SS":    func(c *asm.Code) { c.Sti().Mov(asm.RAX, asm.KernelSS).Raw(0x8e, 0xd0).Spin() },
		"page faults of host": func(c *asm.Code) {
			c.Sti().Raw(0x90)
			loop := len(c.B)
			c.Invlpg(asm.Data).Load(asm.Data).Back(asm.NotEqual, loop).Spin()
		},
	} {
		for source, arm := range map[string]func(c *asm.Code){
			"self IPI": func(c *asm.Code) { c.Wrmsr(apicSelf, 0x70) },
			"one shot": func(c *asm.Code) { c.Wrmsr(apicTimer, 0x70).Wrmsr(apicDivide, 0xb).Wrmsr(apicInitial, 3_000_000) },
			"deadline": func(c *asm.Code) {
				c.Wrmsr(apicTimer, modeDeadline|0x70).Raw(0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xc2) // rdtsc; shl rdx, 32; or rdx, rax
				c.Raw(0x48, 0x81, 0xc2, 0, 0, 0x20, 0, 0x48, 0x89, 0xd0, 0x48, 0xc1, 0xea, 0x20)                // add rdx, 2<<20; mov rax, rdx; shr rdx, 32
				c.Mov(asm.RCX, tscDeadline).Raw(0x0f, 0x30)
			},
		} {
			t.Run(name+", "+source, func(t *testing.T) {
				c := new(asm.Code).BeginBare().Wrmsr(apicSVR, apicEnabled)
				arm(c)
				f(c)
				runBare(t, asm.Bare{Code: c, Handlers: map[byte]*asm.Code{0x70: end()}}).wantExit(t, 5)
			})
		}
	}
}

// TestTrapNesting: a handler that enables interrupts is interrupted by higher
// priorities and not by lower ones or its own.
func TestTrapNesting(t *testing.T) {
	b := withAPIC()
	nested := func(v byte, more func(c *asm.Code)) *asm.Code {
		return saved(note(new(asm.Code), v), func(c *asm.Code) {
			more(c)
			note(c, v+1).Cli().Wrmsr(apicEOI, 0)
		}).Iretq()
	}
	b.image.Handlers[0x40] = nested(0x40, func(c *asm.Code) {
		c.Wrmsr(apicSelf, 0x60).Wrmsr(apicSelf, 0x30).Wrmsr(apicSelf, 0x41).Sti()
		c.Raw(0x90).Mov(asm.RCX, 5_000_000) // on a busy host a kick takes its time
		loop := len(c.B)
		c.Raw(0xf3, 0x90, 0x48, 0xff, 0xc9).Back(asm.NotEqual, loop)
	})
	b.image.Handlers[0x60] = nested(0x60, func(c *asm.Code) { c.Wrmsr(apicSelf, 0x50).Sti().Raw(0x90) })
	b.image.Handlers[0x50] = nested(0x50, func(*asm.Code) {})
	b.image.Handlers[0x30] = nested(0x30, func(*asm.Code) {})
	b.image.Handlers[0x41] = nested(0x41, func(*asm.Code) {})
	b.code.Sti().Wrmsr(apicSelf, 0x40)
	b.code.Until(record+10, func(c *asm.Code) { c.MovReg(asm.RAX, asm.RBP) })
	// 40 begins; 60 in it; 60 ends, then 50; 50 and 40 end; 41; 30.
	b.word("the order, first eight", word(0x40, 0x60, 0x61, 0x50, 0x51, 0x41, 0x41, 0x42), record)
	b.word("the last two", 0x3130, record+8)
	b.run(t)
}

func word(b ...byte) (v uint64) {
	for i, x := range b {
		v |= uint64(x) << (8 * i)
	}
	return v
}

// TestTrapPriority: of interrupts that wait together the highest comes first.
func TestTrapPriority(t *testing.T) {
	b := withAPIC()
	for i := range byte(4) {
		v := 0x31 + i*0x11
		b.image.Handlers[v] = saved(note(new(asm.Code), v), func(c *asm.Code) { c.Wrmsr(apicEOI, 0) }).Iretq()
	}
	for _, v := range []uint64{0x42, 0x31, 0x64, 0x53} {
		b.code.Wrmsr(apicSelf, v)
	}
	b.code.Sti().Until(record+4, func(c *asm.Code) { c.MovReg(asm.RAX, asm.RBP) })
	b.word("in order", word(0x64, 0x53, 0x42, 0x31), record)
	b.run(t)
}

// TestTrapTimer: the APIC timer in its modes.
func TestTrapTimer(t *testing.T) {
	b := withAPIC()
	b.code.Sti().Wrmsr(apicDivide, 0xb).Wrmsr(apicTimer, 0x40).Wrmsr(apicInitial, 100_000)
	b.result("one shot", 1, func(c *asm.Code) { c.Until(1, func(c *asm.Code) { c.Word(count0) }) })
	b.code.Wrmsr(apicTimer, modePeriodic|0x50).Wrmsr(apicInitial, 200_000)
	b.result("periodic", 5, func(c *asm.Code) { c.Until(5, func(c *asm.Code) { c.Hlt().Word(count1) }).Mov(asm.RAX, 5) })
	b.code.Wrmsr(apicInitial, 0).Wrmsr(apicTimer, modeDeadline|0x60).Wrmsr(tscDeadline, 1)
	b.result("a deadline that has passed", 1, func(c *asm.Code) { c.Until(1, func(c *asm.Code) { c.Word(count2) }) })
	b.result("disarmed", 0, func(c *asm.Code) { c.Rdmsr(tscDeadline) })
	b.word("one shot, still", 1, count0)
	b.run(t)
}

// TestTrapStorms: guests that are never done with interrupts are stopped at
// once all the same.
func TestTrapStorms(t *testing.T) {
	eoi := func() *asm.Code { return new(asm.Code).Wrmsr(apicEOI, 0) }
	begin := func() *asm.Code { return new(asm.Code).BeginBare().Wrmsr(apicSVR, apicEnabled) }
	for name, test := range map[string]struct{ code, handler *asm.Code }{
		"self IPI in the handler": {begin().Wrmsr(apicSelf, 0x40).Sti().Spin(), eoi().Wrmsr(apicSelf, 0x40).Iretq()},
		"nested without end":      {begin().Wrmsr(apicSelf, 0x40).Sti().Spin(), eoi().Mov(asm.RSP, asm.Stack0).Wrmsr(apicSelf, 0x40).Sti().Spin()},
		"period of 1":             {begin().Wrmsr(apicDivide, 0xb).Wrmsr(apicTimer, modePeriodic|0x40).Wrmsr(apicInitial, 1).Sti().Spin(), eoi().Iretq()},
		"period of 1, halted":     {begin().Wrmsr(apicDivide, 0xb).Wrmsr(apicTimer, modePeriodic|0x40).Wrmsr(apicInitial, 1).Sti().Raw(0xf4, 0xeb, 0xfd), eoi().Iretq()},
		"period of 1, bad vector": {begin().Wrmsr(apicDivide, 0xb).Wrmsr(apicTimer, modePeriodic|3).Wrmsr(apicInitial, 1).Sti().Raw(0xf4, 0xeb, 0xfd), nil},
		"never ended":             {begin().Wrmsr(apicDivide, 0xb).Wrmsr(apicTimer, modePeriodic|0x40).Wrmsr(apicInitial, 1).Sti().Raw(0xf4, 0xeb, 0xfd), new(asm.Code).Iretq()},
		"deadline always past":    {begin().Wrmsr(apicTimer, modeDeadline|0x40).Wrmsr(tscDeadline, 1).Sti().Spin(), eoi().Wrmsr(tscDeadline, 1).Iretq()},
		"halted for ever":         {begin().Sti().Raw(0xf4, 0xeb, 0xfd), nil},
		"halted with MWAIT":       {begin().Mov(asm.RAX, asm.Data).Mov(asm.RCX, 0).Mov(asm.RDX, 0).Sti().Raw(0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9, 0xeb, 0xf8), nil},
		"exceptions":              {begin().Raw(0x0f, 0x0b), new(asm.Code).Mov(asm.RSP, asm.Stack0).Raw(0x0f, 0x0b)},
		"string output":           {begin().Mov(asm.RCX, 1<<63).Mov(asm.RDX, 0x80).Mov(asm.RSI, asm.Data).Raw(0xfd, 0xf3, 0x6e), new(asm.Code).Mov(asm.RSP, asm.Stack0).Mov(asm.RSI, asm.Data+0x8000).Mov(asm.RCX, 1<<62).Raw(0xf3, 0x6e)},
		"string input, serial":    {begin().Mov(asm.RCX, 1<<63).Mov(asm.RDX, 0x3f8).Raw(0xfc).Mov(asm.RDI, asm.Data+0x8000).Raw(0xf3, 0x6c), new(asm.Code).Mov(asm.RSP, asm.Stack0).Mov(asm.RDI, asm.Data+0xc000).Raw(0xf3, 0x6c)},
		"spin, disabled":          {begin().Cli().Spin(), nil},
		"CR3 without end":         {begin().FromCR(3).Raw(0x0f, 0x22, 0xd8, 0xeb, 0xfb), nil},
		"CR4.PGE without end":     {begin().FromCR(4).Raw(0x34, 0x80, 0x0f, 0x22, 0xe0, 0xeb, 0xf9), nil},
		"XOR of CR0.WP":           {begin().FromCR(0).Raw(0x48, 0x0f, 0xba, 0xf8, 16, 0x0f, 0x22, 0xc0, 0xeb, 0xf6), nil},
	} {
		t.Run(name, func(t *testing.T) {
			image := asm.Bare{Code: test.code}
			if test.handler != nil {
				image.Handlers = map[byte]*asm.Code{0x40: test.handler, 6: test.handler, 14: test.handler}
			}
			run(t, hv.Config{Mode: hypercall.ModeTrap, Image: image.Write(t)}, 150*time.Millisecond).wantStopped(t)
		})
	}
}

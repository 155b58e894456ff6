package guests

import (
	"testing"

	"github.com/pvrun/pvrun/test/guests/asm"
)

// hidden executes instructions that the host does not see when it patches the
// text: the eight bytes of a MOV's immediate, which a jump leads into.
func hidden(c *asm.Code, b ...byte) {
	var imm [8]byte
	for i := range imm {
		imm[i] = 0x90
	}
	copy(imm[:], b)
	c.Raw(0xeb, 2, 0x48, 0xbb).Raw(imm[:]...) // jmp +2; mov rbx, imm64
}

// TestTrapHole shows Popek and Goldberg's hole, which patching closes: what
// sensitive unprivileged instructions do when they are left alone.
func TestTrapHole(t *testing.T) {
	b := withAPIC()
	both := func(name string, want, mask uint64, code ...byte) {
		b.result(name, want, func(c *asm.Code) { c.Mov(asm.RAX, 0).Raw(code...).AndAX(mask) })
		b.result(name+", left alone", 0, func(c *asm.Code) {
			c.Mov(asm.RAX, 0)
			hidden(c, code...)
			c.AndAX(mask)
		})
		b.except(^uint64(0))
	}
	pushf := []byte{0x9c, 0x58}
	b.code.Cli()
	both("PUSHFQ after CLI", 0, flagIF, pushf...)
	b.code.Sti()
	both("PUSHFQ after STI", flagIF, flagIF, pushf...)
	both("MOV from CS", asm.KernelCS, 0xffff, 0x8c, 0xc8)
	both("MOV from SS", asm.KernelSS, 0xffff, 0x8c, 0xd0)
	both("STR", asm.TaskSel, 0xffff, 0x0f, 0x00, 0xc8)
	both("SLDT", 0, 0xffff, 0x0f, 0x00, 0xc0)
	b.code.Mov(asm.R12, 0).Mov(asm.RSI, asm.Vars+0x20)
	table := []byte{0x0f, 0x01, 0x06, 0x48, 0x8b, 0x46, 2} // sgdt [rsi]; mov rax, [rsi+2]
	both("SGDT", asm.GDT, ^uint64(0), table...)
	table[2] = 0x0e
	both("SIDT", asm.IDT, ^uint64(0), table...)
	both("LSL", 103, 0xffff, 0xb8, asm.TaskSel, 0, 0, 0, 0x0f, 0x03, 0xc0)

	// An interrupt comes although the guest believes that it has masked them.
	mask := []byte{0x6a, 2, 0x9d} // push 2; popfq
	masked := func(name string, want uint64, do func(c *asm.Code)) {
		b.code.Sti()
		do(b.code)
		b.code.Wrmsr(apicSelf, 0x40)
		spin(b.code)
		b.word(name, want, count0)
	}
	masked("POPFQ without IF", 0, func(c *asm.Code) { c.Raw(mask...) })
	b.code.Sti().Until(1, func(c *asm.Code) { c.Word(count0) })
	masked("POPFQ without IF, left alone", 2, func(c *asm.Code) { hidden(c, mask...) })

	o := b.run(t)
	got := o.words()
	for i := 0; i < len(b.want)-2; i += 2 {
		t.Logf("%-18s %#x, left alone %#x", b.want[i].name, got[i], got[i+1])
	}
	if got[1] != got[3] {
		t.Errorf("PUSHFQ, left alone, shows the virtual IF: %#x, %#x", got[1], got[3])
	}
	if got[5]&3 != 3 || got[7]&3 != 3 {
		t.Errorf("CS and SS, left alone, are %#x and %#x: where is CPL 3?", got[5], got[7])
	}
}

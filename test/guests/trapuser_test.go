package guests

import (
	"testing"

	"github.com/pvrun/pvrun/test/guests/asm"
)

const (
	msrSTAR   = 0xc0000081
	msrLSTAR  = 0xc0000082
	msrFMASK  = 0xc0000084
	msrGSBase = 0xc0000101
	flagIF    = 1 << 9
)

// toKernel is a vector whose handler goes on at virtual CPL 0.
const toKernel = 0x81

// withUser goes on at virtual CPL 3, where text and data are allowed.
func withUser(flags uint64) *bare {
	b := withRegion()
	b.returns()
	b.page(0, frameA|present|writable)
	b.page(1, frameB|present|writable|user)
	b.page(2, frameB|present|user)
	b.code.Load(region).AllowUser().Load(region)
	b.code.GoUser(flags | 2)
	return b
}

// returns makes the handler of toKernel.
func (b *bare) returns() {
	b.image.Gates[toKernel] = asm.Gate{DPL: 3}
	b.image.Handlers[toKernel] = new(asm.Code).
		Raw(0x48, 0xc7, 0x44, 0x24, 8, asm.KernelCS, 0, 0, 0). // mov qword [rsp+8], …
		Raw(0x48, 0xc7, 0x44, 0x24, 32, asm.KernelSS, 0, 0, 0).Iretq()
}

// kernel goes back to virtual CPL 0.
func (b *bare) kernel() { b.code.Raw(0xcd, toKernel) }

// TestTrapUser: what virtual CPL 3 may not do is the guest's own fault, in its
// handler at CPL 0, on the stack that its TSS names.
func TestTrapUser(t *testing.T) {
	b := withUser(0)
	b.image.Gates[0x90] = asm.Gate{DPL: 3}
	b.image.Handlers[0x90] = new(asm.Code).Raw(0x48, 0x89, 0xe0).SetWord(asm.Vars). // mov rax, rsp
											Raw(0x48, 0x8b, 0x44, 0x24, 8).SetWord(asm.Vars+8).        // mov rax, [rsp+8]
											Raw(0x31, 0xc0, 0x8c, 0xc8).SetWord(asm.Vars+16).          // mov eax, cs
											Raw(0x31, 0xc0, 0x8c, 0xd0).SetWord(asm.Vars + 24).Iretq() // mov eax, ss
	for name, code := range map[string]string{
		"CLI": "\xfa", "STI": "\xfb", "HLT": "\xf4", "RDMSR": "\x0f\x32", "WRMSR": "\x0f\x30", "MOV to CR3": "\x0f\x22\xd8",
		"MOV from CR0": "\x0f\x20\xc0", "LGDT": "\x0f\x01\x10", "LTR": "\x0f\x00\xd8", "INVLPG": "\x0f\x01\x38", "SWAPGS": "\x0f\x01\xf8",
		"IN": "\xec", "OUT": "\xee", "OUTS": "\x6e", "CLTS": "\x0f\x06", "LMSW": "\x0f\x01\xf0", "WBINVD": "\x0f\x09", "MOV to DR7": "\x0f\x23\xf8",
	} {
		b.raw(name, fault(13, 0, 0), []byte(code)...)
	}
	b.raw("INT of a gate for CPL 0", fault(13, 0x42*8%256+2, 0), 0xcd, 0x42)
	b.raw("INT3, whose gate is for CPL 0", fault(13, 3*8+2, 0), 0xcc)
	b.raw("#DE", fault(0, 0, 0), 0x31, 0xc9, 0xf7, 0xf1)
	b.load("a page of CPL 0", fault(14, 5, region), region)
	b.store("written", fault(14, 7, region), region, 1)
	b.load("a page that is not there", fault(14, 4, region+0x8000), region+0x8000)
	b.load("a page of its own", inB, region+0x1000)
	b.store("written", asm.NoFault, region+0x1000, inB)
	b.store("a page that is read only", fault(14, 7, region+0x2000), region+0x2000, 1)
	b.result("CS", asm.UserCS, func(c *asm.Code) { c.Raw(0x31, 0xc0, 0x8c, 0xc8) })
	b.result("SS", asm.UserSS, func(c *asm.Code) { c.Raw(0x31, 0xc0, 0x8c, 0xd0) })
	b.result("POPFQ leaves IF", 2, func(c *asm.Code) { c.Raw(0x68, 2, 2, 0, 0, 0x9d).Flags() })
	b.code.Raw(0xcd, 0x90)
	b.word("the handler's stack", asm.Stack0-40, asm.Vars)
	b.word("CS in its frame", asm.UserCS, asm.Vars+8)
	b.word("CS in it", asm.KernelCS, asm.Vars+16)
	b.word("SS in it", 0, asm.Vars+24)
	b.kernel()
	b.load("at CPL 0 again", inA, region)
	b.code.GoUser(2)
	b.load("and at CPL 3, with both views filled", fault(14, 5, region), region)
	b.kernel()
	b.page(0, frameA|present|writable|user)
	b.code.Invlpg(region).GoUser(2)
	b.load("now it is the user's", inA, region)
	b.kernel()
	b.page(0, frameA|present|writable)
	b.code.Invlpg(region).GoUser(2)
	b.load("and no more", fault(14, 5, region), region)
	misaligned := []byte{0x9c, 0x0f, 0xba, 0x2c, 0x24, 18, 0x9d, 0x48, 0x8b, 0x4c, 0x24, 1} // AC by POPFQ; mov rcx, [rsp+1]
	b.raw("misaligned at CPL 3, with AC", fault(17, 0, 0), misaligned...)
	b.kernel()
	b.raw("misaligned at CPL 0, with AC", asm.NoFault, misaligned...)
	b.run(t)
}

// TestTrapSyscall: SYSCALL and SYSRET.
func TestTrapSyscall(t *testing.T) {
	b := newBare()
	b.returns()
	entry := new(asm.Code).Raw(0x31, 0xc0, 0x8c, 0xc8).SetWord(asm.Vars).Flags().SetWord(asm.Vars + 8)
	entry.MovReg(asm.RAX, asm.R11).SetWord(asm.Vars+16).Mov(asm.RAX, 0x5ca11).Raw(0x48, 0x0f, 0x07)
	b.image.Handlers[0] = entry // only to have it somewhere
	b.raw("without EFER.SCE", fault(6, 0, 0), 0x0f, 0x05)
	b.code.Rdmsr(msrEFER).OrAX(1).MovReg(asm.RBX, asm.RAX).Mov(asm.RCX, msrEFER).MovReg(asm.RAX, asm.RBX).Mov(asm.RDX, 0).Raw(0x0f, 0x30)
	b.code.Wrmsr(msrSTAR, (asm.UserSS-8)&^3<<48|asm.KernelCS<<32).Wrmsr(msrFMASK, flagIF|1).Wrmsr(msrLSTAR, b.image.At(0))
	b.code.AllowUser().GoUser(flagIF | 2)
	b.result("SYSCALL", 0x5ca11, func(c *asm.Code) { c.Raw(0xf9, 0x0f, 0x05) }) // stc
	b.result("the flags are back", flagIF|3, func(c *asm.Code) { c.Raw(0xf9, 0x0f, 0x05).Flags().AndAX(flagIF | 3) })
	b.word("CS in it", asm.KernelCS, asm.Vars)
	b.word("flags in it", 2, asm.Vars+8)
	b.except(^uint64(flagIF | 3))
	b.word("R11", flagIF|3, asm.Vars+16)
	b.except(^uint64(flagIF | 3))
	b.result("CS after it", asm.UserCS, func(c *asm.Code) { c.Raw(0x31, 0xc0, 0x8c, 0xc8) })
	b.raw("SYSRET at CPL 3", fault(13, 0, 0), 0x48, 0x0f, 0x07)
	b.kernel()
	b.run(t)
}

// TestTrapUserInterrupts: interrupts reach CPL 0 from CPL 3 and go back, with
// what CPL 3 has changed without a trap.
func TestTrapUserInterrupts(t *testing.T) {
	b := withUser(0)
	b.kernel()
	b.image.Handlers[0x40] = counts(count0)
	b.code.Wrmsr(apicSVR, apicEnabled).Wrmsr(msrGSBase, 0x100)
	b.code.Mov(asm.RAX, 1).SetWord(asm.Vars+0x200).Mov(asm.RAX, 2).SetWord(asm.Vars + 0x300)
	gs := func(c *asm.Code) { c.Raw(0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0x72, 0x60, 0) } // mov rax, gs:[Vars+0x200]
	b.result("through GS", 2, gs)
	b.code.Wrmsr(apicTimer, 0x40).Wrmsr(apicDivide, 0xb).Wrmsr(apicInitial, 5_000_000)
	b.code.GoUser(flagIF | 2).Word(count0)
	gs(b.code)                         // from here on nothing traps
	b.code.Raw(0x31, 0xc0, 0x8e, 0xe8) // xor eax, eax; mov gs, eax
	gs(b.code)
	b.code.MovReg(asm.R12, asm.RAX)
	b.result("a timer", 1, func(c *asm.Code) { c.Until(1, func(c *asm.Code) { c.Word(count0) }) })
	b.result("GS is what it was", 0, func(c *asm.Code) { gs(c); c.Raw(0x4c, 0x29, 0xe0) }) // sub rax, r12
	b.kernel()
	b.run(t)
}

// TestTrapStacks: the interrupt stack table, and double faults, which need it.
func TestTrapStacks(t *testing.T) {
	b := newBare()
	b.image.Gates[8] = asm.Gate{IST: 1}
	b.image.Gates[0x91] = asm.Gate{IST: 1}
	b.image.Handlers[0x91] = new(asm.Code).Raw(0x48, 0x89, 0xe0).SetWord(asm.Vars).Iretq()
	b.code.Raw(0xcd, 0x91)
	b.word("its stack", asm.Stack1-40, asm.Vars)
	for _, sp := range badStacks {
		if sp == asm.Text+64 || sp == hyperPage+512 || sp == startPage+64 || sp == reserved {
			continue // where the host or the guest's own tables have the last word
		}
		b.try("#UD without a stack", fault(8, 0, 0), func(c *asm.Code) { c.Mov(asm.RSP, sp).Raw(0x0f, 0x0b) })
		b.try("INT without a stack", fault(8, 0, 0), func(c *asm.Code) { c.Mov(asm.RSP, sp).Raw(0xcd, 0x55) })
	}
	b.code.Mov(asm.RSP, asm.Stack0)
	b.run(t)
}

// TestTrapFlagOfStep: single steps over what traps and what does not.
func TestTrapFlagOfStep(t *testing.T) {
	step := []byte{0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d} // pushfq; or byte [rsp+1], 1; popfq
	b := newBare()
	b.raw("NOP", fault(1, 0, 0), append(step, 0x90, 0x0f, 0x0b)...)
	b.result("DR6", 1<<14, func(c *asm.Code) { c.Raw(0x0f, 0x21, 0xf0).AndAX(1 << 14) })
	b.raw("CLI", fault(1, 0, 0), append(step, 0xfa, 0x0f, 0x0b)...)
	b.raw("PUSHFQ", fault(1, 0, 0), append(step, 0x9c, 0x0f, 0x0b)...)
	b.run(t)
}

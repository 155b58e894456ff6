package guests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

const (
	upcall  = hypercall.GVA(asm.Upcall)
	upStack = hypercall.GVA(asm.UpStack)
)

var fault = asm.Fault

// popf is code that sets a bit of RFLAGS, and more code.
func popf(bit byte, more ...byte) []byte {
	b := []byte{0x9c, 0x0f, 0xba, 0x2c, 0x24, bit, 0x9d} // pushfq; bts dword [rsp], bit; popfq
	return append(b, more...)
}

// TestAlignmentCheck sets AC by POPFQ.
func TestAlignmentCheck(t *testing.T) {
	s := newSteps()
	for range 3 {
		s.raw("AC", fault(17, 0, 0), popf(18, 0x48, 0x8b, 0x44, 0x24, 0x01)...) // mov rax, [rsp+1]
		s.raw("INT3", fault(3, 0, 0), 0xcc)
	}
	s.run(t, hv.Config{})
}

// TestFlags sets TF by POPFQ and executes INT3.
func TestFlags(t *testing.T) {
	s := newSteps()
	for range 3 {
		s.raw("TF", fault(1, 0, 0), popf(8, 0x90, 0x90)...)
		s.raw("INT3", fault(3, 0, 0), 0xcc)
		s.raw("DF, ID, NT and RF do no harm", asm.NoFault, append(append(popf(10), popf(21)...), popf(14)...)...)
	}
	s.try("TF across a hypercall", fault(1, 0, 0), func(c *asm.Code) {
		c.Mov(asm.RAX, 99).Mov(asm.R11, hyperPage).Raw(popf(8)...).Raw(0x41, 0xff, 0xd3)
	})
	s.raw("IOPL stays", asm.NoFault, append(popf(12), popf(13)...)...)
	s.raw("CLI all the same", fault(13, 0, 0), append(popf(12), 0xfa)...)
	s.run(t, hv.Config{})
}

// TestLockedRet jumps to the port number of the hypercall page's OUT: LOCK RET.
func TestLockedRet(t *testing.T) {
	need.KVM(t) // the process engine's page has no OUT
	s := newSteps()
	s.try("the OUT's port number", fault(6, 0, 0), func(c *asm.Code) { c.JmpTo(hyperPage + 1) })
	s.run(t, hv.Config{})
}

// TestInsideHypercallPage jumps to where no call begins.
func TestInsideHypercallPage(t *testing.T) {
	s, ret := newSteps(), uint64(2)
	if need.Engine(t) == "proc" {
		ret = 14 // after a jump and its address
	}
	s.try("the RET", asm.NoFault, func(c *asm.Code) { c.Mov(asm.R11, hyperPage+ret).Raw(0x41, 0xff, 0xd3) })
	for _, off := range []uint64{ret + 1, ret + 2, 1000, 4095} {
		s.try(fmt.Sprint("byte ", off), fault(13, 0, 0), func(c *asm.Code) { c.JmpTo(hyperPage + off) })
	}
	s.try("after the page", pf(0x14, hyperPage+page), func(c *asm.Code) { c.JmpTo(hyperPage + page) })
	s.try("before the page", pf(0x14, hyperPage-1), func(c *asm.Code) { c.JmpTo(hyperPage - 1) })
	// A jump that makes a call and returns to nowhere.
	s.try("a call without a return address", pf(0x14, 0x1230), func(c *asm.Code) {
		c.Raw(0x68, 0x30, 0x12, 0, 0).Mov(asm.RAX, 99).JmpTo(hyperPage) // push 0x1230
	})
	s.run(t, hv.Config{})
}

// badStacks are stack pointers that nothing can be pushed on.
var badStacks = []uint64{0, 8, page, asm.Text + 64, hyperPage + 512, startPage + 64, reserved, 1<<47 - 8, 1 << 47, 1 << 63, 0xffff_8000_0000_3800, ^uint64(7)}

// TestStackNowhere: exceptions and events come in whatever RSP is.
func TestStackNowhere(t *testing.T) {
	s := newSteps()
	for _, sp := range badStacks {
		s.try(fmt.Sprintf("UD2 with RSP %#x", sp), fault(6, 0, 0), func(c *asm.Code) { c.Mov(asm.RSP, sp).Raw(0x0f, 0x0b) })
		s.try(fmt.Sprintf("event with RSP %#x", sp), fault(0, 0, 0), func(c *asm.Code) {
			c.Store(asm.Deadline, 1).Mov(asm.RSP, sp).Spin()
		})
		s.want[len(s.want)-1].mask = 0xff<<48 | 1<<48 - 1 // error code and CR2 are an older fault's
		s.code.Store(asm.Deadline, uint64(hypercall.Forever)).Store32(asm.Pending, 0)
	}
	s.run(t, hv.Config{})
	for _, sp := range []uint64{0, 1 << 47, ^uint64(7)} {
		c := new(asm.Code).Begin().Mov(asm.RSP, sp).Spin()
		run(t, hv.Config{Image: asm.Image{Code: c}.Write(t)}, 100*time.Millisecond).wantStopped(t)
	}
}

// TestMaskedExceptions: a fault that nobody can take ends the machine, with
// registers.
func TestMaskedExceptions(t *testing.T) {
	ud2 := new(asm.Code).Raw(0x0f, 0x0b)
	tests := []struct {
		name    string
		code    *asm.Code
		handler *asm.Code
		want    string
	}{
		{"no upcall", new(asm.Code).Unmask().Raw(0x0f, 0x0b), nil, "#UD invalid opcode"},
		{"masked", new(asm.Code).Begin().Store32(asm.Mask, 1).Load(8), nil, "#PF page fault at 0x8"},
		{"in the upcall", new(asm.Code).Begin().Raw(0x0f, 0x0b), ud2, "#UD invalid opcode"},
		{"in the upcall, unmasked there", new(asm.Code).Begin().Raw(0x0f, 0x0b), new(asm.Code).Store32(asm.Mask, 2).Raw(0x0f, 0x0b), "#UD"},
		{"upcall on no stack", new(asm.Code).SetUpcall(hypercall.UpcallArgs{Entry: upcall}).Unmask().Raw(0x0f, 0x0b), new(asm.Code).Raw(0x50), "#PF page fault at 0xfffffffffffffff8"},
		{"upcall nowhere", new(asm.Code).SetUpcall(hypercall.UpcallArgs{Entry: 0x1000, Stack: upStack}).Unmask().Raw(0x0f, 0x0b), nil, "#PF page fault at 0x1000"},
		{"upcall at the end of the half", new(asm.Code).SetUpcall(hypercall.UpcallArgs{Entry: 1<<47 - 1, Stack: upStack}).Unmask().Raw(0x0f, 0x0b), nil, "#PF page fault at 0x7fffffffffff"},
		{"upcall in data", new(asm.Code).SetUpcall(hypercall.UpcallArgs{Entry: asm.Data, Stack: upStack}).Unmask().Raw(0x0f, 0x0b), nil, "#PF page fault at 0x600000"},
		{"all is critical", new(asm.Code).SetUpcall(hypercall.UpcallArgs{Entry: upcall, Stack: upStack, CriticalEnd: 1<<47 - 1}).Unmask().Raw(0x0f, 0x0b), nil, "#UD"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := run(t, hv.Config{Image: asm.Image{Code: test.code, Handler: test.handler}.Write(t)}, limit)
			o.wantFault(t, test.want)
			if f, ok := o.err.(*hv.GuestFault); ok && f.Regs.RIP == 0 && f.Regs.RSP == 0 {
				t.Errorf("no registers: %+v", f.Regs)
			}
		})
	}
}

func TestSetUpcallArguments(t *testing.T) {
	s := newSteps()
	for i := range uint64(6) {
		for _, at := range []uint64{1 << 47, 1 << 63, ^uint64(0), 0xffff_8000_0000_4000} {
			for j := range uint64(6) {
				s.code.Store(asm.Data+8*j, asm.Upcall)
			}
			s.code.Store(asm.Data+8*i, at)
			s.call(fmt.Sprintf("field %d is %#x", i, at), einval, uint64(hypercall.CallSetUpcall), asm.Data)
		}
	}
	for _, at := range []uint64{0, 1 << 47, asm.Data + asm.DataSize - 40, ^uint64(0), ^uint64(47)} {
		s.call(fmt.Sprintf("arguments at %#x", at), efault, uint64(hypercall.CallSetUpcall), at)
	}
	s.raw("the upcall is what it was", fault(6, 0, 0), 0x0f, 0x0b)
	s.run(t, hv.Config{})
}

// TestRestart: with a critical range that covers all, an event begins at
// Restart, on the upcall's stack.
func TestRestart(t *testing.T) {
	c := new(asm.Code).SetUpcall(hypercall.UpcallArgs{Entry: 0x1000, Stack: upStack, CriticalEnd: 1<<47 - 1, Restart: upcall})
	c.Unmask().Store(asm.Deadline, 1).Spin()
	run(t, hv.Config{Image: asm.Image{Code: c, Handler: new(asm.Code).Raw(0x50).Exit(7)}.Write(t)}, limit).wantExit(t, 7)
}

// TestEventStorms: guests that are never done with events.
func TestEventStorms(t *testing.T) {
	iret := func(c *asm.Code) *asm.Code { return c.Unmask().Raw(0xeb, 0xfe) }
	tests := map[string]struct{ code, handler *asm.Code }{
		"deadline never moved": {new(asm.Code).Begin().Store(asm.Deadline, 1).Spin(), iret(new(asm.Code))},
		"negative deadline":    {new(asm.Code).Begin().Store(asm.Deadline, 1<<63).Spin(), iret(new(asm.Code))},
		"all pending":          {new(asm.Code).Begin().Store32(asm.Pending, 1<<32-1).Spin(), iret(new(asm.Code).Store32(asm.Pending, 1<<32-1))},
		"never unmasked":       {new(asm.Code).Store(asm.Deadline, 1).Spin(), nil},
		"masked in the upcall": {new(asm.Code).Begin().Store(asm.Deadline, 1).Spin(), new(asm.Code).Spin()},
		"hypercalls in between": {new(asm.Code).Begin().Store(asm.Deadline, 1).Spin(),
			new(asm.Code).Unmask().Mov(asm.RAX, 77).CallPage().Raw(0xeb, 0xf1)},
		"restart at the restart": {new(asm.Code).SetUpcall(hypercall.UpcallArgs{Entry: upcall, Stack: upStack, CriticalEnd: 1<<47 - 1, Restart: upcall}).
			Unmask().Store(asm.Deadline, 1).Spin(), iret(new(asm.Code))},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			run(t, hv.Config{Image: asm.Image{Code: test.code, Handler: test.handler}.Write(t)}, 300*time.Millisecond).wantStopped(t)
		})
	}
}

// TestBlockDeadlines: deadlines that are none, while the machine is stopped.
func TestBlockDeadlines(t *testing.T) {
	s := newSteps()
	block := uint64(hypercall.CallBlock)
	for _, d := range []uint64{0, 1, 1 << 63, ^uint64(0), 1<<63 + 1} {
		s.call(fmt.Sprintf("until %#x", d), 0, block, d)
	}
	s.code.Store32(asm.Mask, 1).Store32(asm.Pending, 0x80)
	s.call("for ever, with something pending", 0, block, hypercall.Forever)
	s.run(t, hv.Config{})
	for _, d := range []uint64{hypercall.Forever, hypercall.Forever - 1, 1 << 62, 60_000_000_000} {
		c := new(asm.Code).Hypercall(hypercall.CallBlock, d).Exit(1)
		run(t, hv.Config{Image: asm.Image{Code: c}.Write(t)}, 50*time.Millisecond).wantStopped(t)
	}
}

// instructions that code at CPL 3 may not have, or that look like a way out.
// The number is the vector; allowed ones do no harm.
const allowed, any = -1, -2

var instructions = []struct {
	name   string
	bytes  string
	vector int
}{
	{"HLT", "\xf4", 13}, {"CLI", "\xfa", 13}, {"STI", "\xfb", 13}, {"CLTS", "\x0f\x06", 13},
	{"INVD", "\x0f\x08", 13}, {"WBINVD", "\x0f\x09", 13}, {"RDMSR", "\x0f\x32", 13}, {"WRMSR", "\x0f\x30", 13},
	{"MOV from CR0", "\x0f\x20\xc0", 13}, {"MOV from CR3", "\x0f\x20\xd8", 13}, {"MOV from CR4", "\x0f\x20\xe0", 13},
	{"MOV to CR0", "\x0f\x22\xc0", 13}, {"MOV to CR3", "\x0f\x22\xd8", 13}, {"MOV to CR4", "\x0f\x22\xe0", 13}, {"MOV to CR8", "\x44\x0f\x22\xc0", 13},
	{"MOV from DR7", "\x0f\x21\xf8", 13}, {"MOV to DR7", "\x0f\x23\xf8", 13},
	{"LGDT", "\x0f\x01\x14\x24", 13}, {"LIDT", "\x0f\x01\x1c\x24", 13}, {"LMSW", "\x0f\x01\xf0", 13}, {"INVLPG", "\x0f\x01\x3c\x24", 13},
	{"LTR", "\x0f\x00\xd8", 13}, {"LLDT", "\x0f\x00\xd0", 13}, {"SWAPGS", "\x0f\x01\xf8", 13}, {"SYSRET", "\x48\x0f\x07", any},
	{"SYSEXIT", "\x48\x0f\x35", any}, {"SYSENTER", "\x0f\x34", any}, {"XSETBV", "\x0f\x01\xd1", any}, {"RDPMC", "\x0f\x33", any},
	{"MONITOR", "\x0f\x01\xc8", any}, {"MWAIT", "\x0f\x01\xc9", any}, {"INVPCID", "\x66\x0f\x38\x82\x04\x24", any},
	{"VMRUN", "\x0f\x01\xd8", any}, {"VMLOAD", "\x0f\x01\xda", any}, {"STGI", "\x0f\x01\xdc", any}, {"CLGI", "\x0f\x01\xdd", any}, {"SKINIT", "\x0f\x01\xde", any},
	{"VMLAUNCH", "\x0f\x01\xc2", any}, {"VMXOFF", "\x0f\x01\xc4", any}, {"VMFUNC", "\x0f\x01\xd4", any}, {"VMCALL", "\x0f\x01\xc1", any}, {"VMMCALL", "\x0f\x01\xd9", any},
	{"INVEPT", "\x66\x0f\x38\x80\x04\x24", any}, {"RSM", "\x0f\xaa", any}, {"GETSEC", "\x0f\x37", any}, {"ENCLS", "\x0f\x01\xcf", any}, {"ENCLU", "\x0f\x01\xd7", any},
	{"SGDT", "\x0f\x01\x04\x24\x48\x8b\x44\x24\x02", any}, {"SIDT", "\x0f\x01\x0c\x24\x48\x8b\x44\x24\x02", any}, {"STR", "\x0f\x00\xc8", any}, {"SLDT", "\x0f\x00\xc0", any}, {"SMSW", "\x0f\x01\xe0", any},
	{"CPUID", "\x53\x31\xc9\x0f\xa2\x5b", allowed}, {"RDTSC", "\x0f\x31", allowed}, {"PAUSE", "\xf3\x90", allowed},
	{"UD2", "\x0f\x0b", 6}, {"UD0", "\x0f\xff\xc0", 6}, {"UD1", "\x0f\xb9\xc0", 6}, {"INTO", "\xce", 6}, {"ICEBP", "\xf1", any},
	{"INT 0", "\xcd\x00", any}, {"INT 2", "\xcd\x02", any}, {"INT 8", "\xcd\x08", any}, {"INT 14", "\xcd\x0e", any}, {"INT 18", "\xcd\x12", any},
	{"INT 0x20", "\xcd\x20", any}, {"INT 0x80", "\xcd\x80", any}, {"INT 0xff", "\xcd\xff", any},
	{"divide by zero", "\x31\xc9\xf7\xf1", 0}, {"IRETQ to ring 0", "\x6a\x10\x54\x9c\x6a\x08\x68\x00\x00\x40\x00\x48\xcf", any},
	{"IRETQ of zeros", "\x6a\x00\x6a\x00\x6a\x00\x6a\x00\x6a\x00\x48\xcf", any}, {"far return to ring 0", "\x6a\x08\x68\x00\x00\x40\x00\x48\xcb", any},
	{"far jump to the TSS", "\x6a\x30\x6a\x00\x48\xff\x2c\x24", any}, {"MOV SS, 0", "\x31\xc0\x8e\xd0", any}, {"MOV SS, ring 0", "\xb8\x10\x00\x00\x00\x8e\xd0", 13},
	{"MOV DS, junk", "\xb8\xf8\xff\x00\x00\x8e\xd8", 13}, {"MOV FS, TSS", "\xb8\x33\x00\x00\x00\x8e\xe0", any}, {"MOV DS, ES, FS, GS, 0", "\x31\xc0\x8e\xd8\x8e\xc0\x8e\xe0\x8e\xe8", allowed},
	{"MOV SS and INT3", "\x8c\xd0\x8e\xd0\xcc", 3}, {"MOV SS and SYSCALL", "\x8c\xd0\x8e\xd0\x0f\x05", any},
	{"WRGSBASE of nonsense", "\x48\xb8\x00\x00\x00\x00\x00\x00\x80\x00\xf3\x48\x0f\xae\xd8", 13}, {"WRGSBASE and fault", "\x31\xc0\xf3\x48\x0f\xae\xd8\x0f\x0b", 6},
	{"WRFSBASE of nonsense", "\x48\xb8\x00\x00\x00\x00\x00\x00\x80\x00\xf3\x48\x0f\xae\xd0", 13},
	{"LDMXCSR of ones", "\x6a\xff\x0f\xae\x14\x24", any}, {"FXRSTOR of junk", "\x48\x81\xe4\xc0\xff\xff\xff\x48\x81\xec\x00\x04\x00\x00\xc7\x44\x24\x18\xff\xff\xff\xff\x0f\xae\x0c\x24", 13},
	{"XRSTOR of junk", "\x48\x81\xe4\xc0\xff\xff\xff\x48\x81\xec\x00\x08\x00\x00\x48\xc7\x84\x24\x08\x02\x00\x00\xff\xff\xff\xff\x83\xc8\xff\x99\x0f\xae\x2c\x24", 13},
	{"LOCK NOP", "\xf0\x90", 6}, {"fifteen prefixes", strings.Repeat("\x66", 20) + "\x90", 13}, {"SYSCALL to nowhere", "\x0f\x05", any},
	{"XBEGIN", "\xc7\xf8\x00\x00\x00\x00", any}, {"UMWAIT", "\xf2\x0f\xae\xf0", any}, {"RDPID", "\xf3\x0f\xc7\xf8", any}, {"TPAUSE", "\x66\x0f\xae\xf0", any},
	{"INS to memory", "\x54\x5f\xba\xf0\x00\x00\x00\x6d", 13}, {"OUTS of a word", "\x54\x5e\xba\xf0\x00\x00\x00\x66\x6f", 13},
}

// TestInstructions executes each in a machine of its own: it faults at CPL 3,
// or it does no harm, or it ends that machine alone.
func TestInstructions(t *testing.T) {
	for _, in := range instructions {
		t.Run(in.name, func(t *testing.T) {
			c := new(asm.Code).Begin()
			for range 3 {
				c.Mov(asm.RSP, uint64(hypercall.BootStackTop)-8192)
				c.TryRaw([]byte(in.bytes)...)
			}
			o := run(t, hv.Config{Image: asm.Image{Code: c.Finish()}.Write(t)}, 2*time.Second)
			if in.vector == any {
				t.Logf("%v: %#x", o, o.words())
				return
			}
			got := o.words()
			if o.err != nil || len(got) != 3 {
				t.Fatal(o)
			}
			for _, g := range got {
				if isFault := g>>63 == 1 && g>>56 != 0xff; isFault != (in.vector >= 0) || isFault && int(g>>56&127) != in.vector {
					t.Errorf("%#x, want vector %d", g, in.vector)
				}
			}
		})
	}
}

// TestPorts tries every port in every width and direction. Only a byte written
// to the hypercall's port leaves the guest.
func TestPorts(t *testing.T) {
	for name, io := range map[string]string{
		"OUT byte": "\xee", "OUT word": "\x66\xef", "OUT double": "\xef",
		"IN byte": "\xec", "IN word": "\x66\xed", "IN double": "\xed",
	} {
		t.Run(name, func(t *testing.T) {
			step := byte(1)
			if testing.Short() {
				step = 13
			}
			o := run(t, hv.Config{Image: asm.Image{Code: portSweep(io, step), Handler: portHandler()}.Write(t)}, 60*time.Second)
			got := o.words()
			if o.err != nil || len(got) != 2 {
				t.Fatal(o)
			}
			if got[0] != 0 || got[1] < 65536/uint64(step)-2 {
				t.Errorf("%d ports are open, %d faulted", got[0], got[1])
			}
		})
	}
	for name, io := range map[string]string{"OUT": "\xee", "OUT imm": "\xe6\xf0", "IN": "\xec", "INS": "\x6c", "OUTS": "\x6e", "REP OUTS": "\xf3\x6e"} {
		t.Run("hypercall port, "+name, func(t *testing.T) {
			need.KVM(t) // a process has none
			c := new(asm.Code).Begin().Mov(asm.RDX, 0xf0).Mov(asm.RAX, 99).Mov(asm.RSI, asm.Data).Mov(asm.RDI, asm.Data).Mov(asm.RCX, 1000)
			o := run(t, hv.Config{Image: asm.Image{Code: c.Raw([]byte(io)...).Exit(3)}.Write(t)}, limit)
			if strings.HasPrefix(name, "IN") {
				o.wantFault(t, "port 0xf0")
			} else {
				o.wantFault(t, "outside the hypercall page")
			}
		})
	}
}

// portSweep tries the ports 1, 1+step, …: R13 is the port, R12 counts the open
// ones, RBP those that fault. The hypercall's own is left out.
func portSweep(io string, step byte) *asm.Code {
	c := new(asm.Code).Begin().Mov(asm.R13, 1).Mov(asm.R12, 0).Mov(asm.RBP, 0)
	loop := len(c.B)
	body := new(asm.Code).Mov(asm.RAX, 99)
	body.Raw(0x44, 0x89, 0xea).Raw([]byte(io)...) // mov edx, r13d
	body.Raw(0x49, 0xff, 0xc4)                    // inc r12
	skip := byte(len(body.B))
	body = new(asm.Code).Raw(0x41, 0x81, 0xfd, 0xf0, 0, 0, 0, 0x74, skip).Raw(body.B...) // cmp r13d, 0xf0; je
	c.Raw(0x4c, 0x8d, 0x35, byte(len(body.B)), 0, 0, 0).Raw(body.B...)                   // lea r14, [rip+…]
	c.Raw(0x49, 0x83, 0xc5, step)                                                        // add r13, step
	c.Raw(0x49, 0x81, 0xfd, 0, 0, 1, 0)                                                  // cmp r13, 65536
	back := loop - (len(c.B) + 6)
	c.Raw(0x0f, 0x82, byte(back), byte(back>>8), byte(back>>16), byte(back>>24)) // jb
	return c.MovReg(asm.RAX, asm.R12).Result().MovReg(asm.RAX, asm.RBP).Result().Finish()
}

// portHandler counts #GP in RBP; anything else ends the machine.
func portHandler() *asm.Code {
	c := new(asm.Code).Load(uint64(hypercall.VCPUInfoGVA) + 48)
	c.Raw(0x48, 0x83, 0xf8, 13, 0x74, 2, 0x0f, 0x0b) // cmp rax, 13; je +2; ud2
	return c.Raw(0x48, 0xff, 0xc5).Unmask().Raw(0x41, 0xff, 0xe6)
}

package guests

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// burst is how long one of many guests may run that may spin for ever.
const burst = 100 * time.Millisecond

// survive runs a guest of which anything is allowed but harm: it ends by itself,
// by a fault that has a reason and an address, or when it is stopped. The
// registers are those of a fault.
func survive(t *testing.T, image asm.Bare, stopAfter time.Duration) (*hv.GuestFault, map[string]uint64) {
	t.Helper()
	o := runOnce(t, hv.Config{Mode: hypercall.ModeTrap, Memory: 48 << 20, Disks: disks(smallDisk(), smallDisk(), smallDisk()), Image: image.Write(t)}, stopAfter)
	var f *hv.GuestFault
	switch {
	case o.err == nil:
	case errors.As(o.err, &f):
		if f.Reason == "" || f.Regs.RIP == 0 && f.Regs.RSP == 0 {
			t.Errorf("a fault without reason or registers: %v", o)
		}
	default:
		if o.err != errTime || o.took > 2*time.Second {
			t.Errorf("%v, stopped in %v", o, o.took)
		}
	}
	return f, o.reasons
}

// smallDisk is a disk of a few sectors, some of which cannot be read or written.
func smallDisk() disk.Backend {
	return disk.Inject(disk.NewMemory(40*512), func(op disk.Op, off, _ int64) error {
		if op == disk.Flush || off > 20*512 {
			return errTime
		}
		return nil
	})
}

// snippets are pieces of code, each tried with the same registers. What faults
// goes on with the next, and so does, when a timer ticks, what spins.
type snippets struct {
	list [][]byte
	seen map[string]uint64 // the reasons of all exits
	ends []uint64          // where each is done, in the code made last
}

// image makes the guest that tries them from one on.
func (s *snippets) image(from int) asm.Bare {
	const tick = 0x40
	c := new(asm.Code).BeginBare().Wrmsr(apicSVR, apicEnabled).Wrmsr(apicDivide, 0xb)
	c.Mov(asm.R14, asm.Text) // until the first has begun
	c.Wrmsr(apicTimer, modePeriodic|tick).Wrmsr(apicInitial, 5_000_000)
	c.Raw(0xe9, 0, 0, 0, 0) // jmp over the routine
	over := len(c.B)
	counted := func(c *asm.Code, addr uint32) *asm.Code { // some jump in circles, and some change R14
		return c.Count(addr).Word(addr).CmpAX(600).Unless(asm.Below, func(c *asm.Code) { c.Stop(0) })
	}
	counted(c, asm.Vars)
	for r := asm.RAX; r <= asm.R13; r++ {
		if r != asm.RSP {
			c.Mov(r, asm.Data+0x8000)
		}
	}
	c.Pop(asm.RAX).Mov(asm.RSP, asm.Stack0-64).Raw(0xfc, 0xff, 0xe0) // cld; jmp rax
	c.Patch(over)
	c.Sti()
	s.ends = nil
	for _, b := range s.list[from:] {
		c.Try(func(c *asm.Code) {
			c.Mov(asm.RSP, asm.Stack0-64).Call(over)
			c.Raw(b...).Raw(0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x41, 0xff, 0xe6) // jmp r14
		})
		c.Mov(asm.R15, asm.Results)
		s.ends = append(s.ends, asm.Text+uint64(len(c.B)))
	}
	next := new(asm.Code).Wrmsr(apicEOI, 0).Raw(0x4c, 0x89, 0x34, 0x24).Iretq() // mov [rsp], r14
	image := asm.Bare{Code: c.Mov(asm.RSP, asm.Stack0).Stop(0), Handlers: map[byte]*asm.Code{tick: next}, Gates: map[byte]asm.Gate{tick: {IST: 1}}}
	for v := range byte(32) { // a jump costs no exit, as IRETQ would
		image.Handlers[v], image.Gates[v] = counted(new(asm.Code), asm.Vars+8).Raw(0x41, 0xff, 0xe6), asm.Gate{IST: 1, Trap: true} // jmp r14
	}
	return image
}

// run tries them all, in as many machines as that takes: one that ends goes on
// in the next, where R14 says.
func (s *snippets) run(t *testing.T) (machines int) {
	from := 0
	for ; machines < 12 && from < len(s.list); machines++ {
		f, reasons := survive(t, s.image(from), limit/4)
		for name, n := range reasons {
			s.seen[name] += n
		}
		if f == nil {
			return machines + 1
		}
		next := 0
		for next < len(s.ends) && s.ends[next] <= f.Regs.R14+16 {
			next++
		}
		from += max(next, 1)
	}
	return machines
}

// TestTrapOpcodes tries every one- and two-byte opcode with every ModRM byte.
func TestTrapOpcodes(t *testing.T) {
	before := look()
	step, machines, seen := 1, 0, map[string]uint64{}
	if testing.Short() {
		step = 7
	}
	for op := 0; op < 512; op += step {
		s := snippets{seen: seen}
		for modrm := range 256 {
			b := []byte{byte(op), byte(modrm)}
			if op >= 256 {
				b = []byte{0x0f, byte(op), byte(modrm)}
			}
			s.list = append(s.list, b)
		}
		machines += s.run(t)
	}
	t.Logf("%d machines: %v", machines, seen)
	for _, name := range []string{"CLI", "STI", "HLT", "PUSHFQ", "POPFQ", "IRETD", "LRET", "INT", "IN", "INS", "OUTS", "LTR", "LLDT", "STR", "VERW", "LGDT", "SIDT",
		"SMSW", "LMSW", "INVLPG", "LAR", "LSL", "SYSCALL", "SYSRET", "CLTS", "WBINVD", "MOV_from_CR4", "MOV_CR3", "MOV_DR7", "WRMSR.other", "RDMSR.other", "LSS"} {
		if seen["trap."+name] == 0 && step == 1 {
			t.Errorf("never a %s", name)
		}
	}
	before.compare(t)
}

// TestTrapRandomCode tries random bytes, with a preference for prefixes and for
// what is privileged.
func TestTrapRandomCode(t *testing.T) {
	before := look()
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		likely := []byte{0x0f, 0x0f, 0x66, 0x67, 0x48, 0x4f, 0xf2, 0xf3, 0xf0, 0x64, 0x65, 0x01, 0x00, 0x20, 0x22, 0x30, 0x32, 0xcf, 0xcd, 0x6e, 0x6c, 0x9d, 0x8e, 0xff, 0xc7, 0xae}
		s := snippets{seen: map[string]uint64{}}
		for range 200 {
			b := make([]byte, 1+random.IntN(14))
			for i := range b {
				if b[i] = byte(random.Uint32()); random.IntN(2) == 0 {
					b[i] = likely[random.IntN(len(likely))]
				}
			}
			s.list = append(s.list, b)
		}
		s.run(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	before.compare(t)
}

// TestTrapWild loads tables from anywhere, with anything in them, and uses them.
func TestTrapWild(t *testing.T) {
	before := look()
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 0x3000)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		addresses := []uint64{0, 8, asm.GDT, asm.IDT, asm.TSS, asm.Text, asm.Data, asm.Data + asm.DataSize - 8, asm.Data + 0xd000,
			hyperPage, phys(0), phys(48<<20) - 8, phys(48 << 20), 1<<47 - 8, 1 << 47, 1 << 63, 0xffff_8000_0000_0000, ^uint64(7), asm.Data + 0xc800}
		any := func() uint64 {
			if a := addresses[random.IntN(len(addresses))]; random.IntN(4) != 0 {
				return a
			}
			return random.Uint64() >> random.IntN(64)
		}
		c := new(asm.Code).BeginBare()
		for range 40 {
			a, sel := any(), random.Uint64()&0xff
			c.Store(asm.Vars+2, any()).Store(asm.Vars-6, random.Uint64()) // what is behind Vars is a table's limit and base
			switch random.IntN(14) {
			case 0:
				c.Mov(asm.RAX, asm.Vars).Raw(0x0f, 0x01, 0x10) // lgdt [rax]
			case 1:
				c.Mov(asm.RAX, asm.Vars).Raw(0x0f, 0x01, 0x18) // lidt [rax]
			case 2:
				c.Mov(asm.RAX, sel).Raw(0x0f, 0x00, 0xd8) // ltr ax
			case 3:
				c.Mov(asm.RAX, sel).Raw(0x0f, 0x00, 0xd0) // lldt ax
			case 4:
				c.Raw(0xcd, byte(random.Uint32()))
			case 5:
				c.Mov(asm.RAX, a).ToCR(3)
			case 6:
				c.Mov(asm.RAX, a).ToCR([]byte{0, 2, 4, 8}[random.IntN(4)])
			case 7:
				for range 5 {
					c.Mov(asm.RAX, []uint64{any(), sel, 2, asm.KernelCS, asm.KernelSS, asm.UserCS}[random.IntN(6)]).Push(asm.RAX)
				}
				c.Iretq()
			case 8:
				c.Mov(asm.RAX, sel).Raw(0x8e, 0xc0|byte(random.IntN(6))<<3)
			case 9:
				c.Mov(asm.RAX, sel).Raw(0x0f, 0x02+byte(random.IntN(2)), 0xc8) // lar, lsl
			case 10:
				c.Invlpg(a)
			case 11:
				c.Wrmsr([]uint32{msrSTAR, msrLSTAR, msrFMASK, msrEFER, msrGSBase, 0xc0000100, 0xc0000102, 0x1b, 0x277}[random.IntN(9)], a)
			case 12:
				c.Raw([][]byte{{0x0f, 0x05}, {0x48, 0x0f, 0x07}, {0x0f, 0x34}, {0x0f, 0x01, 0xf8}, {0x48, 0xcb}}[random.IntN(5)]...)
			case 13:
				c.SetEntry(any(), 1+random.IntN(4), random.Uint64()&^(1<<51-1<<26)|random.Uint64()&7)
			}
		}
		survive(t, asm.Bare{Code: c.Stop(0), Data: map[uint64][]byte{asm.Data + 0xd000: data}}, burst)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	before.compare(t)
}

// TestTrapRandomPorts reaches for the devices' registers at random, in every
// width, with interrupts as they come.
func TestTrapRandomPorts(t *testing.T) {
	before := look()
	ports := []uint16{0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6, 0x1f7, 0x3f6,
		0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x2f8, 0x2f9, 0x2fa, 0x2fc, 0xf5, 0xf8, 0xfb, 0xfffd, 0xffff, 0xcf8}
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 2))
		iret := new(asm.Code).Push(asm.RAX).Push(asm.RCX).Push(asm.RDX).Wrmsr(apicEOI, 0)
		endPIC(iret).Pop(asm.RDX).Pop(asm.RCX).Pop(asm.RAX).Iretq()
		image := asm.Bare{Handlers: map[byte]*asm.Code{}}
		for v := 32; v < 256; v += 8 {
			for i := range 8 {
				image.Handlers[byte(v+i)] = iret
			}
		}
		c := virtualWire(new(asm.Code).BeginBare()).Sti()
		for range 300 {
			p, v := ports[random.IntN(len(ports))], random.Uint32()>>random.IntN(32)
			switch random.IntN(13) {
			case 12: // READ and WRITE SECTORS, MULTIPLE, EXT; IDENTIFY; FLUSH; SET FEATURES
				c.OutB(0x1f2, uint8(v)).OutB(0x1f3, uint8(random.IntN(50))).OutB(0x1f4, 0).OutB(0x1f5, 0).OutB(0x1f6, 0xe0)
				c.OutB(0x1f7, []uint8{0x20, 0x30, 0xc4, 0xc5, 0xc6, 0x24, 0x34, 0xec, 0xe7, 0xef, 0x40, 0x10}[random.IntN(12)])
				c.Mov(asm.RDX, 0x1f0).Mov(asm.RDI, asm.Data+0x8000).Mov(asm.RSI, asm.Data+0x8000).Mov(asm.RCX, uint64(random.IntN(600)))
				c.Raw(0x66, 0xf3, 0x6d|byte(v&2)) // rep insw, or outsw
			case 0, 1, 2, 3:
				c.OutB(p, uint8(v))
			case 4:
				c.OutW(p, uint16(v))
			case 5:
				c.OutD(p, v)
			case 6:
				c.InB(p)
			case 7:
				c.InW(p)
			case 8:
				c.InD(p)
			case 9:
				c.Mov(asm.RCX, uint64(v)).Mov(asm.RDX, uint64(p)).Mov(asm.RSI, asm.Data).Raw(0xb1, 0xff, 0x0f, 0xb7, 0xc9, 0xf3, 0x6e|byte(v&1)) // movzx ecx, cx
			case 10:
				c.Mov(asm.RDX, uint64(p)).Mov(asm.RDI, asm.Data+0x8000).Mov(asm.RCX, uint64(v%2000)).Raw(0xf3, 0x6c|byte(v&1))
			case 11:
				c.Try(func(c *asm.Code) { c.Wrmsr(0x800+uint32(random.IntN(0x40)), uint64(v)) })
				c.Mov(asm.R15, asm.Results)
			}
		}
		image.Code = c.Stop(0)
		survive(t, image, burst)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	before.compare(t)
}

package guests

import (
	"fmt"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// bare is a guest in trap mode made of steps.
type bare struct {
	steps
	image asm.Bare
	cfg   hv.Config
}

func newBare() *bare {
	b := &bare{steps: steps{code: new(asm.Code).BeginBare()}, cfg: hv.Config{Mode: hypercall.ModeTrap}}
	b.image.Handlers, b.image.Gates = map[byte]*asm.Code{}, map[byte]asm.Gate{}
	b.image.Data = map[uint64][]byte{}
	return b
}

// word expects the value of one of the test's own words.
func (b *bare) word(name string, value uint64, addr uint32) {
	b.code.Word(addr).Result()
	b.want = append(b.want, want{name: name, value: value})
}

// result expects what f leaves in RAX; it may not fault.
func (b *bare) result(name string, value uint64, f func(c *asm.Code)) {
	f(b.code)
	b.code.Result()
	b.want = append(b.want, want{name: name, value: value})
}

// except ignores bits of the last result.
func (b *bare) except(mask uint64) { b.want[len(b.want)-1].mask = mask }

func (b *bare) run(t *testing.T) outcome {
	t.Helper()
	b.image.Code = b.code.Report()
	b.cfg.Image = b.image.Write(t)
	o := run(t, b.cfg, limit)
	got := o.words()
	if o.err != nil || len(got) != len(b.want) {
		t.Fatalf("%v, want %d results: %#x", o, len(b.want), got)
	}
	for i, w := range b.want {
		if (got[i]^w.value)&^w.mask != 0 {
			t.Errorf("%s: %#x (%d), want %#x (%d)", w.name, got[i], int64(got[i]), w.value, int64(w.value))
		}
	}
	return o
}

// runBare runs code that is no steps.
func runBare(t *testing.T, image asm.Bare) outcome {
	t.Helper()
	return run(t, hv.Config{Mode: hypercall.ModeTrap, Image: image.Write(t)}, limit)
}

// TestTrapExceptions: exceptions come in through the guest's own IDT with the
// frame, the error code and CR2 that the manual promises.
func TestTrapExceptions(t *testing.T) {
	b := newBare()
	b.raw("#DE", fault(0, 0, 0), 0x31, 0xc9, 0xf7, 0xf1) // xor ecx, ecx; div ecx
	b.raw("#UD", fault(6, 0, 0), 0x0f, 0x0b)
	b.raw("INT3", fault(3, 0, 0), 0xcc)
	b.raw("INT 3 of two bytes", fault(3, 0, 0), 0xcd, 3)
	b.raw("INT 77", fault(77, 0, 0), 0xcd, 77)
	b.raw("ICEBP", fault(1, 0, 0), 0xf1)
	b.load("#PF, read", fault(14, 0, 0x123456), 0x123456)
	b.store("#PF, write", fault(14, 2, 0x123456), 0x123456, 1)
	b.store("#PF, write to text", fault(14, 3, asm.Text), asm.Text, 1)
	b.try("#PF, fetch", fault(14, 0x10, 0x7000), func(c *asm.Code) { c.JmpTo(0x7000) })
	b.try("#PF, fetch of data", fault(14, 0x11, asm.Data), func(c *asm.Code) { c.JmpTo(asm.Data) })
	b.load("not canonical", fault(13, 0, 0), 1<<63)
	b.try("WRMSR of nothing", fault(13, 0, 0), func(c *asm.Code) { c.Wrmsr(0x12345, 1) })
	b.try("a null selector for CS", fault(13, 0, 0), func(c *asm.Code) { c.Raw(0x6a, 0, 0x6a, 0, 0x48, 0xcb) }) // retfq
	b.code.Mov(asm.RSP, asm.Stack0)
	b.try("LTR of data", fault(13, 16, 0), func(c *asm.Code) { c.Mov(asm.RAX, 16).Raw(0x0f, 0, 0xd8) })
	b.try("CR4 with reserved bits", fault(13, 0, 0), func(c *asm.Code) { c.FromCR(4).OrAX(1 << 40).ToCR(4) })
	b.run(t)
}

// TestTrapFlags: IF as the guest set it, by whatever instruction.
func TestTrapFlags(t *testing.T) {
	const IF = 1 << 9
	b := newBare()
	flags := func(name string, want uint64, b2 ...byte) {
		b.result(name, want|2, func(c *asm.Code) { c.Raw(b2...).Flags().AndAX(IF | 2 | 3<<12) })
	}
	flags("at first", 0)
	flags("STI", IF, 0xfb)
	flags("CLI", 0, 0xfa)
	flags("POPFQ with IF", IF, 0x68, 2, 2, 0, 0, 0x9d)
	flags("POPFW without", 0, 0x66, 0x6a, 2, 0x66, 0x9d)
	flags("POPFQ with IOPL", 3<<12, 0x68, 2, 0x30, 0, 0, 0x9d)
	flags("POPFQ with none", 0, 0x6a, 2, 0x9d)
	for name, gate := range map[string]asm.Gate{"interrupt gate": {}, "trap gate": {Trap: true}} {
		v := byte(90)
		if gate.Trap {
			v = 91
		}
		b.image.Gates[v] = gate
		b.image.Handlers[v] = new(asm.Code).Flags().SetWord(asm.Vars).Raw(0x48, 0x8b, 0x44, 0x24, 16).SetWord(asm.Vars + 8).Iretq()
		b.code.Sti().Raw(0xcd, v)
		want := uint64(IF)
		if !gate.Trap {
			want = 0
		}
		b.result(name+": in the handler", want, func(c *asm.Code) { c.Word(asm.Vars).AndAX(IF) })
		b.result(name+": on the stack", IF, func(c *asm.Code) { c.Word(asm.Vars + 8).AndAX(IF) })
		b.result(name+": afterwards", IF, func(c *asm.Code) { c.Flags().AndAX(IF) })
	}
	b.run(t)
}

// TestTrapEnds: how a machine ends that cannot go on, with the reason.
func TestTrapEnds(t *testing.T) {
	nothing := func() *asm.Code { return new(asm.Code) }
	unprotected := func(c *asm.Code) *asm.Code { return c.FromCR(0).AndAX(^uint64(1 << 16)).ToCR(0) }
	gone := map[byte]asm.Gate{6: {Gone: true}, 11: {Gone: true}, 8: {Gone: true}}
	for _, test := range []struct {
		name, want string
		image      asm.Bare
	}{
		{"halted", "halted with interrupts disabled", asm.Bare{Code: nothing().Hlt()}},
		{"halted later", "halted with interrupts disabled", asm.Bare{Code: nothing().BeginBare().Sti().Cli().Hlt()}},
		{"no IDT", "triple fault", asm.Bare{Code: nothing().Raw(0x0f, 0x0b)}},
		{"no gates", "triple fault", asm.Bare{Code: nothing().BeginBare().Raw(0x0f, 0x0b), Gates: gone}},
		{"no stack", "triple fault", asm.Bare{Code: nothing().BeginBare().Mov(asm.RSP, 0x100).Raw(0x0f, 0x0b)}},
		{"paging off", "paging cannot be switched off", asm.Bare{Code: nothing().FromCR(0).AndAX(1<<31 - 1).ToCR(0)}},
		{"CR3 beyond memory", "triple fault", asm.Bare{Code: nothing().BeginBare().Mov(asm.RAX, 1<<35).ToCR(3)}},
		{"CR3 at nothing", "triple fault", asm.Bare{Code: nothing().BeginBare().Mov(asm.RAX, asm.Pool).ToCR(3)}},
		{"hypercall from elsewhere", "outside the hypercall page", asm.Bare{Code: nothing().OutB(0xf0, 0)}},
		{"text written", "text was written", asm.Bare{Code: unprotected(nothing().BeginBare()).Store(asm.Text, 1)}},
		{"text written by INS", "text was written", asm.Bare{Code: unprotected(nothing()).Mov(asm.RDX, 0x71).Mov(asm.RDI, asm.Text).Raw(0x6c)}},
		{"text for a stack", "text was written", asm.Bare{Code: unprotected(nothing().BeginBare()).Mov(asm.RSP, asm.Text+0x800).Raw(0x0f, 0x0b)}},
		{"text for an interrupt's stack", "text was written", asm.Bare{Code: unprotected(nothing().BeginBare()).
			Wrmsr(apicSVR, apicEnabled).Mov(asm.RSP, asm.Text+0x800).Sti().Wrmsr(apicSelf, 0x40).Spin()}},
		{"code elsewhere", "code outside", asm.Bare{Code: nothing().BeginBare().GetEntry(asm.Data, 1).AndAX(1<<63-1).
			MovReg(asm.RBX, asm.RAX).Entry(asm.Data, 1).Raw(0x48, 0x89, 0x18).Flush().JmpTo(asm.Data)}},
		{"upper half", "upper half", asm.Bare{Code: nothing().BeginBare().GetEntry(0, 4).MovReg(asm.RBX, asm.RAX).
			Entry(1<<63|1<<63>>16, 4).Raw(0x48, 0x89, 0x18).Load(0xffff_8000_0040_0000)}},
		{"no memory", "without memory", asm.Bare{Code: nothing().BeginBare().SetEntry(asm.Data, 1, 1<<35|7).Flush().Load(asm.Data)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "hypercall from elsewhere" {
				need.KVM(t) // a process has no port for it
			}
			o := runBare(t, test.image)
			o.wantFault(t, test.want)
			if f, ok := o.err.(*hv.GuestFault); ok && f.Regs.RIP == 0 {
				t.Errorf("no registers: %+v", f.Regs)
			}
		})
	}
}

// TestTrapExit: the machine's end by the control port, the first that counts.
func TestTrapExit(t *testing.T) {
	for _, v := range []uint32{0, 3, 255, 9 << 8, 0x4321} {
		t.Run(fmt.Sprintf("%#x", v), func(t *testing.T) {
			o := runBare(t, asm.Bare{Code: new(asm.Code).Stop(v).Stop(1).Raw(0x0f, 0x0b)})
			if o.err != nil || o.exit.Code != int(v&0xff) || o.exit.Signal != int(v>>8&0x7f) {
				t.Error(o)
			}
		})
	}
}

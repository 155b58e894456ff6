package guests

import (
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// TestTrapInterruptedFlags: interrupts come at every moment of the emulation of PUSHFQ
// and POPFQ, which are one byte long and INT3 in the text. Each takes place once: the
// stack stays where it is, and what one pushes the other pops.
func TestTrapInterruptedFlags(t *testing.T) {
	const times = 1000
	b := withAPIC()
	b.code.Wrmsr(apicDivide, 0xb).Wrmsr(apicTimer, 0x40).MovReg(asm.R12, asm.RSP).Sti()
	b.code.Times(times, func(c *asm.Code) {
		c.Wrmsr(apicInitial, 200_000).Until(times+1, func(c *asm.Code) {
			c.Raw(0x9c, 0x9d).Word(count0).Raw(0x4c, 0x01, 0xe8) // pushfq; popfq; …; add rax, r13
		})
	})
	b.word("interrupts", times, count0)
	b.result("bytes that the stack has moved by", 0, func(c *asm.Code) {
		c.MovReg(asm.RAX, asm.RSP).Raw(0x4c, 0x29, 0xe0) // sub rax, r12
	})
	b.run(t)
}

// TestInterruptedBreakpoints: events come at every moment of a breakpoint exception's way
// to the upcall. Each INT3 is told of once.
func TestInterruptedBreakpoints(t *testing.T) {
	const (
		breakpoints = asm.Data + 0x2000
		events      = asm.Data + 0x2008
	)
	c := new(asm.Code).Begin().Mov(asm.R12, 0)
	again := len(c.B)
	c.Unmask().Mov(asm.RCX, 5000)
	for range 50 {
		c.Raw(0xf3, 0x90) // pause: time for events
	}
	c.Raw(0x4d, 0x8d, 0x64, 0x24, 1, 0xcc, 0xe2, 0xff-107) // lea r12, [r12+1]; int3; loop
	c.Store32(asm.Mask, 1).Word(events).CmpAX(3).Back(asm.Below, again)
	c.MovReg(asm.RAX, asm.R12).Result().Word(breakpoints).Result()
	image := asm.Image{Code: c.Finish(), Handler: countVectors(breakpoints, events)}.Write(t)
	var out capped
	vm := mustNew(t, hv.Config{Image: image, Stdout: &out})
	defer vm.Close()
	ctx, cancel := contextFor(limit)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			vm.Signal(syscall.SIGUSR1)
			time.Sleep(50 * time.Microsecond)
		}
	}()
	exit, err := vm.Run(ctx)
	cancel()
	<-done
	w := outcome{out: out.Bytes()}.words()
	if err != nil || exit.Code != 0 || len(w) != 2 {
		t.Fatalf("%+v, %v, %#x", exit, err, w)
	}
	if w[0] != w[1] {
		t.Errorf("%d times INT3, %d breakpoints", w[0], w[1])
	}
}

// countVectors is an upcall that counts INT3s and events and goes on where it came. It
// needs the stack there, and RBX, RDX and the flags.
func countVectors(breakpoints, events uint32) *asm.Code {
	const page, offRIP, offRSP, offVector = uint64(hypercall.VCPUInfoGVA), 24, 32, 48
	c := new(asm.Code).MovReg(asm.RBX, asm.RAX).MovReg(asm.RDX, asm.R11)
	c.Load(page+offVector).Raw(0x48, 0x83, 0xf8, 3) // cmp rax, 3
	c.Unless(asm.NotEqual, func(c *asm.Code) { c.Count(breakpoints) })
	c.Load(page+offVector).Raw(0x48, 0x83, 0xf8, 3)
	c.Unless(asm.Equal, func(c *asm.Code) { c.Count(events) })
	c.Store32(asm.Pending, 0)
	c.Load(page+offRSP).MovReg(asm.RSP, asm.RAX).Load(page + offRIP).Push(asm.RAX)
	c.Push(asm.RDX).Push(asm.RBX).Unmask()
	return c.Pop(asm.RAX).Pop(asm.R11).Raw(0xc3)
}

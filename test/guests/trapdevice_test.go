package guests

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// Registers of the serial lines (PC16550D data sheet, "Registers").
const (
	com1     = asm.SerialPort
	com2     = 0x2f8
	uartIER  = 1
	uartIIR  = 2
	uartFCR  = 2
	uartMCR  = 4
	uartLSR  = 5
	uartMSR  = 6
	apicLINT = 0x835
	picBase  = 0x20
)

// virtualWire has the interrupt controllers' interrupts come as vectors 0x20 on, but
// for the interval timer's.
func virtualWire(c *asm.Code) *asm.Code {
	c.Wrmsr(apicSVR, apicEnabled).Wrmsr(apicLINT, 7<<8)
	for _, w := range [][2]uint16{{0x20, 0x11}, {0x21, picBase}, {0x21, 4}, {0x21, 1}, {0xa0, 0x11}, {0xa1, picBase + 8}, {0xa1, 2}, {0xa1, 1}, {0x21, 1}, {0xa1, 0}} {
		c.OutB(w[0], uint8(w[1]))
	}
	return c
}

// endPIC ends an interrupt at both controllers.
func endPIC(c *asm.Code) *asm.Code { return c.OutB(0xa0, 0x20).OutB(0x20, 0x20) }

// TestTrapSerialOutput: bytes leave by both lines, with a FIFO and without, also
// those that are in the FIFO at the end.
func TestTrapSerialOutput(t *testing.T) {
	for name, fcr := range map[string]uint8{"without FIFO": 0, "with FIFO": 7} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			c := new(asm.Code).OutB(com1+uartFCR, fcr).OutB(com2+uartFCR, fcr)
			const text, more = "a line that is longer than a FIFO\n", "err\n"
			for _, b := range []byte(text) {
				c.OutB(com1, b)
			}
			for _, b := range []byte(more) {
				c.OutB(com2, b)
			}
			o := run(t, hv.Config{Mode: hypercall.ModeTrap, Image: asm.Bare{Code: c.Stop(0)}.Write(t), Stderr: &stderr}, limit)
			if o.err != nil || string(o.out) != text || stderr.String() != more {
				t.Errorf("%v: %q, %q", o, o.out, stderr.String())
			}
		})
	}
}

// TestTrapSerialLoop: what is sent in loopback mode comes back, and no further.
func TestTrapSerialLoop(t *testing.T) {
	b := newBare()
	b.code.OutB(com1+uartFCR, 7).OutB(com1+uartMCR, 0x10)
	for _, v := range "loop" {
		b.code.OutB(com1, uint8(v))
	}
	b.result("LSR", 0x61, func(c *asm.Code) { c.InB(com1 + uartLSR) })
	for _, v := range "loop" {
		b.result("data", uint64(v), func(c *asm.Code) { c.InB(com1) })
	}
	b.result("LSR, empty", 0x60, func(c *asm.Code) { c.InB(com1 + uartLSR) })
	b.result("nobody at a port", 0xffffffff, func(c *asm.Code) { c.InD(0x1234) })
	b.code.OutB(com1+uartMCR, 3).OutB(com1+uartFCR, 0)
	b.run(t)
}

// TestTrapSerialInput: input interrupts, and its end is a carrier that is lost.
func TestTrapSerialInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		time.Sleep(20 * time.Millisecond)
		_, _ = io.WriteString(w, "input")
		w.Close()
	}()
	b := newBare()
	const ready, carrier = 1, 0x80
	b.cfg.Stdin = r
	b.code.Mov(asm.RBP, record)
	b.image.Handlers[picBase+4] = saved(new(asm.Code).Count(count0), func(c *asm.Code) {
		loop := len(c.B)
		c.InB(com1+uartLSR).AndAX(ready).Unless(asm.Equal, func(c *asm.Code) {
			c.InB(com1).Raw(0x88, 0x45, 0, 0x48, 0xff, 0xc5) // mov [rbp], al; inc rbp
		})
		c.InB(com1+uartMSR).InB(com1+uartIIR).CmpAX(0xc1).Back(asm.NotEqual, loop)
		endPIC(c)
	}).Iretq()
	virtualWire(b.code).OutB(com1+uartFCR, 1).OutB(com1+uartMCR, 0xb).OutB(com1+uartIER, 9)
	b.code.Until(record+5, func(c *asm.Code) { c.Sti().Hlt().Cli().MovReg(asm.RAX, asm.RBP) })
	b.word("what was read", word([]byte("input")...), record)
	b.result("the carrier", 0, func(c *asm.Code) {
		loop := len(c.B)
		c.InB(com1+uartMSR).AndAX(carrier).Back(asm.NotEqual, loop)
	})
	b.run(t)
}

// TestTrapSignals: signals raise the control port's interrupt, and are taken
// there.
func TestTrapSignals(t *testing.T) {
	before := look()
	c := virtualWire(new(asm.Code).BeginBare())
	got := saved(new(asm.Code), func(c *asm.Code) {
		c.InD(hypercall.ControlPort).SetWord(other).InD(hypercall.ControlPort + 4).SetWord(other + 8)
		c.Word(other).AddAX(0).Unless(asm.Equal, func(c *asm.Code) { c.MovReg(asm.RBX, asm.RAX).Count(count0).OutB(com1, 'l') })
		c.Word(other+8).AddAX(0).Unless(asm.Equal, func(c *asm.Code) { c.MovReg(asm.RDI, asm.RAX).Count(count0).OutB(com1, 'h') })
		endPIC(c)
	}).Iretq()
	c.OutB(com1, '>').Until(3, func(c *asm.Code) { c.Sti().Hlt().Cli().Word(count0) }).MovReg(asm.RAX, asm.RBX)
	c.Mov(asm.RDX, hypercall.ControlPort).Raw(0xef) // exit with the low signals taken last
	var out lineWriter
	out.wrote = make(chan struct{}, 100)
	vm := mustNew(t, hv.Config{Mode: hypercall.ModeTrap, Stdout: &out, Image: asm.Bare{Code: c,
		Handlers: map[byte]*asm.Code{picBase + hypercall.ControlIRQ: got}}.Write(t)})
	go func() {
		for _, s := range []syscall.Signal{syscall.SIGINT, 40, syscall.SIGTERM} {
			<-out.wrote
			vm.Signal(s)
		}
	}()
	ctx, cancel := contextFor(limit)
	defer cancel()
	exit, err := vm.Run(ctx)
	if want := 1 << (syscall.SIGTERM - 1); err != nil || exit.Code != want&0xff || exit.Signal != want>>8&0x7f {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	before.compare(t)
}

// lineWriter tells of each write.
type lineWriter struct{ wrote chan struct{} }

func (w *lineWriter) Write(b []byte) (int, error) {
	w.wrote <- struct{}{}
	return len(b), nil
}

// TestTrapCounts: every exit has one reason, and the kernel counts no fewer.
func TestTrapCounts(t *testing.T) {
	c := new(asm.Code).BeginBare().Wrmsr(apicSVR, apicEnabled)
	c.Times(50, func(c *asm.Code) {
		c.Cli().Sti().Raw(0x9c, 0x9d).FromCR(3).ToCR(3).Invlpg(asm.Data).InB(com1+uartLSR).Rdmsr(apicIRR).Wrmsr(0x12345678&0xf, 0)
	})
	ud := new(asm.Code).Raw(0x48, 0x83, 0x44, 0x24, 8, 2, 0x48, 0x83, 0xc4, 8).Iretq() // #GP: add qword [rsp+8], 2; add rsp, 8
	vm := mustNew(t, hv.Config{Mode: hypercall.ModeTrap, CollectKVMStats: true,
		Image: asm.Bare{Code: c.Stop(7), Handlers: map[byte]*asm.Code{13: ud}}.Write(t)})
	defer vm.Close()
	if exit, err := vm.Run(context.Background()); err != nil || exit.Code != 7 {
		t.Fatal(exit, err)
	}
	s := vm.Stats()
	sum := uint64(0)
	for _, n := range s.Exits.ByReason {
		sum += n
	}
	if sum != s.Exits.Total {
		t.Errorf("%d by reason, %d in all", sum, s.Exits.Total)
	}
	if k := s.KVM["exits"]; len(k) == 1 && k[0] < s.Exits.Total {
		t.Errorf("%d exits, and by the kernel %d", s.Exits.Total, k[0])
	}
	for name, n := range map[string]uint64{
		"trap.CLI": 50, "trap.STI": 50, "trap.PUSHFQ": 50, "trap.POPFQ": 50, "trap.MOV_from_CR3": 50, "trap.MOV_CR3": 50,
		"trap.INVLPG": 50, "io.uart.lsr": 50, "trap.RDMSR.x2apic_irr": 50, "trap.WRMSR.other": 50, "trap.IRETQ": 50,
		"trap.LGDT": 1, "trap.LIDT": 1, "trap.LTR": 1, "trap.WRMSR.x2apic_svr": 1, "io.control.exit": 1,
	} {
		if got := s.Exits.ByReason[name]; got != n {
			t.Errorf("%s: %d, want %d", name, got, n)
		}
	}
	for name := range s.Exits.ByReason {
		if !strings.Contains(name, ".") && name != "interrupted" {
			t.Errorf("a reason %q", name)
		}
	}
}

// TestTrapDisks: two disks on each of two channels, with a line for each, and no
// fifth.
func TestTrapDisks(t *testing.T) {
	const identify, wordsBefore, pic2, latch = 0xec, 60, 0xa0, 0x0a
	list := make([]disk.Backend, 5)
	for i := range list {
		list[i] = disk.NewMemory(int64(i+1) * 512)
	}
	b := newBare()
	b.cfg.Disks = disks(list[:4]...)
	for i := range uint16(4) {
		port := 0x1f0 - i/2*0x80
		b.code.OutB(port+6, uint8(i%2*0x10)).OutB(port+7, identify)
		b.result("lines 14 and 15", 0x40<<(i/2), func(c *asm.Code) { c.OutB(pic2, latch).InB(pic2) }) // IRR of the second 8259A
		b.except(^uint64(0xc0))
		b.code.InB(port + 7)
		b.code.Times(wordsBefore, func(c *asm.Code) { c.InW(port) })
		b.result("sectors", uint64(i+1), func(c *asm.Code) { c.InW(port) })
	}
	b.run(t)
	o := runOnce(t, hv.Config{Mode: hypercall.ModeTrap, Image: b.cfg.Image, Disks: disks(list...)}, limit)
	if o.err == nil || !strings.Contains(o.err.Error(), "there can be 4") {
		t.Errorf("five disks: %v", o.err)
	}
}

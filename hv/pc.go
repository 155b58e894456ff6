package hv

import (
	"math/bits"
	"time"

	"github.com/pvrun/pvrun/hv/device"
	"github.com/pvrun/pvrun/hypercall"
)

// pc is what a guest in trap mode finds beside its processor.
type pc struct {
	vm      *VM
	bus     device.Bus
	apic    *device.APIC
	control *device.Control
	input   bool // stdin is worth a try
}

// Interrupt lines of a PC.
const (
	irqTimer = 0
	irqCOM2  = 3
	irqCOM1  = 4
	irqRTC   = 8
	irqDisk  = 14
	irqDisk2 = 15
)

func newPC(vm *VM) *pc {
	p := &pc{vm: vm, input: true}
	tsc := func() uint64 { return rdtsc() + vm.clock.tsc.Offset }
	p.apic = device.NewAPIC(p, tsc, vm.clock.tsc.Hz)
	pic := device.NewPIC(p.apic.LINT0)
	p.control = device.NewControl(pic.Line(hypercall.ControlIRQ))
	p.bus = device.Bus{
		PIC:     pic,
		PIT:     device.NewPIT(p, pic.Line(irqTimer)),
		RTC:     device.NewRTC(p, pic.Line(irqRTC)),
		COM1:    device.NewUART(p, pic.Line(irqCOM1), serial{p, 1}),
		COM2:    device.NewUART(p, pic.Line(irqCOM2), serial{p, 2}),
		Control: p.control,
	}
	p.bus.COM2.SendOnly()
	p.bus.ATA = newChannel(pic.Line(irqDisk), vm.cfg.Disks)
	if len(vm.cfg.Disks) > 2 {
		p.bus.ATA2 = newChannel(pic.Line(irqDisk2), vm.cfg.Disks[2:])
	}
	p.plugIn()
	return p
}

// Now and Wall are the time of the devices: the guest's.
func (p *pc) Now() int64      { return p.vm.clock.now() }
func (p *pc) Wall() time.Time { return time.Now() }

// update has the devices do what is due, and passes signals on.
func (p *pc) update() {
	p.vm.kick.raised.Store(0)
	p.passSignals()
	p.vm.cables.serve()
	// Next is asked first: for what is due already it may be the time now.
	if next := p.bus.Next(); next <= p.vm.clock.now() {
		p.bus.Update()
	}
	if next := p.apic.Next(); next <= p.vm.clock.now() {
		p.apic.Update()
	}
}

// passSignals gives the control port the signals that have come, and notes whether
// the guest has left some there.
func (p *pc) passSignals() {
	if p.vm.signals.Load() != 0 {
		p.vm.untaken.Store(true) // before: SignalTaken looks at both
		for s := p.vm.signals.Swap(0); s != 0; s &= s - 1 {
			p.control.Signal(bits.TrailingZeros64(s) + 1)
		}
	}
	if p.vm.untaken.Load() && p.control.Pending() == 0 {
		p.vm.untaken.Store(false)
	}
}

// next is when a device has something to do by itself, in ns.
func (p *pc) next() int64 { return min(p.bus.Next(), p.apic.Next(), p.vm.cables.next()) }

// pending says whether an interrupt waits for the processor.
func (p *pc) pending() bool {
	_, ok := p.apic.Pending()
	return ok || p.apic.ExtINT()
}

// interrupt is the vector of the interrupt that the processor takes now.
func (p *pc) interrupt() (vector uint8, ok bool) {
	if p.apic.ExtINT() {
		return p.bus.PIC.Acknowledge(), true
	}
	if vector, ok = p.apic.Pending(); ok {
		p.apic.Accept(vector)
	}
	return vector, ok
}

// exit is how the guest has ended the machine, once it has.
func (p *pc) exit() (Exit, bool) {
	code, signal, ok := p.control.Exit()
	return Exit{Code: code, Signal: signal}, ok
}

// accessed ends an instruction that has reached a port. What it has given to a
// serial line is all that comes: our guest fills the FIFO with one instruction.
func (p *pc) accessed() {
	p.bus.COM1.Flush()
	p.bus.COM2.Flush()
}

// consoleReady tells the serial lines that host files are worth another try.
func (p *pc) consoleReady(events uint32) {
	if events&(1<<hypercall.EventConsoleIn) != 0 {
		p.input = true
	}
	if events != 0 {
		p.bus.Update()
	}
}

// serial is the other end of a serial line: the program's streams.
type serial struct {
	pc     *pc
	stream int // that takes output
}

// Write passes bytes on. What a stream refuses for good is lost on the line.
func (s serial) Write(b []byte) int {
	n := s.pc.vm.con.write(s.stream, [][]byte{b})
	switch {
	case n == failed(hypercall.EAGAIN):
		return 0
	case n < 0:
		return len(b)
	}
	return int(n)
}

// Read is asked when the guest is ready to receive.
func (s serial) Read(b []byte) (n int, eof bool) {
	if !s.pc.input {
		return 0, false
	}
	switch got := s.pc.vm.con.read([][]byte{b}); {
	case got > 0:
		return int(got), false
	case got == failed(hypercall.EAGAIN):
		s.pc.input = false
		return 0, false
	}
	return 0, true
}

package hv

import (
	"errors"

	"github.com/pvrun/pvrun/hv/device"
	"github.com/pvrun/pvrun/hv/emulate"
	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/sensitive"
)

// trapGuest is a guest that believes to have a bare machine. Its privileged
// instructions trap and are emulated on a virtual CPU; its page tables are
// shadowed; its ports and model-specific registers are devices.
type trapGuest struct {
	*vcpu
	cpu    emulate.CPU
	shadow *shadow
	sites  map[uint64]sensitive.Site // what was patched, by physical address
	pc     *pc
	look   int64 // the time at which the tick has it come out
	polled int64 // when the console's files were last asked
	failed error // on the Bus; the machine ends
}

// Exceptions that mean something to the host (Intel SDM volume 3A, "Exception
// and Interrupt Reference").
const (
	vectorDebug       = 1
	vectorNMI         = 2
	vectorBreakpoint  = 3
	vectorInvalid     = 6
	vectorDoubleFault = 8
	vectorProtection  = 13
	vectorPageFault   = 14
	vectorAlignment   = 17
	vectorMachine     = 18

	flagTF     = 1 << 8 // of RFLAGS
	flagAC     = 1 << 18
	singleStep = 1 << 14 // BS of DR6: what #DB means with TF, since there are no breakpoints
)

func newTrapGuest(c *vcpu) *trapGuest {
	g := &trapGuest{vcpu: c, shadow: c.vm.shadow, sites: c.vm.sites}
	cr0, cr4, efer, xcr0 := c.hw.ControlRegisters()
	g.cpu = emulate.CPU{
		CR0: cr0, CR3: g.shadow.guest.cr3, CR4: cr4, EFER: efer, XCR0: xcr0,
		CR4Offered: cr4 | emulate.CR4Usual, PAT: patReset,
		CS: hypercall.BootCS, SS: hypercall.BootSS,
	}
	g.pc = newPC(c.vm)
	return g
}

// patReset is IA32_PAT after reset (Intel SDM volume 3A, "Programming the PAT").
const patReset = 0x0007040600070406

// Reasons of trap mode's own.
const (
	reasonShadow    = "fault.page.shadow" // the shadow is filled; the guest knows nothing of it
	reasonGuestPage = "fault.page.guest"  // the guest's tables refuse
)

// enter lets the devices do what is due, and interrupts the guest if it can be.
func (g *trapGuest) enter() error {
	if now := g.vm.clock.now(); now-g.polled >= hypercall.TickNS {
		g.polled = now
		g.vm.clock.adjust()
		g.pc.consoleReady(g.vm.con.poll())
	}
	g.pc.update()
	if g.cpu.Interruptible(g.hw.Regs()) {
		if vector, ok := g.pc.interrupt(); ok {
			err := g.cpu.Interrupt(g.hw.Regs(), vector, g)
			if failed := g.done(); failed != nil {
				return failed
			}
			if err != nil {
				return g.fault("%v while interrupt %d is delivered", err, vector)
			}
		}
	}
	return g.lookAgain()
}

// lookAgain has a guest that runs on come out when a device has something to do.
func (g *trapGuest) lookAgain() error {
	next, now := g.pc.next(), g.vm.clock.now()
	if g.cpu.IF && g.pc.pending() {
		next = now // held back for one instruction, which has to be given its time
	}
	if d := next - g.look; d > -sameLook && d < sameLook || next-now > hypercall.TickNS && g.look == tickLook {
		return nil
	}
	if g.look = next; next-now > hypercall.TickNS {
		g.look = tickLook
	}
	return g.tick.by(max(next-now, shortLook))
}

const (
	// shortLook is how long a guest has at least before it is made to come out, in
	// ns: about what an entry takes.
	shortLook = 20_000
	// sameLook is what two times may differ by that are the same, in ns: one is
	// made of the TSC's.
	sameLook = 1_000
	tickLook = 0 // no time but the tick's own
)

func (g *trapGuest) exit(e engine.Exit) (reason string, exit Exit, err error) {
	switch e.Reason {
	case engine.Hypercall:
		call := hypercall.Call(g.hw.Regs().RAX)
		return callReason(call), Exit{}, g.hypercall(call)
	case engine.Exception:
		reason, err = g.exception(e)
		if exit, ok := g.pc.exit(); ok && err == nil {
			return reason, exit, errDone
		}
		return reason, Exit{}, err
	}
	g.look = tickLook // it has come, and may have been too early
	if !e.InFlight {
		g.leaveShadow()
	}
	return e.Reason.String(), Exit{}, nil
}

// leaveShadow ends STI's shadow over an instruction that does not trap: one that
// jumps to itself would never be seen to have been executed.
func (g *trapGuest) leaveShadow() {
	at := g.hw.Regs().RIP
	if !g.cpu.Shadow || at != g.cpu.ShadowRIP {
		return
	}
	var code [15]byte
	if _, ok := g.patched(at); !ok && !emulate.Emulates(g.fetch(code[:])) {
		g.cpu.Shadow = false
	}
}

// hypercall answers the calls for which a PC has no device.
func (g *trapGuest) hypercall(call hypercall.Call) error {
	r := g.hw.Regs()
	if !g.hw.FromHypercallPage() {
		return g.fault("hypercall from outside the hypercall page")
	}
	a := callArgs{r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9}
	result := failed(hypercall.ENOSYS)
	switch {
	case g.cpu.CPL != 0:
		result = failed(hypercall.EPERM) // pointers are looked up with the rights of CPL 0
	case call == hypercall.CallCrash:
		return g.fault("%s", g.vm.crashText(a))
	case call == hypercall.CallHostFile:
		result = g.vm.hostFile(a)
	}
	r.RAX = uint64(result)
	g.hw.RegsChanged()
	return nil
}

func (g *trapGuest) exception(e engine.Exit) (reason string, err error) {
	switch e.Vector {
	case vectorPageFault:
		return g.pageFault(e)
	case vectorBreakpoint, vectorInvalid, vectorProtection:
		return g.instruction(e)
	case vectorNMI, vectorDoubleFault, vectorMachine:
		return reasonException, g.fault("%s", exceptionText(e))
	case vectorAlignment:
		if r := g.hw.Regs(); g.cpu.CPL != 3 || g.cpu.CR0&cr0AM == 0 {
			// There is no such check where the guest believes to be, but at the real
			// CPL 3, so the flag has to go.
			r.RFLAGS &^= flagAC
			return reasonException, g.done()
		}
	}
	return reasonException, g.reflect(e)
}

// reflect has the guest handle an exception of its own.
func (g *trapGuest) reflect(e engine.Exit) error {
	if e.Vector == vectorDebug && g.hw.Regs().RFLAGS&flagTF != 0 {
		g.cpu.DR[6] |= singleStep
	}
	return g.deliver(emulate.Exception{
		Vector: e.Vector, Error: e.Error, HasError: engine.PushesError(e.Vector), CR2: e.CR2,
	})
}

func (g *trapGuest) deliver(x emulate.Exception) error {
	err := g.cpu.Deliver(g.hw.Regs(), x, g)
	if failed := g.done(); failed != nil {
		return failed
	}
	if err != nil {
		return g.fault("%v after exception %d", err, x.Vector)
	}
	return nil
}

// done ends a change of the virtual CPU's state. Its error is the Bus's, which
// comes before whatever became of the instruction: an access that is refused
// looks like a page fault to emulate.
func (g *trapGuest) done() error {
	g.hw.RegsChanged()
	err := g.failed
	g.failed = nil
	return err
}

func (g *trapGuest) pageFault(e engine.Exit) (reason string, err error) {
	out, code, err := g.shadow.fault(e.CR2, e.Error, g.cpu.CPL)
	switch {
	case err != nil:
		return reasonShadow, g.refuse(err, e.CR2)
	case out == shadowGuest:
		return reasonGuestPage, g.deliver(emulate.Exception{Vector: vectorPageFault, Error: code, HasError: true, CR2: e.CR2})
	case out == shadowKnown && g.again.tooOften(e.CR2, g.hw.Regs().RIP):
		return reasonShadow, g.fault("%s again and again", exceptionText(e))
	}
	return reasonShadow, nil
}

// refuse ends the machine for an address that the shadow does not map.
func (g *trapGuest) refuse(err error, a uint64) error {
	var host *HostError
	if errors.As(err, &host) || errors.Is(err, ErrMemory) {
		return err
	}
	return g.fault("%v: %#x", err, a)
}

// instruction emulates one that trapped, or that was made to.
func (g *trapGuest) instruction(e engine.Exit) (reason string, err error) {
	r := g.hw.Regs()
	var fetched [15]byte
	var code []byte
	if e.Vector == vectorBreakpoint {
		r.RIP -= uint64(len(int3))
	}
	if site, ok := g.patched(r.RIP); ok && e.Vector != vectorProtection {
		code = site.Code()
	} else if e.Vector == vectorBreakpoint {
		code = int3 // whose gate's DPL counts
	} else {
		code = g.fetch(fetched[:])
	}
	if g.cpu.Interruptible(r) && g.pc.pending() {
		// It was held back by the instruction before those that have not trapped,
		// and would be lost on a guest that goes on with CLI.
		return engine.Interrupted.String(), g.done()
	}
	fault := emulate.Exception{Vector: e.Vector, Error: e.Error, HasError: e.Vector == vectorProtection}
	res := g.cpu.Step(r, code, fault, g)
	reason = res.Name
	if res.IO {
		reason = device.Name(res.Port, res.Write)
		g.pc.accessed()
	}
	if err := g.done(); err != nil {
		return reason, err
	}
	switch {
	case res.Refused != "":
		return reason, g.fault("%s", res.Refused)
	case res.Exception != nil:
		return reason, g.deliver(*res.Exception)
	case res.After != nil:
		return reason, g.deliver(*res.After)
	case res.Halt:
		return reason, g.halt(res.WakeMasked)
	}
	return reason, nil
}

// int3 is the instruction INT3.
var int3 = []byte{0xcc}

// patched is the instruction that stood at an address, wherever the guest has
// mapped the text.
func (g *trapGuest) patched(at uint64) (site sensitive.Site, ok bool) {
	tr, _, ok := g.shadow.guest.walk(at, 0)
	if !ok {
		return site, false
	}
	site, ok = g.sites[tr.frame<<pageShift|at%pageSize]
	return site, ok
}

// fetch copies the code at RIP, as far as it is there.
func (g *trapGuest) fetch(b []byte) []byte {
	at := g.hw.Regs().RIP
	n := min(len(b), int(pageSize-at%pageSize))
	switch {
	case g.ReadMemory(at, b[:n], emulate.Execute, g.cpu.CPL) != nil:
		n = 0
	case n < len(b) && g.ReadMemory(at+uint64(n), b[n:], emulate.Execute, g.cpu.CPL) == nil:
		n = len(b)
	}
	g.failed = nil // what lies behind the last instruction's end is nobody's fault
	return b[:n]
}

// halt waits for an interrupt.
func (g *trapGuest) halt(wakeMasked bool) error {
	if !g.cpu.IF && !wakeMasked {
		return g.fault("the processor was halted with interrupts disabled")
	}
	g.vm.clock.adjust()
	for !g.vm.stop.Load() {
		g.pc.update()
		if g.pc.pending() {
			break
		}
		left := min(g.pc.next()-g.vm.clock.now(), maxWait)
		if left >= adjustEvery {
			g.vm.clock.straighten()
		}
		events, err := g.wait(max(left, 0))
		if err != nil {
			return err
		}
		g.pc.consoleReady(events)
	}
	g.vm.clock.adjust()
	g.look = tickLook
	return g.tick.resume()
}

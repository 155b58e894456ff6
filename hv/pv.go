package hv

import (
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// pvGuest is a guest on hypercalls: events and exceptions enter its upcall.
type pvGuest struct {
	*vcpu
	info   *hypercall.VCPUInfo // in guest memory
	upcall hypercall.UpcallArgs
	ahead  readAhead
}

func (c *pvGuest) enter() error {
	if c.vm.messages.bring() {
		c.happened(1 << hypercall.EventMessage)
	}
	c.deliverEvents()
	return nil
}

func (c *pvGuest) exit(e engine.Exit) (reason string, exit Exit, err error) {
	switch e.Reason {
	case engine.Hypercall:
		call := hypercall.Call(c.hw.Regs().RAX)
		exit, err = c.hypercall(call)
		return callReason(call), exit, err
	case engine.Exception:
		page, err := c.exception(e)
		if page {
			return reasonPage, Exit{}, err
		}
		return reasonException, Exit{}, err
	}
	c.interrupted()
	return e.Reason.String(), Exit{}, nil
}

// interrupted is a tick, a kick or a signal that meant someone else.
func (c *pvGuest) interrupted() {
	c.vm.clock.adjust()
	c.happened(c.vm.con.poll())
}

// exception answers a fault of guest code; page says that it was one that
// brought lazily mapped memory in.
func (c *pvGuest) exception(e engine.Exit) (page bool, err error) {
	const pageFault = 14
	if e.Vector == pageFault {
		switch c.vm.tables.faultIn(e.CR2, e.Error, &c.ahead) {
		case touchDone:
			return true, nil
		case touchKnown:
			if c.again.tooOften(e.CR2, c.hw.Regs().RIP) {
				return true, c.fault("%s again and again", exceptionText(e))
			}
			return true, nil
		case touchNoMemory:
			return true, c.fault("out of memory: the machine's %d MiB are in use (-m)", c.vm.cfg.Memory>>20)
		}
	}
	return false, c.deliverException(e)
}

// deliverException enters the upcall for a fault. A guest that faults while it
// cannot take an upcall has no way to go on.
func (c *pvGuest) deliverException(e engine.Exit) error {
	fatal := e.Vector == 2 || e.Vector == 8 || e.Vector == 18
	if fatal || c.upcall.Entry == 0 || atomic.LoadUint32(&c.info.Mask) != 0 || c.critical() {
		return c.fault("%s with events masked", exceptionText(e))
	}
	c.info.Error, c.info.CR2 = e.Error, e.CR2
	c.enterUpcall(uint64(e.Vector))
	return nil
}

// critical says whether the guest is on its way back to interrupted code.
func (c *pvGuest) critical() bool {
	rip := hypercall.GVA(c.hw.Regs().RIP)
	return rip >= c.upcall.CriticalStart && rip < c.upcall.CriticalEnd
}

// deliverEvents moves what has happened to the guest's page and enters the
// upcall if the guest can take it.
func (c *pvGuest) deliverEvents() {
	c.gatherEvents()
	if atomic.LoadUint32(&c.info.Pending) == 0 || atomic.LoadUint32(&c.info.Mask) != 0 || c.upcall.Entry == 0 {
		return
	}
	if c.critical() {
		r := c.hw.Regs()
		r.RIP, r.RSP, r.RFLAGS = uint64(c.upcall.Restart), uint64(c.upcall.Stack), flagsClean
		atomic.StoreUint32(&c.info.Mask, 1)
		c.hw.RegsChanged()
		return
	}
	c.enterUpcall(hypercall.VectorEvent)
}

// flagsClean is RFLAGS with nothing set but the bit that always is (Intel SDM
// volume 1, "EFLAGS Register"): no trap, direction or alignment-check flag.
const flagsClean = 2

// enterUpcall redirects the guest to its upcall. What it interrupted goes into
// the vCPU's page, which the host owns an address of: no guest pointer is
// followed.
func (c *pvGuest) enterUpcall(vector uint64) {
	r := c.hw.Regs()
	c.info.RIP, c.info.RSP, c.info.RFLAGS, c.info.Vector = r.RIP, r.RSP, r.RFLAGS, vector
	atomic.StoreUint32(&c.info.Mask, 1)
	r.RIP, r.RSP, r.RFLAGS = uint64(c.upcall.Entry), uint64(c.upcall.Stack), flagsClean
	c.hw.RegsChanged()
}

// gatherEvents moves raised events, signals and a passed deadline to the
// guest's pages.
func (c *pvGuest) gatherEvents() {
	vm := c.vm
	if r := vm.kick.raised.Swap(0); r != 0 {
		if s := vm.signals.Load(); s != 0 {
			atomic.OrUint64(&vm.shared.Signals, s)
			vm.signals.And(^s) // only now: SignalTaken looks at both
		}
		atomic.OrUint32(&c.info.Pending, r)
	}
	if d := atomic.LoadInt64(&c.info.Deadline); d != hypercall.Forever && vm.clock.now() >= d {
		atomic.OrUint32(&c.info.Pending, 1<<hypercall.EventTimer)
	}
}

// happened adds events to those that the guest has not taken.
func (c *pvGuest) happened(events uint32) {
	if events != 0 {
		atomic.OrUint32(&c.info.Pending, events)
	}
}

// block waits for an event or the deadline, whichever is first. It is errIdle when the
// loop shall end where it would wait.
func (c *pvGuest) block(deadline int64) error {
	c.vm.clock.adjust()
	c.vm.block.serveBlocked()
	c.vm.net.tellBlocked()
	if err := c.waitUntil(deadline); err != nil {
		return err
	}
	c.vm.clock.adjust()
	return c.tick.resume()
}

func (c *pvGuest) waitUntil(deadline int64) error {
	for !c.vm.stop.Load() {
		c.gatherEvents()
		now := c.vm.clock.now()
		if atomic.LoadUint32(&c.info.Pending) != 0 || now >= deadline {
			return nil
		}
		if c.vm.done.Load() {
			return errIdle
		}
		left := min(deadline-now, maxWait)
		if left >= adjustEvery {
			c.vm.clock.straighten()
		}
		events, err := c.wait(left)
		if err != nil {
			return err
		}
		c.happened(events)
	}
	return nil
}

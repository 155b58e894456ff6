package hv

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
)

// vcpu is one virtual CPU and what the guest has told about it.
type vcpu struct {
	vm     *VM
	hw     *kvm.VCPU
	info   *hypercall.VCPUInfo // in guest memory
	upcall hypercall.UpcallArgs
	ahead  readAhead
	tick   tick
	again  stuck
}

// errDone ends the loop; the program has ended.
var errDone = errors.New("done")

// loop runs guest code until the program ends or something goes wrong. It is
// the only place from which the guest is entered.
func (c *vcpu) loop() (exit Exit, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.tick.start(); err != nil {
		return Exit{}, err
	}
	defer c.tick.stop()
	defer func() {
		if r := recover(); r != nil {
			err = &Defect{r, debug.Stack()}
		}
	}()
	c.vm.clock.begun = c.vm.clock.now()
	for inFlight := false; !c.vm.stop.Load(); {
		if !inFlight {
			c.deliverEvents()
		}
		e, err := c.hw.Run()
		if err != nil {
			return Exit{}, &HostError{"run machine", err}
		}
		inFlight = e.InFlight
		if exit, err = c.handle(e); err != nil {
			if err == errDone {
				err = nil
			}
			return exit, err
		}
	}
	return Exit{}, errStopped
}

// handle answers one exit.
func (c *vcpu) handle(e engine.Exit) (Exit, error) {
	timer := c.vm.stats.begin(c.vm)
	switch e.Reason {
	case engine.Hypercall:
		call := hypercall.Call(c.hw.Regs().RAX)
		exit, err := c.hypercall(call)
		timer.hypercall(call, c.vm.clock.now())
		return exit, err
	case engine.Exception:
		page, err := c.exception(e)
		timer.exception(page, c.vm.clock.now())
		return Exit{}, err
	case engine.Interrupted:
		c.interrupted()
		timer.end(&c.vm.stats.others[e.Reason], c.vm.clock.now())
		return Exit{}, nil
	}
	timer.end(&c.vm.stats.others[e.Reason], c.vm.clock.now())
	return Exit{}, c.fault("%s", exitText(e))
}

func exitText(e engine.Exit) string {
	switch e.Reason {
	case engine.Shutdown:
		return "shutdown (triple fault)"
	case engine.Halt:
		return "ring 0 ran past a stub"
	}
	return fmt.Sprintf("unexpected exit (%v): %s", e.Reason, e.Detail)
}

func (c *vcpu) fault(format string, args ...any) error {
	return &GuestFault{Reason: fmt.Sprintf(format, args...), Regs: *c.hw.Regs()}
}

// interrupted is a tick, a kick or a signal that meant someone else.
func (c *vcpu) interrupted() {
	c.vm.clock.adjust()
	c.vm.con.poll(c)
}

// exception answers a fault of guest code; page says that it was one that
// brought lazily mapped memory in.
func (c *vcpu) exception(e engine.Exit) (page bool, err error) {
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

// stuck notices one access that faults without end.
type stuck struct {
	addr, rip uint64
	times     int
}

func (s *stuck) tooOften(addr, rip uint64) bool {
	if addr != s.addr || rip != s.rip {
		*s = stuck{addr: addr, rip: rip}
	}
	s.times++
	return s.times > 1000
}

// deliverException enters the upcall for a fault. A guest that faults while it
// cannot take an upcall has no way to go on.
func (c *vcpu) deliverException(e engine.Exit) error {
	fatal := e.Vector == 2 || e.Vector == 8 || e.Vector == 18
	if fatal || c.upcall.Entry == 0 || atomic.LoadUint32(&c.info.Mask) != 0 || c.critical() {
		return c.fault("%s with events masked", exceptionText(e))
	}
	c.info.Error, c.info.CR2 = e.Error, e.CR2
	c.enterUpcall(uint64(e.Vector))
	return nil
}

// critical says whether the guest is on its way back to interrupted code.
func (c *vcpu) critical() bool {
	rip := hypercall.GVA(c.hw.Regs().RIP)
	return rip >= c.upcall.CriticalStart && rip < c.upcall.CriticalEnd
}

// deliverEvents moves what has happened to the guest's page and enters the
// upcall if the guest can take it.
func (c *vcpu) deliverEvents() {
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
func (c *vcpu) enterUpcall(vector uint64) {
	r := c.hw.Regs()
	c.info.RIP, c.info.RSP, c.info.RFLAGS, c.info.Vector = r.RIP, r.RSP, r.RFLAGS, vector
	atomic.StoreUint32(&c.info.Mask, 1)
	r.RIP, r.RSP, r.RFLAGS = uint64(c.upcall.Entry), uint64(c.upcall.Stack), flagsClean
	c.hw.RegsChanged()
}

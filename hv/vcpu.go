package hv

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/pvrun/pvrun/hv/engine"
)

// vcpu is one virtual CPU.
type vcpu struct {
	vm    *VM
	hw    engine.VCPU
	guest guest
	tick  tick
	again stuck
}

// guest answers for what runs in the machine. There is one for each mode.
type guest interface {
	// enter brings what has happened to the guest, before it is entered.
	enter() error
	// exit answers one exit, and names what it is counted as.
	exit(e engine.Exit) (reason string, exit Exit, err error)
}

// errDone ends the loop; the program has ended.
var errDone = errors.New("done")

// loop runs guest code until the program ends or something goes wrong. It is
// the only place from which the guest is entered.
func (c *vcpu) loop() (exit Exit, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.tick.start(c.hw); err != nil {
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
			if err := c.guest.enter(); err != nil {
				return Exit{}, err
			}
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
	return Exit{}, c.stopped()
}

// handle has one exit answered, and counts it.
func (c *vcpu) handle(e engine.Exit) (Exit, error) {
	timer := c.vm.stats.begin(c.vm)
	switch e.Reason {
	case engine.Hypercall, engine.Exception, engine.Interrupted:
		reason, exit, err := c.guest.exit(e)
		timer.end(reason, c.vm.clock.now())
		return exit, err
	}
	if e.Reason == engine.NoPage {
		err := c.noPage()
		timer.end(e.Reason.String(), c.vm.clock.now())
		return Exit{}, err
	}
	timer.end(e.Reason.String(), c.vm.clock.now())
	return Exit{}, c.fault("%s", exitText(e))
}

// stopped is why the loop does not go on.
func (c *vcpu) stopped() error {
	switch err := c.vm.failure().(type) {
	case nil:
		return errStopped
	case *ringError, *netRingError:
		return c.fault("%v", err)
	default:
		return err
	}
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

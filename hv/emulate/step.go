package emulate

import "github.com/pvrun/pvrun/hv/engine"

// Step emulates the instruction at RIP.
func (c *CPU) Step(r *engine.Regs, code []byte, fault Exception, bus Bus) Result {
	return Result{Refused: "not yet"}
}

// Deliver enters the guest's handler for an exception.
func (c *CPU) Deliver(r *engine.Regs, e Exception, bus Bus) error { return nil }

// Interrupt enters the guest's handler for an external interrupt.
func (c *CPU) Interrupt(r *engine.Regs, vector uint8, bus Bus) error { return nil }

// Names are all names that a Result can have.
func Names() []string { return nil }

package device

import "math/bits"

// The control port, the one that no PC has: docs/abi.md, "Trap mode".
const (
	controlPort = 0xf4 // 32 bits: written, exit; read, signals 1 to 32
	controlHigh = 0xf8 // 32 bits: read, signals 33 to 64
)

// Control is the control port: the guest ends the machine there, and takes the
// signals that the host passes on.
type Control struct {
	irq     Line
	signals uint64 // bit n-1 for signal n
	exit    uint32
	exited  bool
}

// NewControl makes one. Its line is high while there are signals to take.
func NewControl(irq Line) *Control { return &Control{irq: irq} }

// Signal passes a signal on to the guest, 1 to 64; others are none.
func (c *Control) Signal(number int) {
	if number < 1 || number > 64 {
		return
	}
	c.signals |= 1 << (number - 1)
	c.irq(true)
}

// Exit says with what the guest has ended the machine, once it has. The first
// end counts.
func (c *Control) Exit() (code, signal int, ok bool) {
	return int(c.exit & 0xff), int(c.exit >> 8 & 0x7f), c.exited
}

// inWide answers an aligned access of 32 bits, the only one there is.
func (c *Control) inWide(port uint16) uint32 {
	shift := 0
	if port == controlHigh {
		shift = 32
	}
	taken := uint32(c.signals >> shift)
	c.signals &^= uint64(taken) << shift
	if taken != 0 {
		c.irq(false) // falls even so, for a controller that waits for an edge
		c.irq(c.signals != 0)
	}
	return taken
}

func (c *Control) outWide(port uint16, v uint32) {
	if port == controlPort && !c.exited {
		c.exit, c.exited = v, true
	}
}

// Pending says how many signals wait to be taken.
func (c *Control) Pending() int { return bits.OnesCount64(c.signals) }

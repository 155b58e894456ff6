package device

// What a write to the command port is told by, and its bits. 8259A data sheet,
// "Initialization Command Words" and "Operation Command Words".
const (
	icw1       = 0x10 // ICW1, not OCW2 or OCW3
	icw1Single = 0x02 // no ICW3
	icw1ICW4   = 0x01 // there will be an ICW4

	icw4Auto   = 0x02 // automatic end of interrupt
	icw4Nested = 0x10 // special fully nested mode

	ocw2Rotate   = 0x80
	ocw2Specific = 0x40
	ocw2EOI      = 0x20

	ocw3            = 0x08 // OCW3, not OCW2
	ocw3MaskEnable  = 0x40
	ocw3Mask        = 0x20
	ocw3Poll        = 0x04
	ocw3Read        = 0x02
	ocw3ReadService = 0x01
)

// controller is one 8259A.
type controller struct {
	lines   uint8 // the inputs' levels
	latch   uint8 // edges that nobody has taken yet
	levels  uint8 // inputs that are level triggered
	mask    uint8 // IMR
	service uint8 // ISR
	lowest  uint8 // the input of lowest priority

	base   uint8 // of the vectors
	slaves uint8 // ICW3 of a first: inputs that another controller is at
	id     uint8 // ICW3 of a second
	icw1   uint8
	icw4   uint8
	next   uint8 // the initialization word that comes next, 2 to 4; 0: none
	began  bool  // there was an ICW1

	specialMask bool
	rotateAuto  bool // rotate in automatic EOI mode
	poll        bool // the next read is a poll
	readService bool // the command port reads ISR, not IRR
}

// reset is the state at power-up, when nothing is promised: quiet.
func (c *controller) reset() { c.mask, c.lowest = 0xff, 7 }

// ready reports whether the initialization words are complete.
func (c *controller) ready() bool { return c.began && c.next == 0 }

// input sets the level of an input. A rising edge is kept until it is taken or
// the input falls: a request must stay until it is acknowledged.
func (c *controller) input(irq int, level bool) {
	bit := uint8(1) << irq
	switch {
	case !level:
		c.lines &^= bit
		c.latch &^= bit
	case c.lines&bit == 0:
		c.lines |= bit
		c.latch |= bit
	}
}

// trigger sets which inputs are level triggered. One that becomes edge triggered
// waits for a new edge.
func (c *controller) trigger(levels uint8) {
	c.latch &^= c.levels &^ levels
	c.levels = levels
}

// requests is the IRR.
func (c *controller) requests() uint8 { return c.lines&c.levels | c.latch&^c.levels }

// rank is the priority of an input, 0 the highest.
func (c *controller) rank(irq uint8) uint8 { return (irq - c.lowest - 1) & 7 }

// highest is the input of highest priority among bits.
func (c *controller) highest(bits uint8) (irq uint8, ok bool) {
	for rank := range uint8(8) {
		if irq := (c.lowest + 1 + rank) & 7; bits>>irq&1 != 0 {
			return irq, true
		}
	}
	return 0, false
}

// inService are the levels that hold others back: all but, in special mask mode,
// those that are masked.
func (c *controller) inService() uint8 {
	if c.specialMask {
		return c.service &^ c.mask
	}
	return c.service
}

// winner is the request to be served now.
func (c *controller) winner() (irq uint8, ok bool) {
	irq, ok = c.highest(c.requests() &^ c.mask)
	if !ok || !c.ready() {
		return 0, false
	}
	held, busy := c.highest(c.inService())
	switch {
	case !busy || c.rank(irq) < c.rank(held):
		return irq, true
	case irq == held && c.icw4&icw4Nested != 0 && c.slaves>>irq&1 != 0:
		return irq, true // special fully nested: a higher one behind the same input
	}
	return 0, false
}

// asks is the level of INT.
func (c *controller) asks() bool { _, ok := c.winner(); return ok }

// take puts the winner in service. Without one it is the default, input 7, which
// is not in service then.
func (c *controller) take() (irq uint8, ok bool) {
	irq, ok = c.winner()
	if !ok {
		return 7, false
	}
	c.latch &^= 1 << irq
	if c.icw4&icw4Auto == 0 {
		c.service |= 1 << irq
	} else if c.rotateAuto {
		c.lowest = irq
	}
	return irq, true
}

// read answers a read. After a poll command it is an acknowledgement, at either
// address.
func (c *controller) read(a0 bool) uint8 {
	switch {
	case c.poll:
		c.poll = false
		if irq, ok := c.take(); ok {
			return 0x80 | irq
		}
		return 0
	case a0:
		return c.mask
	case c.readService:
		return c.service
	}
	return c.requests()
}

func (c *controller) write(a0 bool, v uint8) {
	switch {
	case a0:
		c.data(v)
	case v&icw1 != 0:
		c.initialize(v)
	case v&ocw3 != 0:
		c.operate(v)
	default:
		c.endOfInterrupt(v)
	}
}

// initialize is ICW1: all but the inputs and their triggers is as new.
func (c *controller) initialize(v uint8) {
	*c = controller{lines: c.lines, levels: c.levels, lowest: 7, id: 7, icw1: v, next: 2, began: true}
}

// data is a write to the data port: the initialization words that are due, or
// the mask.
func (c *controller) data(v uint8) {
	switch c.next {
	case 2:
		c.base = v &^ 7
		c.expect(c.icw1&icw1Single == 0)
	case 3:
		c.slaves, c.id = v, v&7
		c.expect(false)
	case 4:
		c.icw4 = v
		c.next = 0
	default:
		c.mask = v
	}
}

// expect goes to the next initialization word: ICW3, or ICW4, or none.
func (c *controller) expect(third bool) {
	switch {
	case third:
		c.next = 3
	case c.icw1&icw1ICW4 != 0:
		c.next = 4
	default:
		c.next = 0
	}
}

// operate is OCW3.
func (c *controller) operate(v uint8) {
	if v&ocw3MaskEnable != 0 {
		c.specialMask = v&ocw3Mask != 0
	}
	c.poll = v&ocw3Poll != 0
	if v&ocw3Read != 0 {
		c.readService = v&ocw3ReadService != 0
	}
}

// endOfInterrupt is OCW2: the end of one, or of the highest in service, and who
// is lowest from now on.
func (c *controller) endOfInterrupt(v uint8) {
	irq, ok := v&7, true
	if v&ocw2EOI == 0 {
		c.rotate(v, irq)
		return
	}
	if v&ocw2Specific == 0 {
		irq, ok = c.highest(c.inService())
	}
	if !ok {
		return
	}
	c.service &^= 1 << irq
	if v&ocw2Rotate != 0 {
		c.lowest = irq
	}
}

// rotate is OCW2 without an end: set priority, or rotation in automatic mode.
func (c *controller) rotate(v, irq uint8) {
	switch {
	case v&ocw2Specific == 0:
		c.rotateAuto = v&ocw2Rotate != 0
	case v&ocw2Rotate != 0:
		c.lowest = irq
	}
}

package device

// PIC is the pair of 8259A interrupt controllers of a PC with its registers for
// edge and level. Intel 8259A data sheet, order number 231468. The line of the
// second goes to input 2 of the first.
//
// Bit LTIM of ICW1 has no effect, as in every PC with the edge/level registers;
// there is no MCS-80 mode. Until a controller has had its initialization words
// it asks for nothing.
type PIC struct {
	first, second controller
	intr          Line
	level         bool // of intr, last told
}

// The input of the first that the second is at, and the inputs that can not be
// level triggered: timer, keyboard, cascade; clock, coprocessor.
const (
	cascade    = 2
	levelMask1 = 0xf8
	levelMask2 = 0xde
)

// NewPIC makes the pair. out is INTR, the line to the processor or to LINT0.
func NewPIC(out Line) *PIC {
	p := &PIC{intr: out}
	p.first.reset()
	p.second.reset()
	return p
}

// Line is the interrupt line irq, 0 to 15. Line 2 is the second's own.
func (p *PIC) Line(irq int) Line {
	c := &p.first
	if irq >= 8 {
		c = &p.second
	}
	return func(level bool) {
		c.input(irq&7, level)
		p.settle()
	}
}

// settle brings both outputs up to date.
func (p *PIC) settle() {
	p.first.input(cascade, p.second.asks())
	if level := p.first.asks(); level != p.level {
		p.level = level
		p.intr(level)
	}
}

// Acknowledge is the processor's INTA cycle: the vector of the interrupt that is
// now in service. When the request is gone it is the spurious one, of input 7.
func (p *PIC) Acknowledge() (vector uint8) {
	irq, real := p.first.take()
	vector = p.first.base | irq
	if real && p.first.slaves>>irq&1 != 0 {
		vector = 0xff // nobody drives the bus, unless
		if irq == cascade && p.second.id == cascade && p.second.ready() {
			vector = p.takeSecond()
		}
	}
	p.settle()
	return vector
}

// takeSecond is the second's part of an INTA cycle. Its line goes low in each, so
// that another request of it makes an edge.
func (p *PIC) takeSecond() uint8 {
	irq, _ := p.second.take()
	p.first.input(cascade, false)
	return p.second.base | irq
}

// port is the controller at a port and whether A0 is high there.
func (p *PIC) port(port uint16) (c *controller, a0 bool) {
	c = &p.first
	if port >= pic2Command {
		c = &p.second
	}
	return c, port&1 != 0
}

func (p *PIC) in(port uint16) uint8 {
	switch port {
	case elcr1:
		return p.first.levels
	case elcr2:
		return p.second.levels
	}
	c, a0 := p.port(port)
	polled := c.poll
	v := c.read(a0)
	if polled && c == &p.second {
		p.first.input(cascade, false)
	}
	p.settle()
	return v
}

func (p *PIC) out(port uint16, v uint8) {
	switch port {
	case elcr1:
		p.first.trigger(v & levelMask1)
	case elcr2:
		p.second.trigger(v & levelMask2)
	default:
		c, a0 := p.port(port)
		c.write(a0, v)
	}
	p.settle()
}

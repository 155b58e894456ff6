package device

// PIT is the 8254 interval timer of a PC, Intel 8254 data sheet, order number
// 231164, with the system control port that has the gate and the output of its
// counter 2. Counter 0 is interrupt 0; the gates of 0 and 1 are always high.
// Until they are given a mode the outputs are high and nothing counts.
//
// A count of 1 in mode 2 or 3, which the data sheet forbids, makes no pulses.
type PIT struct {
	clock    Clock
	counters [3]counter
	system   uint8 // what was written to port 0x61
	looked   int64 // when Update was last called
}

// PITHz is the frequency that all counters count at.
const PITHz = 1193182

// Bits of the control word and of the system control port.
const (
	pitBCD       = 0x01
	pitAccess    = 0x30 // 0: latch
	pitLow       = 0x10
	pitHigh      = 0x20
	pitNoCount   = 0x20 // in a read-back command
	pitNoStatus  = 0x10
	pitStatusOut = 0x80
	pitNull      = 0x40

	systemGate    = 0x01
	systemWritten = 0x0f
	systemRefresh = 0x10
	systemOut     = 0x20
	refreshTicks  = 18
)

// NewPIT makes one.
func NewPIT(clock Clock, irq Line) *PIT {
	p := &PIT{clock: clock}
	for i := range p.counters {
		p.counters[i] = counter{control: pitAccess, mode: 3, gate: i < 2, level: true}
	}
	p.counters[0].told = irq
	irq(true)
	return p
}

// tick is the time in periods of the counters' clock.
func (p *PIT) tick() int64 { return scale(p.clock.Now(), PITHz, second) }

// Next is when counter 0 raises its interrupt next.
func (p *PIT) Next() int64 {
	c := p.counters[0]
	rise := c.nextRise()
	if rise == never {
		return never
	}
	at := scaleUp(rise, second, PITHz)
	if c.periodic() {
		at = max(at, later(p.looked, shortest))
	}
	return at
}

// Update brings the counters up to date.
func (p *PIT) Update() {
	p.looked = p.clock.Now()
	tick := p.tick()
	for i := range p.counters {
		p.counters[i].advance(tick)
	}
}

func (p *PIT) in(port uint16) uint8 {
	p.Update()
	switch port {
	case pitControl:
		return 0xff // cannot be read
	case systemPort:
		return p.readSystem()
	}
	return p.counters[port-pit0].read()
}

func (p *PIT) readSystem() uint8 {
	v := p.system
	if p.tick()/refreshTicks&1 != 0 {
		v |= systemRefresh
	}
	if p.counters[2].level {
		v |= systemOut
	}
	return v
}

func (p *PIT) out(port uint16, v uint8) {
	p.Update()
	switch port {
	case pitControl:
		p.command(v)
	case systemPort:
		p.system = v & systemWritten
		p.counters[2].setGate(v&systemGate != 0)
	default:
		p.counters[port-pit0].write(v)
	}
}

// command is a write of the control word register.
func (p *PIT) command(v uint8) {
	if v>>6 == 3 {
		p.readBack(v)
		return
	}
	c := &p.counters[v>>6]
	if v&pitAccess == 0 {
		c.latch()
		return
	}
	c.program(v & 0x3f)
}

// readBack latches counts and states of all counters that are named.
func (p *PIT) readBack(v uint8) {
	for i := range p.counters {
		if v>>(i+1)&1 == 0 {
			continue
		}
		if v&pitNoCount == 0 {
			p.counters[i].latch()
		}
		if v&pitNoStatus == 0 {
			p.counters[i].latchStatus()
		}
	}
}

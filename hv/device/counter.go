package device

// counter is one of the three of an 8254. It does not count: all is a function
// of the ticks since its count was loaded.
type counter struct {
	told  Line // where the output goes; nil: nowhere
	level bool // of the output
	gate  bool
	tick  int64 // now

	control uint8 // the low six bits of the control word
	mode    uint8 // 0 to 5
	written int64 // the count register; 0: no count since the control word
	null    bool  // it has not been loaded yet
	loading bool  // it will be, with the tick base

	n       int64 // the count that runs; 0: none
	base    int64 // the tick in which it was loaded
	stopped bool  // the gate holds the count
	at      int64 // since base, when it was stopped
	swap    int64 // modes 2 and 3: the tick that loads the count register; 0: none

	low       uint8 // the first byte of a count that is being written
	half      bool  // there is one
	readHigh  bool  // the next byte read is the high one
	held      uint16
	holds     int // bytes of held to be read
	status    uint8
	hasStatus bool
}

// elapsed is how many ticks have been counted; -1 before the count is loaded.
func (c *counter) elapsed() int64 {
	if c.stopped {
		return c.at
	}
	return c.tick - c.base
}

// triggers reports whether a rising gate starts a count, which then cannot be
// stopped.
func (c *counter) triggers() bool { return c.mode == 1 || c.mode == 5 }

func (c *counter) periodic() bool { return c.mode == 2 || c.mode == 3 }

// high is how long the output of mode 3 is high.
func high(n int64) int64 { return (n + 1) / 2 }

// output is what OUT is: 8254 data sheet, "Mode Definitions".
func (c *counter) output() bool {
	e := c.elapsed()
	switch {
	case c.mode == 0:
		return c.n > 0 && e >= c.n
	case c.n == 0 || e < 0:
		return true
	case c.mode == 1:
		return e >= c.n
	case c.periodic() && (c.stopped || c.n == 1):
		return true
	case c.mode == 2:
		return e%c.n != c.n-1
	case c.mode == 3:
		return e%c.n < high(c.n)
	}
	return e != c.n
}

// rises is how often OUT has risen since the count was loaded.
func (c *counter) rises() int64 {
	e := c.elapsed()
	switch {
	case c.n == 0 || e < 0:
		return 0
	case c.periodic() && c.n == 1:
		return 0
	case c.periodic():
		return e / c.n
	case c.mode >= 4:
		return min(e/(c.n+1), 1)
	}
	return min(e/c.n, 1)
}

// nextRise is the tick in which OUT rises next. c is a copy.
func (c counter) nextRise() int64 {
	if c.n == 0 || c.stopped {
		return never
	}
	if c.swap != 0 && c.mode == 3 && (c.swap-c.base)%c.n != 0 {
		c.exchange() // the rest of the period is the new count's
	}
	switch {
	case c.periodic() && c.n == 1:
		if c.swap != 0 {
			return later(c.swap, 1) // to look again
		}
		return never
	case c.periodic():
		return c.base + (max(c.tick-c.base, 0)/c.n+1)*c.n
	case c.rises() > 0:
		return never
	case c.mode >= 4:
		return c.base + c.n + 1
	}
	return c.base + c.n
}

// advance goes on to a tick. Of all the times that OUT has risen since the last,
// one is told.
func (c *counter) advance(tick int64) {
	rises := int64(0)
	if c.swap != 0 && tick >= c.swap {
		before := c.rises()
		c.tick = c.swap
		rises = c.rises() - before
		c.exchange()
	}
	before := c.rises()
	c.tick = tick
	if rises+c.rises()-before > 0 {
		c.set(false)
		c.set(true)
	}
	if c.loading && tick >= c.base {
		c.null, c.loading = false, false
	}
	c.set(c.output())
}

// set is a level of OUT.
func (c *counter) set(level bool) {
	if level != c.level {
		c.level = level
		if c.told != nil {
			c.told(level)
		}
	}
}

// exchange loads the count register at the end of a period or, in mode 3, of its
// half.
func (c *counter) exchange() {
	firstHalf := c.mode == 3 && (c.swap-c.base)%c.n != 0
	c.base, c.n = c.swap, c.written
	if firstHalf {
		c.base -= high(c.n)
	}
	c.swap, c.null = 0, false
}

// reload loads the count register with the next tick.
func (c *counter) reload() {
	c.n, c.base, c.swap, c.loading = c.written, c.tick+1, 0, true
	c.stopped, c.at = !c.gate && !c.triggers(), 0
}

// program is a control word: nothing counts until there is a count.
func (c *counter) program(control uint8) {
	c.control, c.mode = control, control>>1&7
	if c.mode > 5 {
		c.mode -= 4
	}
	c.n, c.written, c.null, c.loading, c.swap = 0, 0, true, false, 0
	c.stopped, c.half, c.readHigh, c.holds, c.hasStatus = false, false, false, 0, false
	c.set(c.output())
}

// write is a byte of a count.
func (c *counter) write(v uint8) {
	switch c.control & pitAccess {
	case pitLow:
		c.count(uint16(v))
	case pitHigh:
		c.count(uint16(v) << 8)
	default:
		if c.half = !c.half; !c.half {
			c.count(uint16(v)<<8 | uint16(c.low))
			break
		}
		c.low = v
		if c.mode == 0 { // which stops at the first byte
			c.n, c.stopped = 0, false
		}
	}
	c.set(c.output())
}

// count is a new count, complete.
func (c *counter) count(v uint16) {
	c.written, c.null, c.loading = c.decode(v), true, false
	switch {
	case c.triggers(): // waits for the gate
	case !c.periodic() || c.n == 0 || !c.stopped && c.elapsed() < 0:
		c.reload()
	case !c.stopped:
		c.swap = c.base + c.boundary(c.elapsed())
	}
}

// boundary is the end of the period that a time is in, or of its half in mode 3.
func (c *counter) boundary(elapsed int64) int64 {
	in := elapsed % c.n
	if c.mode == 3 && in < high(c.n) {
		return elapsed - in + high(c.n)
	}
	return elapsed - in + c.n
}

// setGate sets the level of the gate: "Gate Pin Operations Summary".
func (c *counter) setGate(gate bool) {
	if gate == c.gate {
		return
	}
	c.gate = gate
	switch {
	case c.triggers():
		if gate && c.written != 0 {
			c.reload()
		}
	case c.n == 0:
	case !gate:
		c.stopped, c.at, c.swap = true, max(c.elapsed(), 0), 0
	case c.periodic():
		c.reload()
	default:
		c.stopped, c.base = false, c.tick-c.at
	}
	c.set(c.output())
}

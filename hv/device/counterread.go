package device

// decode is the number that a count means. 0 is the largest.
func (c *counter) decode(v uint16) int64 {
	n := int64(v)
	if c.control&pitBCD != 0 {
		n = int64(v>>12)*1000 + int64(v>>8&15)*100 + int64(v>>4&15)*10 + int64(v&15)
	}
	if n == 0 {
		return c.modulus()
	}
	return n
}

func (c *counter) modulus() int64 {
	if c.control&pitBCD != 0 {
		return 10_000
	}
	return 1 << 16
}

// encode is a number as it is read.
func (c *counter) encode(n int64) uint16 {
	n %= c.modulus()
	if n < 0 {
		n += c.modulus()
	}
	if c.control&pitBCD == 0 {
		return uint16(n)
	}
	return uint16(n/1000<<12 | n/100%10<<8 | n/10%10<<4 | n%10)
}

// value is the counting element. In mode 3 it counts by two, twice a period, from
// an even number.
func (c *counter) value() uint16 {
	e := max(c.elapsed(), 0)
	switch {
	case c.n == 0:
		return 0
	case c.mode == 2:
		e %= c.n
	case c.mode == 3:
		if e %= c.n; e >= high(c.n) {
			e -= high(c.n)
		}
		return c.encode(c.n&^1 - 2*e)
	}
	return c.encode(c.n - e)
}

// latch keeps the value until it is read.
func (c *counter) latch() {
	if c.holds > 0 {
		return
	}
	c.held, c.holds = c.value(), 1
	if c.control&pitAccess == pitAccess {
		c.holds = 2
	}
}

// latchStatus keeps the state of the counter until it is read.
func (c *counter) latchStatus() {
	if c.hasStatus {
		return
	}
	c.status, c.hasStatus = c.control, true
	if c.null {
		c.status |= pitNull
	}
	if c.level {
		c.status |= pitStatusOut
	}
}

// read is a byte: of the status that is latched, the count that is latched, or
// the count.
func (c *counter) read() uint8 {
	if c.hasStatus {
		c.hasStatus = false
		return c.status
	}
	v := c.held
	if c.holds == 0 {
		v = c.value()
	} else {
		c.holds--
	}
	if c.second() {
		v >>= 8
	}
	return uint8(v)
}

// second reports whether the byte to be read is the high one.
func (c *counter) second() bool {
	switch c.control & pitAccess {
	case pitLow:
		return false
	case pitHigh:
		return true
	}
	c.readHigh = !c.readHigh
	return !c.readHigh
}

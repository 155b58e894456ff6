package device

import (
	"fmt"
	"strings"
	"testing"
)

type testPIT struct {
	*testing.T
	*PIT
	clock *testClock
	irq   wire
	bus   *Bus
}

func newPIT(t *testing.T) *testPIT {
	p := &testPIT{T: t, clock: newClock()}
	p.PIT = NewPIT(p.clock, p.irq.set)
	p.bus = &Bus{PIT: p.PIT}
	return p
}

// step lets ticks pass.
func (p *testPIT) step(ticks int64) {
	p.clock.now = scaleUp(p.tick()+ticks, second, PITHz)
	p.Update()
}

func (p *testPIT) outs(list ...uint32) {
	for i := 0; i < len(list); i += 2 {
		p.bus.Out(uint16(list[i]), 1, list[i+1])
	}
}

// counter2 sets counter 2 up: low byte, high byte, and a mode.
func (p *testPIT) counter2(mode, count uint32) {
	p.outs(0x43, 0xb0|mode<<1, 0x42, count&0xff, 0x42, count>>8)
}

func (p *testPIT) gate(level uint32) { p.outs(0x61, level) }

// wave is OUT of counter 2 over the next ticks, and what it counts.
func (p *testPIT) wave(ticks int) string {
	var s strings.Builder
	for range ticks {
		p.step(1)
		level := '_'
		if p.bus.In(0x61, 1)&systemOut != 0 {
			level = '-'
		}
		fmt.Fprintf(&s, "%c%d ", level, int16(p.count2()))
	}
	return strings.TrimSpace(s.String())
}

// count2 is counter 2, latched.
func (p *testPIT) count2() uint32 {
	p.outs(0x43, 0x80)
	return p.bus.In(0x42, 1) | p.bus.In(0x42, 1)<<8
}

// The figures of the data sheet's "Mode Definitions": the first tick after a
// count is written loads it.
func TestPITMode0(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.counter2(0, 4)
	eq(t, "counting", p.wave(7), "_4 _3 _2 _1 -0 --1 --2")
	p.counter2(0, 3)
	eq(t, "gate high", p.wave(2), "_3 _2")
	p.gate(0)
	eq(t, "gate low", p.wave(3), "_2 _2 _2")
	p.gate(1)
	eq(t, "gate high again", p.wave(3), "_1 -0 --1")
	p.outs(0x42, 2) // the first byte stops it
	eq(t, "first byte", p.wave(1), "_0")
	p.outs(0x42, 0)
	eq(t, "second byte", p.wave(3), "_2 _1 -0")
	p.gate(0)
	p.counter2(0, 2)
	eq(t, "written with the gate low", p.wave(2), "_2 _2")
	p.gate(1)
	eq(t, "and high", p.wave(2), "_1 -0")
}

func TestPITMode1(t *testing.T) {
	p := newPIT(t)
	p.counter2(1, 3)
	eq(t, "no trigger", p.wave(2), "-0 -0")
	p.gate(1)
	eq(t, "triggered", p.wave(5), "_3 _2 _1 -0 --1")
	p.gate(0)
	p.gate(1)
	eq(t, "again", p.wave(2), "_3 _2")
	p.gate(0)
	p.gate(1)
	eq(t, "retriggered", p.wave(4), "_3 _2 _1 -0")
	p.gate(0)
	p.gate(1)
	p.step(1)
	p.outs(0x42, 2, 0x42, 0) // counts from the next trigger on
	eq(t, "new count", p.wave(3), "_2 _1 -0")
	p.gate(0)
	p.gate(1)
	eq(t, "new count triggered", p.wave(3), "_2 _1 -0")
}

func TestPITMode2(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.counter2(2, 3)
	eq(t, "counting", p.wave(7), "-3 -2 _1 -3 -2 _1 -3")
	p.gate(0)
	eq(t, "gate low", p.wave(2), "-3 -3")
	p.gate(1)
	eq(t, "gate high", p.wave(4), "-3 -2 _1 -3")
	p.outs(0x42, 4, 0x42, 0)
	eq(t, "new count after the period", p.wave(7), "-2 _1 -4 -3 -2 _1 -4")
	p.step(2)
	p.gate(0) // low while OUT would be: high at once
	eq(t, "OUT", p.bus.In(0x61, 1)&systemOut, systemOut)
	p.counter2(6, 2) // mode 6 is 2
	p.gate(1)
	eq(t, "mode 6", p.wave(4), "-2 _1 -2 _1")
}

func TestPITMode3(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.counter2(3, 4)
	eq(t, "even", p.wave(9), "-4 -2 _4 _2 -4 -2 _4 _2 -4")
	p.counter2(3, 5)
	eq(t, "odd", p.wave(11), "-4 -2 -0 _4 _2 -4 -2 -0 _4 _2 -4")
	p.gate(0)
	eq(t, "gate low", p.wave(2), "-4 -4")
	p.gate(1)
	eq(t, "gate high", p.wave(3), "-4 -2 -0")
	p.outs(0x42, 2, 0x42, 0) // from the end of the half on
	eq(t, "new count after the half", p.wave(5), "_2 -2 _2 -2 _2")
	p.outs(0x42, 6, 0x42, 0)
	eq(t, "new count after the low half", p.wave(7), "-6 -4 -2 _6 _4 _2 -6")
	p.counter2(7, 2) // mode 7 is 3
	eq(t, "mode 7", p.wave(4), "-2 _2 -2 _2")
}

func TestPITMode4(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.counter2(4, 3)
	eq(t, "strobe", p.wave(6), "-3 -2 -1 _0 --1 --2")
	p.outs(0x42, 3, 0x42, 0)
	eq(t, "again", p.wave(2), "-3 -2")
	p.gate(0)
	eq(t, "gate low", p.wave(2), "-2 -2")
	p.gate(1)
	eq(t, "gate high", p.wave(3), "-1 _0 --1")
	p.outs(0x42, 3, 0x42, 0)
	p.step(2)
	p.outs(0x42, 2, 0x42, 0) // at once
	eq(t, "new count", p.wave(4), "-2 -1 _0 --1")
}

func TestPITMode5(t *testing.T) {
	p := newPIT(t)
	p.counter2(5, 3)
	eq(t, "no trigger", p.wave(2), "-0 -0")
	p.gate(1)
	eq(t, "triggered", p.wave(5), "-3 -2 -1 _0 --1")
	p.gate(0)
	p.gate(1)
	p.step(2)
	p.gate(0) // no effect
	p.gate(1)
	eq(t, "retriggered", p.wave(5), "-3 -2 -1 _0 --1")
}

func TestPITAccess(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.outs(0x43, 0x98, 0x42, 0x20) // low byte only, mode 4
	p.step(1)
	eq(t, "low byte", p.bus.In(0x42, 1), 0x20)
	p.step(1)
	eq(t, "low byte", p.bus.In(0x42, 1), 0x1f)
	p.outs(0x43, 0xa8, 0x42, 0x20) // high byte only
	p.step(1)
	eq(t, "high byte", p.bus.In(0x42, 1), 0x20)
	p.step(1)
	eq(t, "high byte", p.bus.In(0x42, 1), 0x1f)
	p.counter2(4, 0x1234)
	p.step(2)
	eq(t, "low byte of two", p.bus.In(0x42, 1), 0x33)
	p.step(0x34)
	eq(t, "high byte of two", p.bus.In(0x42, 1), 0x11)
	eq(t, "control word register", p.bus.In(0x43, 1), 0xff)
	p.counter2(4, 0)
	p.step(2)
	eq(t, "count after 0", p.count2(), 0xffff)
}

func TestPITLatch(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.counter2(4, 0x1234)
	p.step(1)
	p.outs(0x43, 0x80)
	p.step(0x100)
	p.outs(0x43, 0x80) // ignored: the first is not read yet
	eq(t, "latched low", p.bus.In(0x42, 1), 0x34)
	p.step(1)
	eq(t, "latched high", p.bus.In(0x42, 1), 0x12)
	eq(t, "not latched", p.bus.In(0x42, 1)|p.bus.In(0x42, 1)<<8, 0x1133)
	p.outs(0x43, 0x80)
	p.counter2(4, 0x20) // a control word ends it
	p.step(1)
	eq(t, "after a control word", p.bus.In(0x42, 1), 0x20)
}

func TestPITBCD(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.outs(0x43, 0xb9, 0x42, 0x00, 0x42, 0x21)
	p.step(1)
	eq(t, "count", p.count2(), 0x2100)
	p.step(1)
	eq(t, "count", p.count2(), 0x2099)
	p.step(2100)
	eq(t, "count below 0", p.count2(), 0x9999)
	p.outs(0x43, 0xb1, 0x42, 0, 0x42, 0)
	p.step(1)
	eq(t, "0 is 10000", p.count2(), 0)
	p.step(10_000 - 1)
	eq(t, "OUT", p.bus.In(0x61, 1)&systemOut, 0)
	p.step(1)
	eq(t, "OUT", p.bus.In(0x61, 1)&systemOut, systemOut)
	p.outs(0x43, 0xb1, 0x42, 0xff, 0x42, 0xff) // no digits: no harm
	p.step(1)
	eq(t, "count", p.count2(), 0x6665)
}

func TestPITReadBack(t *testing.T) {
	p := newPIT(t)
	p.gate(1)
	p.outs(0x43, 0xba)
	status := func() uint32 {
		p.outs(0x43, 0xe8)
		return p.bus.In(0x42, 1)
	}
	eq(t, "status with no count", status(), 0x80|0x40|0x3a)
	p.outs(0x43, 0xb0, 0x42, 3, 0x42, 0)
	eq(t, "status before the load", status(), 0x40|0x30)
	p.step(1)
	eq(t, "status after the load", status(), 0x30)
	p.step(3)
	eq(t, "status at the end", status(), 0x80|0x30)
	p.counter2(7, 0x1234)
	p.step(1)
	eq(t, "status of mode 7", status(), 0x80|0x3e)
	p.outs(0x42, 4, 0x42, 0)
	eq(t, "status before a new period", status(), 0x80|0x40|0x3e)
	p.step(0x1234)
	eq(t, "status after it", status(), 0x80|0x3e)

	p.counter2(4, 0x1234)
	p.step(1)
	p.outs(0x43, 0xc8) // both: status comes first, and neither a second time
	p.outs(0x43, 0xd8, 0x43, 0xe8)
	p.step(5)
	eq(t, "status", p.bus.In(0x42, 1), 0x80|0x38)
	eq(t, "count", p.bus.In(0x42, 1)|p.bus.In(0x42, 1)<<8, 0x1234)
	eq(t, "count now", p.bus.In(0x42, 1)|p.bus.In(0x42, 1)<<8, 0x122f)
	p.outs(0x43, 0xde) // counts of all three
	p.step(1)
	eq(t, "count", p.bus.In(0x42, 1)|p.bus.In(0x42, 1)<<8, 0x122f)
	eq(t, "status of counter 0", p.bus.In(0x40, 1), 0) // none latched: a count that is none
}

func TestPITStatusWithGateLow(t *testing.T) {
	p := newPIT(t)
	p.counter2(1, 5)
	p.step(1)
	p.outs(0x43, 0xe8)
	eq(t, "not triggered", p.bus.In(0x42, 1), 0x80|0x40|0x32)
	p.gate(1)
	p.step(1)
	p.outs(0x43, 0xe8)
	eq(t, "triggered", p.bus.In(0x42, 1), 0x32)
	p.gate(0)
	p.counter2(0, 5)
	p.step(1)
	p.outs(0x43, 0xe8)
	eq(t, "loaded", p.bus.In(0x42, 1), 0x30)
}

package device

import (
	"fmt"
	"math"
	"math/bits"
	"testing"
	"time"
)

// testClock is time that stands until it is moved.
type testClock struct {
	now  int64
	wall time.Time // at now 0
}

func (c *testClock) Now() int64      { return c.now }
func (c *testClock) Wall() time.Time { return c.wall.Add(time.Duration(c.now)) }

// epoch is a wall clock's first reading in tests, a Friday.
var epoch = time.Date(2024, 3, 15, 21, 7, 46, 0, time.UTC)

func newClock() *testClock { return &testClock{wall: epoch} }

// wire is an interrupt line that remembers.
type wire struct {
	level bool
	rises int
}

func (w *wire) set(level bool) {
	if level && !w.level {
		w.rises++
	}
	w.level = level
}

// eq compares what a device answered.
func eq[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, show(got), show(want))
	}
}

func show(v any) string {
	switch v.(type) {
	case uint8, uint16, uint32, uint64:
		return fmt.Sprintf("%#x", v)
	}
	return fmt.Sprint(v)
}

// ticker is a device that does something by itself.
type ticker interface {
	Next() int64
	Update()
}

// runTo lets time pass until end, stopping where the device wants it, as a
// machine's loop does. It fails when that takes more than most stops.
func runTo(t testing.TB, c *testClock, d ticker, end int64, most int) (stops int) {
	t.Helper()
	for {
		next := d.Next()
		if next > end {
			c.now = max(c.now, end)
			d.Update()
			return stops
		}
		if stops++; stops > most {
			t.Fatalf("%d updates until %d ns and it wants another at %d", stops, c.now, next)
		}
		c.now = max(c.now, next)
		d.Update()
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		v        int64
		mul, div uint64
		down, up int64
	}{
		{0, 5, 3, 0, 0},
		{1, 5, 3, 1, 2},
		{3, 5, 3, 5, 5},
		{1, 1, 3, 0, 1},
		{1 << 62, 4, 1, never, never},
		{-7, 5, 3, 0, 0},
		{1_000_000_000, 1193182, 1_000_000_000, 1193182, 1193182},
		{never, 2, 2, never, never},
		{never, 1_000_000_000, 1, never, never},
		{never, math.MaxUint64, math.MaxUint64, never, never},
	} {
		eq(t, fmt.Sprint("scale ", c.v), scale(c.v, c.mul, c.div), c.down)
		eq(t, fmt.Sprint("scaleUp ", c.v), scaleUp(c.v, c.mul, c.div), c.up)
	}
	eq(t, "later", later(1, 2), 3)
	eq(t, "later", later(2, never-1), never)
}

func TestControl(t *testing.T) {
	var irq wire
	c := NewControl(irq.set)
	bus := &Bus{Control: c}
	_, _, ok := c.Exit()
	eq(t, "exited", ok, false)
	eq(t, "no signals", bus.In(0xf4, 4), 0)
	for _, n := range []int{0, -1, 65, 1, 15, 33, 64, 64} {
		c.Signal(n)
	}
	eq(t, "pending", c.Pending(), 4)
	eq(t, "line", irq.level, true)
	eq(t, "low half", bus.In(0xf4, 4), 1<<0|1<<14)
	eq(t, "low half again", bus.In(0xf4, 4), 0)
	eq(t, "line with half of it taken", irq.level, true)
	eq(t, "rises of it", irq.rises, 2)
	eq(t, "high half", bus.In(0xf8, 4), 1<<0|1<<31)
	eq(t, "line", irq.level, false)
	eq(t, "pending", c.Pending(), 0)

	bus.Out(0xf8, 4, 1)
	bus.Out(0xf4, 1, 1)
	bus.Out(0xf4, 2, 1)
	_, _, ok = c.Exit()
	eq(t, "exited by a write elsewhere", ok, false)
	bus.Out(0xf4, 4, 0xffff0f07)
	bus.Out(0xf4, 4, 0x105)
	code, signal, ok := c.Exit()
	eq(t, "code", code, 7)
	eq(t, "signal", signal, 0x7f&0x0f)
	eq(t, "exited", ok, true)
}

// FuzzControl: signals come out once each, on either side.
func FuzzControl(f *testing.F) {
	f.Add([]byte{1, 33, 64, 0x80, 0x81, 0x82})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var irq wire
		c := NewControl(irq.set)
		bus := &Bus{Control: c}
		want := uint64(0)
		for _, op := range ops {
			switch {
			case op >= 1 && op <= 64:
				c.Signal(int(op))
				want |= 1 << (op - 1)
			case op&1 == 0:
				eq(t, "low", bus.In(controlPort, 4), uint32(want))
				want &^= math.MaxUint32
			default:
				eq(t, "high", bus.In(controlHigh, 4), uint32(want>>32))
				want &= math.MaxUint32
			}
			eq(t, "line", irq.level, want != 0)
			eq(t, "pending", c.Pending(), bits.OnesCount64(want))
		}
	})
}

package device

import (
	"fmt"
	"testing"
	"time"
)

type testRTC struct {
	*testing.T
	*RTC
	clock *testClock
	irq   wire
	bus   *Bus
}

// newRTC is one that shows epoch: Friday, 15 March 2024, 21:07:46.
func newRTC(t *testing.T) *testRTC {
	r := &testRTC{T: t, clock: newClock()}
	r.RTC = NewRTC(r.clock, r.irq.set)
	r.bus = &Bus{RTC: r.RTC}
	return r
}

func (r *testRTC) get(index uint32) uint32 {
	r.bus.Out(0x70, 1, index)
	return r.bus.In(0x71, 1)
}

func (r *testRTC) put(index, v uint32) {
	r.bus.Out(0x70, 1, index)
	r.bus.Out(0x71, 1, v)
}

// shows checks the time's registers: hour, minute, second, weekday, day, month, year.
func (r *testRTC) shows(what string, want ...uint32) {
	r.Helper()
	for i, index := range []uint32{4, 2, 0, 6, 7, 8, 9} {
		if got := r.get(index); got != want[i] {
			r.Errorf("%s: register %d is %#x, want %#x", what, index, got, want[i])
		}
	}
}

// wait lets time pass.
func (r *testRTC) wait(d time.Duration) {
	r.clock.now += int64(d)
	r.Update()
}

func TestRTCReset(t *testing.T) {
	r := newRTC(t)
	eq(t, "A", r.get(rtcA), 0x26)
	eq(t, "B", r.get(rtcB), 0x02)
	eq(t, "C", r.get(rtcC), 0)
	eq(t, "D", r.get(rtcD), 0x80)
	eq(t, "century", r.get(rtcCentury), 0x20)
	eq(t, "index", r.bus.In(0x70, 1), 0xff)
	eq(t, "next", r.Next(), never)
	for i := uint32(0x0e); i < 0x80; i++ {
		r.put(i, i^0x5a)
	}
	for i := uint32(0x0e); i < 0x80; i++ {
		eq(t, "memory", r.get(i), i^0x5a)
		eq(t, "memory with NMI masked", r.get(0x80|i), i^0x5a)
	}
	r.put(rtcC, 0xff)
	r.put(rtcD, 0)
	eq(t, "C is read only", r.get(rtcC), 0)
	eq(t, "D is read only", r.get(rtcD), 0x80)
	r.put(rtcA, 0xa6)
	eq(t, "UIP is read only", r.get(rtcA), 0x26)
}

func TestRTCFormats(t *testing.T) {
	r := newRTC(t)
	r.shows("BCD, 24 hours", 0x21, 0x07, 0x46, 6, 0x15, 3, 0x24)
	r.put(rtcB, b24Hours|bBinary)
	r.shows("binary, 24 hours", 21, 7, 46, 6, 15, 3, 24)
	r.put(rtcB, 0)
	r.shows("BCD, 12 hours", 0x89, 0x07, 0x46, 6, 0x15, 3, 0x24)
	r.put(rtcB, bBinary)
	r.shows("binary, 12 hours", 0x89, 7, 46, 6, 15, 3, 24)
	for hour, want := range map[int]uint32{0: 12, 1: 1, 11: 11, 12: 0x80 | 12, 13: 0x80 | 1, 23: 0x80 | 11} {
		eq(t, fmt.Sprint("hour ", hour), r.encodeHour(hour), uint8(want))
		eq(t, "and back", r.decodeHour(uint8(want)), hour)
	}
	r.wait(3*time.Hour + 14*time.Second)
	r.shows("the next day", 12, 8, 0, 7, 16, 3, 24)
}

func TestRTCSet(t *testing.T) {
	r := newRTC(t)
	r.wait(300 * time.Millisecond)
	r.put(rtcB, bSet|b24Hours)
	r.wait(5 * time.Second)
	r.shows("standing", 0x21, 0x07, 0x46, 6, 0x15, 3, 0x24)
	for i, v := range map[uint32]uint32{0: 0x58, 2: 0x59, 4: 0x23, 6: 2, 7: 0x31, 8: 0x12, 9: 0x99} {
		r.put(i, v)
	}
	r.shows("set", 0x23, 0x59, 0x58, 2, 0x31, 0x12, 0x99)
	r.get(rtcC)
	r.put(rtcB, b24Hours)
	eq(t, "UF of setting it", r.get(rtcC)&bUpdated, 0)
	r.shows("running", 0x23, 0x59, 0x58, 2, 0x31, 0x12, 0x99)
	r.wait(699 * time.Millisecond)
	r.shows("before the second", 0x23, 0x59, 0x58, 2, 0x31, 0x12, 0x99)
	r.wait(time.Millisecond)
	r.shows("a second later", 0x23, 0x59, 0x59, 2, 0x31, 0x12, 0x99)
	r.wait(time.Second)
	r.shows("a century later", 0, 0, 0, 3, 1, 1, 0)
	r.put(rtcMinute, 0x30) // without SET
	r.shows("minute set", 0, 0x30, 0, 3, 1, 1, 0)
	r.put(rtcB, bSet|bBinary)
	r.put(rtcHour, 0x80|11)
	r.put(rtcYear, 69)
	r.put(rtcB, bBinary)
	r.shows("binary, 12 hours", 0x80|11, 0x30, 0, 3, 1, 1, 69)
	eq(t, "year", r.time().Year(), 2069)
	r.put(rtcYear, 70)
	eq(t, "year", r.time().Year(), 1970)
}

// No time: it carries, and no harm.
func TestRTCWrongTime(t *testing.T) {
	r := newRTC(t)
	r.put(rtcB, bSet|b24Hours)
	for i := uint32(0); i < 10; i++ {
		r.put(i, 0xff)
	}
	eq(t, "as written", r.get(rtcMonth), 0xff)
	r.put(rtcB, b24Hours)
	for i := range 10 {
		if v := r.registers()[i]; v>>4 > 9 || v&15 > 9 {
			t.Errorf("register %d shows %#x", i, v)
		}
	}
}

func TestRTCDivider(t *testing.T) {
	r := newRTC(t)
	r.wait(900 * time.Millisecond)
	r.get(rtcC)
	r.put(rtcA, 0x76) // reset
	r.put(rtcB, b24Hours|bUpdated|bPeriodic)
	r.wait(10 * time.Second)
	r.shows("standing", 0x21, 0x07, 0x46, 6, 0x15, 3, 0x24)
	eq(t, "C", r.get(rtcC), 0)
	eq(t, "next", r.Next(), never)
	r.put(rtcA, 0x26)
	r.wait(499 * time.Millisecond)
	r.shows("before half a second", 0x21, 0x07, 0x46, 6, 0x15, 3, 0x24)
	r.wait(time.Millisecond)
	r.shows("after it", 0x21, 0x07, 0x47, 6, 0x15, 3, 0x24)
}

func TestRTCUpdating(t *testing.T) {
	r := newRTC(t)
	uip := func() uint32 { return r.get(rtcA) & aUpdating }
	r.wait(time.Second - updateLag - 1)
	eq(t, "UIP before", uip(), 0)
	r.wait(1)
	eq(t, "UIP", uip(), aUpdating)
	r.put(rtcB, b24Hours|bSet)
	eq(t, "UIP with SET", uip(), 0)
	r.put(rtcB, b24Hours)
	r.wait(updateLag - 1)
	eq(t, "UIP", uip(), aUpdating)
	eq(t, "UF", r.get(rtcC)&bUpdated, 0)
	r.wait(1)
	eq(t, "UIP after", uip(), 0)
	eq(t, "UF", r.get(rtcC)&bUpdated, bUpdated)
}

// Flags are set whether they interrupt or not; reading them clears all.
func TestRTCFlags(t *testing.T) {
	r := newRTC(t)
	r.wait(2 * time.Second)
	eq(t, "line", r.irq.level, false)
	r.put(rtcB, b24Hours|bUpdated)
	eq(t, "line when enabled", r.irq.level, true)
	eq(t, "C", r.get(rtcC), cRequest|bPeriodic|bUpdated)
	eq(t, "line", r.irq.level, false)
	eq(t, "C", r.get(rtcC), 0)
	r.wait(time.Second)
	eq(t, "line", r.irq.level, true)
	r.get(rtcC)
	r.clock.now += second / 2 // unseen until the rate changes
	r.put(rtcA, aNormal)
	eq(t, "C", r.get(rtcC), bPeriodic)
	r.put(rtcB, b24Hours|bUpdated|bSet) // which clears UIE
	eq(t, "B", r.get(rtcB), b24Hours|bSet)
	eq(t, "line", r.irq.level, false)
}

func TestRTCPeriodic(t *testing.T) {
	for rate := uint32(0); rate < 16; rate++ {
		hz := 0
		switch {
		case rate == 1 || rate == 2:
			hz = 256 >> (rate - 1)
		case rate > 2:
			hz = 32768 >> (rate - 1)
		}
		r := newRTC(t)
		r.put(rtcA, aNormal|rate)
		r.put(rtcB, b24Hours|bPeriodic)
		got := 0
		for r.Next() <= 2*second {
			r.clock.now = max(r.clock.now, r.Next())
			r.Update()
			eq(t, "next while it interrupts", r.Next(), never)
			eq(t, "C", r.get(rtcC)&^bUpdated, cRequest|bPeriodic)
			got++
		}
		eq(t, fmt.Sprintf("interrupts in 2 s of rate %d", rate), got, 2*hz)
	}
}

func TestRTCUpdateInterrupt(t *testing.T) {
	r := newRTC(t)
	r.wait(100 * time.Millisecond)
	r.put(rtcB, b24Hours|bUpdated)
	eq(t, "next", r.Next(), second)
	r.clock.now = second
	eq(t, "next when it has come", r.Next(), second)
	r.Update()
	eq(t, "line", r.irq.level, true)
	r.get(rtcC)
	r.clock.wall = r.clock.wall.Add(-time.Hour) // somebody sets the host's clock
	r.Update()
	eq(t, "line", r.irq.level, false)
	eq(t, "next", r.Next(), 2*second)
}

func TestRTCAlarm(t *testing.T) {
	for _, c := range []struct {
		hour, minute, second uint32
		after                int64 // s from 21:07:46; 0: never
	}{
		{0x21, 0x07, 0x47, 1},
		{0x21, 0x08, 0x00, 14},
		{0x21, 0x07, 0x46, day},
		{0x21, 0x07, 0x45, day - 1},
		{0x22, 0x07, 0x46, 3600},
		{0x00, 0x00, 0x00, 2*3600 + 52*60 + 14},
		{0xff, 0xff, 0xff, 1},
		{0xc0, 0xc0, 0x46, 60},
		{0xc0, 0x07, 0x46, 3600},
		{0xc0, 0x00, 0xff, 52*60 + 14},
		{0x20, 0xff, 0xff, day - 3600 - 7*60 - 46},
		{0x21, 0xff, 0x00, 14},
		{0x24, 0x00, 0x00, 0},
		{0x00, 0x60, 0x00, 0},
		{0x00, 0x00, 0x1a, 0},
	} {
		name := fmt.Sprintf("alarm at %x:%x:%x", c.hour, c.minute, c.second)
		r := newRTC(t)
		r.put(rtcHourAlarm, c.hour)
		r.put(rtcMinuteAlarm, c.minute)
		r.put(rtcSecondAlarm, c.second)
		eq(t, name, r.get(rtcHourAlarm), c.hour)
		r.put(rtcB, b24Hours|bAlarm)
		if c.after == 0 {
			eq(t, name+": next", r.Next(), never)
			r.wait(3 * day * time.Second)
			eq(t, name, r.irq.level, false)
			continue
		}
		eq(t, name+": next", r.Next(), c.after*second)
		r.wait(time.Duration(c.after*second - 1))
		eq(t, name+": before", r.irq.level, false)
		r.wait(1)
		eq(t, name+": line", r.irq.level, true)
		eq(t, name+": C", r.get(rtcC), cRequest|bAlarm|bUpdated|bPeriodic)
		r.wait(2 * day * time.Second) // slept through
		eq(t, name+": line", r.irq.level, true)
	}
	r := newRTC(t) // in 12 hours
	r.put(rtcHourAlarm, 0x81)
	r.put(rtcMinuteAlarm, 0xff)
	r.put(rtcSecondAlarm, 0xff)
	r.put(rtcB, bAlarm)
	eq(t, "alarm at 1 PM", r.Next(), (15*3600+52*60+14)*second)
}

// FuzzRTC: any accesses, time and changes of the host's clock.
func FuzzRTC(f *testing.F) {
	f.Add([]byte{10, 0x23, 11, 0x72, 1, 0xff, 3, 0xff, 5, 0xff, 201, 50, 140, 0, 200, 9, 140, 0})
	f.Add([]byte{11, 0x82, 0, 0x59, 2, 0x61, 8, 0xff, 9, 0, 7, 0x31, 11, 0x32, 200, 255, 10, 0x7f, 10, 0x2f, 202, 3})
	f.Fuzz(func(t *testing.T, ops []byte) {
		r := newRTC(t)
		for i := 0; i+1 < len(ops); i += 2 {
			switch op, v := ops[i], ops[i+1]; {
			case op < 128:
				r.put(uint32(op), uint32(v))
			case op < 200:
				r.get(uint32(op - 128))
			case op < 220:
				runTo(t, r.clock, r, r.clock.now+int64(v)*7_000_000, 2)
			case op < 240:
				r.clock.wall = r.clock.wall.Add(time.Duration(int8(v)) << 45)
			default:
				r.clock.now += int64(v) << 44
			}
			r.Update()
			eq(t, "line", r.irq.level, r.c&r.b&0x70 != 0)
			if next := r.Next(); next <= r.clock.now {
				t.Fatalf("up to date at %d, and wants %d", r.clock.now, next)
			}
		}
	})
}

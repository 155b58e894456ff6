package device

import "testing"

func TestAPICOneShot(t *testing.T) {
	a := enabled(t)
	a.writes(msrDivide, 0xb)
	a.writes(msrLVT, 0x40)
	a.writes(msrInitial, 1000)
	a.reads("initial count", msrInitial, 1000)
	eq(t, "next", a.Next(), 1000)
	a.clock.now = 999
	a.reads("current count", msrCurrent, 1)
	a.takes()
	a.clock.now = 1000
	a.reads("current count", msrCurrent, 0)
	a.takes(0x40)
	eq(t, "next", a.Next(), never)
	a.clock.now = 5000
	a.Update()
	a.takes()
	a.writes(msrEOI, 0)
	a.writes(msrInitial, 10)
	a.writes(msrInitial, 0) // stops it
	eq(t, "next", a.Next(), never)
	a.clock.now += 100
	a.Update()
	a.takes()
}

func TestAPICDivide(t *testing.T) {
	for v, divide := range map[uint64]int64{0: 2, 1: 4, 2: 8, 3: 16, 8: 32, 9: 64, 10: 128, 11: 1} {
		a := enabled(t)
		a.writes(msrDivide, v)
		a.reads("divide", msrDivide, v)
		a.writes(msrLVT, 0x40)
		a.writes(msrInitial, 1<<32-1)
		eq(t, "next", a.Next(), (1<<32-1)*divide)
		a.clock.now = 7*divide - 1
		a.reads("current count", msrCurrent, 1<<32-7)
	}
	a := enabled(t) // a count that is under way goes on
	a.writes(msrLVT, 0x40)
	a.writes(msrInitial, 100)
	a.clock.now = 100
	a.writes(msrDivide, 0xa)
	a.reads("current count", msrCurrent, 50)
	eq(t, "next", a.Next(), 100+50*128)
}

func TestAPICPeriodic(t *testing.T) {
	a := enabled(t)
	a.writes(msrDivide, 0xb)
	a.writes(msrLVT, timerPeriodic|0x40)
	a.writes(msrInitial, 1_000_000)
	for i := range int64(3) {
		eq(t, "next", a.Next(), (i+1)*1_000_000)
		a.clock.now = a.Next()
		a.Update()
		eq(t, "next while it is pending", a.Next(), never)
		a.reads("current count", msrCurrent, 1_000_000)
		a.takes(0x40)
		a.writes(msrEOI, 0)
	}
	a.clock.now += 10_400_000 // ten are missed
	a.reads("current count", msrCurrent, 600_000)
	a.takes(0x40)
	a.writes(msrEOI, 0)
	a.takes()
	eq(t, "next", a.Next(), 14_000_000)
	a.writes(msrLVT, lvtMasked|timerPeriodic|0x40)
	eq(t, "next when masked", a.Next(), never)
	a.clock.now += 5_000_000
	a.writes(msrLVT, 0x40) // one more, and then it stops
	a.takes()
	eq(t, "next", a.Next(), 19_000_000)
	a.clock.now = a.Next()
	a.Update()
	a.takes(0x40)
	eq(t, "next", a.Next(), never)
	a.reads("current count", msrCurrent, 0)
}

// The shortest period is no endless loop, whatever the guest does with it.
func TestAPICShortest(t *testing.T) {
	a := enabled(t)
	a.writes(msrDivide, 0xb)
	a.writes(msrLVT, timerPeriodic|0x40)
	a.writes(msrInitial, 1)
	const runs = 1000
	taken := 0
	for range runs {
		runTo(t, a.clock, a, a.clock.now+shortest, 1)
		if v, ok := a.Pending(); ok {
			a.Accept(v)
			a.writes(msrEOI, 0)
			taken++
			eq(t, "next", a.Next(), a.clock.now+shortest)
		}
	}
	if taken < runs/2 {
		t.Errorf("%d of %d periods made an interrupt", taken, runs)
	}
	a.clock.now = never
	a.Update()
	eq(t, "at the end of time", a.Next() >= a.clock.now, true)
}

func TestAPICDeadline(t *testing.T) {
	a := enabled(t)
	a.writes(msrTSCDeadline, 5000) // in another mode it is nothing
	a.reads("deadline", msrTSCDeadline, 0)
	a.writes(msrLVT, timerDeadline|0x40)
	a.writes(msrInitial, 5)
	a.reads("initial count", msrInitial, 0)
	a.writes(msrTSCDeadline, 5001)
	a.reads("deadline", msrTSCDeadline, 5001)
	a.reads("current count", msrCurrent, 0)
	eq(t, "next", a.Next(), 2001) // the counter is 1000+2*now: not before it
	a.clock.now = 2000
	a.Update()
	a.takes()
	a.clock.now = 2001
	a.Update()
	a.takes(0x40)
	a.reads("deadline", msrTSCDeadline, 0)
	eq(t, "next", a.Next(), never)
	a.writes(msrEOI, 0)

	a.writes(msrTSCDeadline, 1) // in the past: at once
	a.takes(0x40)
	a.writes(msrEOI, 0)
	a.writes(msrTSCDeadline, 1<<64-1)
	eq(t, "next", a.Next(), never)
	a.writes(msrTSCDeadline, 0) // disarms
	a.clock.now += 1_000_000
	a.Update()
	a.takes()

	a.writes(msrTSCDeadline, 1<<62)
	a.writes(msrLVT, 0x40) // leaving the mode disarms
	a.reads("deadline", msrTSCDeadline, 0)
	a.writes(msrInitial, 50)
	a.writes(msrLVT, timerDeadline|0x40)
	a.clock.now += 1000
	a.Update()
	a.takes()

	a.writes(msrLVT, lvtMasked|timerDeadline|0x40)
	a.writes(msrTSCDeadline, 1)
	a.reads("deadline that passed while masked", msrTSCDeadline, 0)
	a.writes(msrLVT, timerDeadline|0x40)
	a.takes()
}

// A deadline that passes while the interrupt of the last waits is one with it.
func TestAPICCoalesce(t *testing.T) {
	a := enabled(t)
	a.writes(msrLVT, timerDeadline|0x40)
	a.writes(msrTSCDeadline, 1)
	a.writes(msrTSCDeadline, 1400)
	eq(t, "next while it is pending", a.Next(), never)
	a.clock.now = 300
	a.takes(0x40)
	a.writes(msrEOI, 0)
	a.takes()
}

// FuzzAPIC: any MSR accesses, pins and time. Each interrupt that is taken goes
// in service, and the timer never wants more than the guest asks for.
func FuzzAPIC(f *testing.F) {
	f.Add([]byte{0x0f, 1, 0xff, 0x3e, 0, 0x0b, 0x32, 2, 0x40, 0x38, 0, 1, 0xf2, 9, 9, 0xf1, 0, 0, 0x0b, 0, 0})
	f.Add([]byte{0x0f, 1, 0xff, 0x32, 4, 0x40, 0xf3, 9, 9, 0xf2, 1, 1, 0xf0, 0, 1, 0x35, 0x80, 0x33, 0x3f, 0, 3})
	f.Fuzz(func(t *testing.T, ops []byte) {
		a := newAPIC(t)
		for i := 0; i+2 < len(ops); i += 3 {
			op, v := ops[i], uint64(ops[i+1])<<8|uint64(ops[i+2])
			switch {
			case op == 0xf0:
				a.LINT0(v&1 != 0)
			case op == 0xf1:
				if vector, ok := a.Pending(); ok {
					a.Accept(vector)
					eq(t, "in service", a.service.has(vector), true)
				}
			case op == 0xf2:
				end := a.clock.now + int64(v)*100
				runTo(t, a.clock, a, end, 2+int(v)*100/shortest)
			case op == 0xf3:
				a.WriteMSR(msrTSCDeadline, 1000+2*uint64(a.clock.now)+v)
			case op == 0xf4:
				a.SetTaskPriority(uint8(v))
			case op >= 0x80:
				a.ReadMSR(0x800 + uint32(op&0x3f))
			default: // the mode bits of the timer are above the 16 of v
				index := 0x800 + uint32(op&0x3f)
				if index == msrLVT {
					v = v&0xff | v>>8&7<<16
				}
				a.WriteMSR(index, v)
			}
			eq(t, "vectors below 16", (a.requests[0]|a.service[0])&0xffff, 0)
			if a.ReadMSR(msrCurrent); a.clock.now > a.Next() {
				t.Fatalf("it is %d and something was to do at %d", a.clock.now, a.Next())
			}
		}
	})
}

package guest

import "math/bits"

// Counter 0 of the 8254 (Intel 8254 data sheet, order number 231164) is what the
// TSC is measured against.
const (
	pitCounter0 = 0x40
	pitControl  = 0x43

	pitOneShot   = 0x30 // counter 0, both bytes, mode 0, binary
	pitReadBack0 = 0xc2 // latch state and count of counter 0
	pitOut       = 0x80 // of the state: has counted to the end
	pitMax       = 0xffff

	// The counter counts 14318180/12 times in a second.
	pitCrystal = 14318180
	pitDivisor = 12

	// calibrationTicks is how long to measure, in ticks of the TSC: 10 ms at 2.5
	// GHz, and always less than the counter's 54 ms above 0.5 GHz.
	calibrationTicks = 25_000_000
	// calibrationBlur is how uncertain a measurement may be, and calibrationTries
	// how many are made to find one: who is not let run at an access to the
	// counter does not know when it was, and may miss the end of the count.
	calibrationBlur  = calibrationTicks / 64
	calibrationTries = 30
)

// interval is what a measurement found.
type interval struct {
	ticks  uint64 // of the TSC
	counts uint64 // of the counter
	blur   uint64 // ticks may be wrong by half of this
	over   bool   // the counter had counted to the end
}

// calibrate counts ticks of the TSC while the counter counts: the least uncertain
// of as many measurements as it takes.
func calibrate(measure func() interval) interval {
	best := interval{over: true}
	for range calibrationTries {
		m := measure()
		if !m.over && (best.over || m.blur < best.blur) {
			best = m
		}
		if !best.over && best.blur <= calibrationBlur {
			break
		}
	}
	return best
}

// measure takes one interval. The counter is started and read by one access each,
// and the TSC taken on both sides of it. Meanwhile the processor halts.
func measure() interval {
	out8(pitControl, pitOneShot)
	out8(pitCounter0, pitMax&0xff)
	before := rdtsc()
	out8(pitCounter0, pitMax>>8)
	start := rdtsc()
	writeMSR(msrTSCDeadline, start+calibrationTicks)
	for {
		v := halt()
		interrupted(v)
		if v == vectorTimer {
			break
		}
	}
	end := rdtsc()
	out8(pitControl, pitReadBack0)
	after := rdtsc()
	state := in8(pitCounter0)
	count := uint64(in8(pitCounter0))
	count |= uint64(in8(pitCounter0)) << 8
	return interval{
		ticks:  (end-before)/2 + (after-start)/2,
		counts: pitMax - count,
		blur:   start - before + after - end,
		over:   state&pitOut != 0,
	}
}

// nsPerTick is 32.32 fixed point.
func (m interval) nsPerTick() uint64 {
	ns := m.counts * pitDivisor * 1e9 // times pitCrystal
	ticks := m.ticks * pitCrystal
	if m.over || ns>>32 >= ticks {
		crash("the clock cannot be measured")
		return 0
	}
	q, _ := bits.Div64(ns>>32, ns<<32, ticks)
	return q
}

package guest

import "math/bits"

// Counter 0 of the 8254 (Intel 8254 data sheet, order number 231164) is what the
// TSC is measured against.
const (
	pitCounter0 = 0x40
	pitControl  = 0x43

	pitOneShot = 0x30 // counter 0, both bytes, mode 0, binary
	pitLatch0  = 0x00
	pitMax     = 0xffff

	// The counter counts 14318180/12 times in a second.
	pitCrystal = 14318180
	pitDivisor = 12

	// calibrationTicks is how long to measure, in ticks of the TSC: 10 ms at 2.5
	// GHz, and always less than the counter's 54 ms above 0.5 GHz.
	calibrationTicks = 25_000_000
)

// calibrate counts ticks of the TSC while the counter counts. The counter is
// started and read by one access each, and the TSC taken after it: what an access
// takes is in both and cancels out. Meanwhile the processor halts.
func calibrate() (ticks, counts uint64) {
	out8(pitControl, pitOneShot)
	out8(pitCounter0, pitMax&0xff)
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
	out8(pitControl, pitLatch0)
	ticks = rdtsc() - start
	counts = uint64(in8(pitCounter0))
	counts |= uint64(in8(pitCounter0)) << 8
	return ticks, pitMax - counts
}

// rates are ns per tick and ticks per ns, 32.32 fixed point.
func rates(ticks, counts uint64) (mult, perNS uint64) {
	ns := counts * pitDivisor * 1e9 // times pitCrystal
	ticks *= pitCrystal
	return ratio(ns, ticks), ratio(ticks, ns)
}

// ratio is a/b in 32.32 fixed point.
func ratio(a, b uint64) uint64 {
	hi, lo := a>>32, a<<32
	if hi >= b {
		crash("the timer does not count")
		return 0
	}
	q, _ := bits.Div64(hi, lo, b)
	return q
}

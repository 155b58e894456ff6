package guest

import (
	"math/rand/v2"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// ofSpeed is what a measurement finds on a processor of so many ticks a second.
func ofSpeed(hz uint64) interval {
	counts := uint64(calibrationTicks) * pitCrystal / pitDivisor / hz
	return interval{ticks: counts * pitDivisor * hz / pitCrystal, counts: counts}
}

// TestRates: a second is a second, for any processor.
func TestRates(t *testing.T) {
	for _, hz := range []uint64{500e6, 1e9, 2_100_000_000, 2_899_998_000, 5e9} {
		mult := ofSpeed(hz).nsPerTick()
		if got := scale(hz, mult); got < 1e9-1e5 || got > 1e9+1e5 {
			t.Errorf("%d Hz: a second is %d ns", hz, got)
		}
	}
}

// TestCalibration: a measurement that was held up counts only if there is no
// better one, and one that lasted longer than the counter counts never does.
func TestCalibration(t *testing.T) {
	good := interval{ticks: 1, blur: calibrationBlur}
	fair := interval{ticks: 2, blur: calibrationBlur + 1}
	poor := interval{ticks: 3, blur: calibrationTicks}
	over := interval{ticks: 4, over: true}
	for _, test := range []struct {
		list []interval
		want interval
		runs int
	}{
		{[]interval{good}, good, 1},
		{[]interval{poor, over, good, fair}, good, 3},
		{[]interval{poor, fair, poor, over}, fair, calibrationTries},
		{[]interval{over, poor, over}, poor, calibrationTries},
		{[]interval{over}, interval{over: true}, calibrationTries},
	} {
		runs := 0
		got := calibrate(func() interval {
			runs++
			return test.list[min(runs, len(test.list))-1]
		})
		if got != test.want || runs != test.runs {
			t.Errorf("%v: %v after %d runs", test.list, got, runs)
		}
	}
}

// TestTicksAt: when the timer has come, so has the time, and one tick before it had
// not.
func TestTicksAt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		c := hypercall.ClockInfo{TSCBase: r.Uint64() >> 2, NSBase: r.Uint64() >> 40, Mult: 1<<29 + r.Uint64()>>31}
		ns := int64(r.Uint64() >> (2 + r.UintN(50)))
		at := ticksAt(&c, ns)
		if ns <= int64(c.NSBase) {
			if at != c.TSCBase {
				t.Fatalf("%+v: %d ns are at %d", c, ns, at)
			}
			continue
		}
		clock := func(tsc uint64) int64 { return int64(c.NSBase + scale(tsc-c.TSCBase, c.Mult)) }
		if at != 1<<63-1 && (clock(at) < ns || clock(at-1) >= ns) {
			t.Fatalf("%+v: %d ns are at %d, when it is %d", c, ns, at, clock(at))
		}
	}
	if got := ticksAt(&hypercall.ClockInfo{Mult: 1 << 20}, 1<<62); got != 1<<63-1 {
		t.Errorf("a time that no TSC reaches is at %d", got)
	}
}

// Package device is the part of a PC that answers IN and OUT, and its local
// APIC, made from the data sheets. It knows neither KVM nor processors: a Bus
// takes port accesses, lines and callbacks join the devices, and time comes from
// a Clock, so that all of it runs in ordinary tests.
//
// Nothing here has a goroutine, a lock or a timer. A device computes what has
// happened since it was last looked at; Next says when it would do something by
// itself, and Update does it. Each access of the guest begins with an Update of
// its device, so a caller updates when Next has come and when a file of the host
// is ready. Next may change with every access and every interrupt that is taken.
//
// The guest is hostile: whatever it writes, an access takes bounded time and
// memory. Missed periods are computed, not made up one by one, and a period
// shorter than shortest makes Next no nearer than that.
package device

import (
	"math"
	"math/bits"
	"time"
)

// Line sets the level of an interrupt line.
type Line func(level bool)

// Clock is where time comes from.
type Clock interface {
	Now() int64      // monotonic, in ns, never backwards
	Wall() time.Time // what a clock on the wall shows
}

const (
	never    = math.MaxInt64 // what Next says when there is nothing to wait for
	second   = 1_000_000_000 // ns
	shortest = 20_000        // ns that Next leaves between two periods at least
)

// scale is v*mul/div rounded down, and math.MaxInt64 where that does not fit.
// A negative v counts as 0.
func scale(v int64, mul, div uint64) int64 {
	hi, lo := bits.Mul64(uint64(max(v, 0)), mul)
	return quotient(hi, lo, div)
}

// scaleUp is scale rounded up.
func scaleUp(v int64, mul, div uint64) int64 {
	hi, lo := bits.Mul64(uint64(max(v, 0)), mul)
	lo, carry := bits.Add64(lo, div-1, 0)
	return quotient(hi+carry, lo, div)
}

func quotient(hi, lo, div uint64) int64 {
	if hi >= div {
		return never
	}
	q, _ := bits.Div64(hi, lo, div)
	return int64(min(q, never))
}

// later is t+d without overflow, for d >= 0.
func later(t, d int64) int64 {
	if d > never-t {
		return never
	}
	return t + d
}

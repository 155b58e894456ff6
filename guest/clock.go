package guest

import (
	"math/bits"
	"sync/atomic"

	"github.com/pvrun/pvrun/hypercall"
)

type timespec struct{ sec, nsec int64 }

type timeval struct{ sec, usec int64 }

func rdtsc() uint64

// monotonic is the time since the machine was made, in ns.
func monotonic() int64 {
	ns, _ := readClock()
	return ns
}

// readClock reads the clock page: monotonic ns, and what to add for ns since
// 1970.
func readClock() (ns, wallOffset int64) {
	c := &Shared().Clock
	for {
		seq := atomic.LoadUint32(&c.Seq)
		if seq&1 != 0 {
			continue
		}
		ns := c.NSBase + scale(rdtsc()-c.TSCBase, c.Mult)
		offset := c.WallOffset
		if atomic.LoadUint32(&c.Seq) == seq {
			return int64(ns), offset
		}
	}
}

// scale is ticks*mult>>32.
func scale(ticks, mult uint64) uint64 {
	hi, lo := bits.Mul64(ticks, mult)
	return hi<<32 | lo>>32
}

// Monotonic is the time since the machine was made, in ns. No exit.
func Monotonic() int64 { return monotonic() }

// Wall is the time since 1970, in ns. No exit.
func Wall() int64 {
	ns, offset := readClock()
	return ns + offset
}

// after is the monotonic time at which a relative timeout is over.
func after(ts *timespec) int64 {
	if ts.sec > 1<<32 {
		return hypercall.Forever
	}
	return monotonic() + ts.sec*1e9 + ts.nsec
}

// MainStarting notes that main.main is about to run, for the host's statistics.
func MainStarting() { atomic.StoreUint64(&Shared().MainTSC, rdtsc()) }

func afterMS(ms int32) int64 {
	if ms < 0 {
		return hypercall.Forever
	}
	return monotonic() + int64(ms)*1e6
}

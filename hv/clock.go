package hv

import (
	"math/bits"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// rdtsc reads the host's time-stamp counter.
func rdtsc() uint64

// clock keeps the guest's monotonic clock, which runs on the TSC without any
// exit, in step with the host's. It begins near zero when the machine is made.
type clock struct {
	tsc    engine.TSC
	mult   uint64 // ns per tick by the stated frequency, 32.32 fixed point
	epoch  int64  // host CLOCK_MONOTONIC at guest time 0
	params hypercall.ClockInfo
	out    *hypercall.ClockInfo
	next   int64 // guest ns at which adjust has work again
	begun  int64 // guest ns at the first entry
}

const (
	adjustEvery = 500_000_000 // ns between two looks at the host's clock
	maxSlew     = 500         // parts per million by which the guest's clock is bent
)

func (c *clock) init(tsc engine.TSC, out *hypercall.ClockInfo) {
	c.tsc, c.out = tsc, out
	hi, lo := uint64(1e9)>>32, uint64(1e9)<<32
	c.mult, _ = bits.Div64(hi, lo, tsc.Hz)
	c.epoch = hostMonotonic() - 1
	c.params = hypercall.ClockInfo{TSCBase: rdtsc() + tsc.Offset, NSBase: 1, Mult: c.mult, WallOffset: hostClock(unix.CLOCK_REALTIME) - 1}
	c.publish()
}

// resume begins where another clock stood, at ns.
func (c *clock) resume(tsc engine.TSC, out *hypercall.ClockInfo, ns int64) {
	out.Seq = 0
	c.next = 0
	c.init(tsc, out)
	c.epoch -= ns
	c.params.NSBase += uint64(ns)
	c.params.WallOffset -= ns
	c.publish()
}

// at is the guest's time at one reading of its TSC, in ns. Readings from before
// the last adjustment are taken at today's rate.
func (c *clock) at(tsc uint64) int64 {
	if tsc < c.params.TSCBase {
		return int64(c.params.NSBase) - scale(c.params.TSCBase-tsc, c.params.Mult)
	}
	return int64(c.params.NSBase) + scale(tsc-c.params.TSCBase, c.params.Mult)
}

// scale is ticks*mult>>32.
func scale(ticks, mult uint64) int64 {
	hi, lo := bits.Mul64(ticks, mult)
	return int64(hi<<32 | lo>>32)
}

// now is the guest's monotonic time, in ns.
func (c *clock) now() int64 { return c.at(rdtsc() + c.tsc.Offset) }

// adjust bends the guest's clock towards the host's so that they meet at the
// next look, never backwards, and ahead by a jump only after the host has slept.
// It is called while the guest is out anyway.
func (c *clock) adjust() {
	if tsc := rdtsc() + c.tsc.Offset; c.at(tsc) >= c.next {
		c.steer(tsc, hostMonotonic()-c.epoch)
	}
}

// steer is adjust at one reading of the guest's TSC and of the host's clock,
// in ns since the epoch.
func (c *clock) steer(tsc uint64, host int64) {
	now := c.at(tsc)
	behind := host - now
	const limit = adjustEvery / 1_000_000 * maxSlew
	if behind > 100*limit { // the host slept: the guest's clock may jump ahead
		now += behind
		behind = 0
	}
	behind = max(-limit, min(limit, behind))
	c.params.TSCBase, c.params.NSBase = tsc, uint64(now)
	c.params.Mult = uint64(int64(c.mult) + int64(c.mult)*behind/adjustEvery)
	c.params.WallOffset = hostClock(unix.CLOCK_REALTIME) - now
	c.next = now + adjustEvery
	c.publish()
}

// straighten ends a bend, before a wait that may be much longer than what it was
// meant for.
func (c *clock) straighten() {
	tsc := rdtsc() + c.tsc.Offset
	c.params.NSBase = uint64(c.at(tsc))
	c.params.TSCBase, c.params.Mult = tsc, c.mult
	c.publish()
}

// publish writes the parameters under their sequence counter.
func (c *clock) publish() {
	seq := c.params.Seq
	atomic.StoreUint32(&c.out.Seq, seq+1)
	atomic.StoreUint64(&c.out.TSCBase, c.params.TSCBase)
	atomic.StoreUint64(&c.out.NSBase, c.params.NSBase)
	atomic.StoreUint64(&c.out.Mult, c.params.Mult)
	atomic.StoreInt64(&c.out.WallOffset, c.params.WallOffset)
	c.params.Seq = seq + 2
	atomic.StoreUint32(&c.out.Seq, seq+2)
}

func hostMonotonic() int64 { return hostClock(unix.CLOCK_MONOTONIC) }

func hostClock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // cannot fail for these clocks
	return ts.Nano()
}

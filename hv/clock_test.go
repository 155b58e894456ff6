package hv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// TestClockSteer runs a guest's clock on a counter that is faster or slower
// than it says, beside the host's.
func TestClockSteer(t *testing.T) {
	for _, ppm := range []int64{0, 1, -1, 50, -50, 400, -400, 2000, -2000} {
		t.Run(fmt.Sprint(ppm), func(t *testing.T) { clockSteer(t, ppm) })
	}
}

func clockSteer(t *testing.T, ppm int64) {
	var out hypercall.ClockInfo
	var c clock
	c.init(testTSC, &out)
	base := c.params.TSCBase
	r := rand.New(rand.NewPCG(uint64(ppm+5000), 2))
	tick := func(host int64) uint64 { return base + uint64(2*(host+host/1_000_000*ppm)) }
	host, last := int64(1), int64(0)
	for range 4000 {
		host += r.Int64N(40_000_000)
		tsc := tick(host)
		before := c.at(tsc)
		if before < last {
			t.Fatalf("%d ns after start: the clock went from %d back to %d", host, last, before)
		}
		if before >= c.next {
			c.steer(tsc, host)
			if after := c.at(tsc); after < before {
				t.Fatalf("%d ns after start: steering took the clock from %d back to %d", host, before, after)
			}
			if out.Seq&1 != 0 || out.TSCBase != c.params.TSCBase || out.NSBase != c.params.NSBase || out.Mult != c.params.Mult {
				t.Fatalf("the guest reads %+v, the host means %+v", out, c.params)
			}
		}
		last = c.at(tsc)
	}
	off := last - host
	if limit := int64(1_000_000); -maxSlew < ppm && ppm < maxSlew && (off > limit || off < -limit) {
		t.Errorf("after %d s the guest's clock is off by %d ns", host/1e9, off)
	}
}

// TestClockJump: a host that slept takes the guest's clock along at once.
func TestClockJump(t *testing.T) {
	var out hypercall.ClockInfo
	var c clock
	c.init(testTSC, &out)
	tsc := c.params.TSCBase + 2*1_000_000_000
	c.steer(tsc, 3600_000_000_000)
	if got := c.at(tsc); got != 3600_000_000_000 {
		t.Errorf("after an hour's sleep the clock says %d", got)
	}
	tsc += 2 * 1_000_000_000
	before := c.at(tsc)
	c.steer(tsc, 10_000_000_000) // and never back
	if after := c.at(tsc + 1); after < before {
		t.Errorf("the clock went from %d back to %d", before, after)
	}
}

// TestClockNow: the real clocks agree when the counter's frequency is right
// enough, and time passes.
func TestClockNow(t *testing.T) {
	var out hypercall.ClockInfo
	var c clock
	c.init(testTSC, &out)
	a := c.now()
	c.next = 0
	c.adjust()
	if b := c.now(); b < a {
		t.Errorf("the clock went from %d back to %d", a, b)
	}
	if wall := hostClock(0); wall-(c.now()+c.params.WallOffset) > 60e9 {
		t.Errorf("wall clock %d, the guest's is %d", wall, c.now()+c.params.WallOffset)
	}
}

package guest

import (
	"math/bits"

	"github.com/pvrun/pvrun/hypercall"
)

// The local APIC in x2APIC mode (Intel SDM volume 3A, "Advanced Programmable
// Interrupt Controller (APIC)"). Its timer counts in TSC-deadline mode, and the
// 8259A pair comes through LINT0.
const (
	msrEOI         = 0x80b
	msrSVR         = 0x80f
	msrLVTTimer    = 0x832
	msrLINT0       = 0x835
	msrTSCDeadline = 0x6e0

	svrEnable   = 1 << 8
	timerTSC    = 2 << 17
	deliverExt  = 7 << 8
	timerMargin = 1000 // ns, so that the clock has passed what the timer was set to
)

// apicTimer is what the timer was last told; owned by the vCPU.
var apicTimer struct {
	armed int64  // monotonic ns; Forever when it will not interrupt
	perNS uint64 // TSC ticks per ns, 32.32 fixed point
}

func initAPIC() {
	apicTimer.armed = hypercall.Forever
	writeMSR(msrSVR, svrEnable|vectorSpurious)
	writeMSR(msrLVTTimer, timerTSC|vectorTimer)
	writeMSR(msrLINT0, deliverExt)
}

// armTimer has the timer interrupt at a deadline, or earlier: it is told only of
// a deadline before the one that it knows.
func armTimer(deadline int64) {
	if deadline >= apicTimer.armed {
		return
	}
	apicTimer.armed = deadline
	writeMSR(msrTSCDeadline, ticksAt(deadline+timerMargin))
}

// timerInterrupted acknowledges it.
func timerInterrupted() {
	apicTimer.armed = hypercall.Forever
	writeMSR(msrEOI, 0)
}

// ticksAt is the TSC at a monotonic time, which may be past.
func ticksAt(ns int64) uint64 {
	c := &Shared().Clock
	if ns <= int64(c.NSBase) {
		return 1
	}
	hi, lo := bits.Mul64(uint64(ns)-c.NSBase, apicTimer.perNS)
	if hi >= 1<<31 {
		return 1<<63 - 1
	}
	return c.TSCBase + (hi<<32 | lo>>32)
}

// nextTick is a deadline for a thread that runs, put off to a tick of which
// there is one each TickNS: what waits for the time is then told together, and
// never more often.
func nextTick(deadline int64) int64 {
	return (deadline/hypercall.TickNS + 1) * hypercall.TickNS
}

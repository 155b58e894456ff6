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

	svrEnable  = 1 << 8
	timerTSC   = 2 << 17
	deliverExt = 7 << 8
)

// apicTimer is what the timer was last told; owned by the vCPU.
var apicTimer struct {
	armed int64 // monotonic ns; Forever when it will not interrupt
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
	writeMSR(msrTSCDeadline, ticksAt(&Shared().Clock, deadline))
}

// timerInterrupted acknowledges it.
func timerInterrupted() {
	apicTimer.armed = hypercall.Forever
	writeMSR(msrEOI, 0)
}

// ticksAt is the first TSC at which a clock has reached a monotonic time, which
// may be past.
func ticksAt(c *hypercall.ClockInfo, ns int64) uint64 {
	if ns <= int64(c.NSBase) {
		return c.TSCBase
	}
	n := uint64(ns) - c.NSBase
	if n>>32 >= c.Mult {
		return 1<<63 - 1
	}
	q, rest := bits.Div64(n>>32, n<<32, c.Mult)
	if rest != 0 {
		q++
	}
	return c.TSCBase + q
}

// nextTick is a deadline for a thread that runs, put off to a tick of which
// there is one each TickNS: what waits for the time is then told together, and
// never more often.
func nextTick(deadline int64) int64 {
	return (deadline/hypercall.TickNS + 1) * hypercall.TickNS
}

package pool

import (
	"context"
	"errors"

	"github.com/pvrun/pvrun/hv"
)

// Outcome is what has become of an invocation, in a word.
type Outcome string

// Outcomes.
const (
	OK        Outcome = "ok"
	Failed    Outcome = "failed"    // the program's handler answered with an error
	TimedOut  Outcome = "timeout"   // while it ran
	Ended     Outcome = "ended"     // the program did, in place of answering
	Broken    Outcome = "broken"    // its answer to a request was none, or half of one
	Fault     Outcome = "fault"     // the guest failed outside its program, or the message has no room, or the machine was lost
	Cancelled Outcome = "cancelled" // nobody waits for the answer
	Busy      Outcome = "busy"      // too many wait, or it has waited too long
	NotReady  Outcome = "notready"
	Host      Outcome = "host" // the host could not do something
)

// Outcomes are all there are.
var Outcomes = []Outcome{OK, Failed, TimedOut, Ended, Broken, Fault, Cancelled, Busy, NotReady, Host}

func outcome(r *Result) Outcome {
	var ended *hv.EndedError
	var fault *hv.GuestFault
	var answer *AnswerError
	switch err := r.Err; {
	case err == nil && r.Response.Failed:
		return Failed
	case err == nil:
		return OK
	case errors.Is(err, ErrTimeout):
		return TimedOut
	case errors.As(err, &ended):
		return Ended
	case errors.As(err, &fault), errors.Is(err, hv.ErrMemory), errors.Is(err, ErrLost):
		return Fault
	case errors.Is(err, ErrBusy), errors.Is(err, ErrLate):
		return Busy
	case errors.Is(err, ErrNotReady), errors.Is(err, ErrClosed), errors.Is(err, ErrChanged), errors.Is(err, errKilled):
		return NotReady
	case errors.Is(err, context.Canceled):
		return Cancelled
	case errors.As(err, &answer):
		return Broken
	}
	return Host
}

// Counts are what a function has done.
type Counts struct {
	Outcomes   map[Outcome]uint64
	Cold, Warm uint64            // invocations that ran: whether a clone was made for them
	Made       uint64            // clones
	Closed     uint64            // clones
	Exits      map[string]uint64 // of vCPUs, by reason
}

func (c *Counts) count(r *Result) {
	if c.Outcomes == nil {
		c.Outcomes = map[Outcome]uint64{}
	}
	c.Outcomes[r.Outcome]++
	switch r.Outcome {
	case Busy, NotReady:
	default:
		if r.Cold {
			c.Cold++
		} else {
			c.Warm++
		}
	}
}

package pool

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"
)

// session is a clone at work for requests, of which it may have several at a time. Its
// machine runs from the first on until the last has left and the program has nothing to
// do any more. It holds one turn.
type session struct {
	clone *clone
	since time.Time
	ctx   context.Context // of the machine's work
	end   context.CancelCauseFunc

	wait   context.Context // for a turn
	giveUp context.CancelFunc
	settle *time.Timer // when all have left

	runs chan struct{} // closed: the machine does
	done chan struct{} // closed: all have left
	over chan struct{} // closed: it does not run any more
	err  error         // then: why

	// Of the function's lock:
	ending bool // done is closed
	bad    bool // it takes no more requests
}

// Causes of the end of a machine's work.
var (
	errUnanswered = errors.New("a request was not answered")
	errStillBusy  = errors.New("the program has work when its requests are over")
	errKilled     = errors.New("the function is taken away")
)

// settleTime is how long a program may work on when its last request is over, unless it
// has state that would be lost.
const settleTime = time.Second

func (f *Function) settleTime() time.Duration {
	if f.limits.Reuse {
		return max(settleTime, f.limits.Grace)
	}
	return settleTime
}

// slice is after how long a session makes way when another function waits for a turn.
const slice = 100 * time.Millisecond

// places is how many requests a clone takes at a time. The lock is held.
func (f *Function) places(v *version) int {
	if v.contract != HTTP || !f.limits.Reuse {
		return 1
	}
	return max(1, f.limits.Concurrency)
}

// room says whether a clone at work takes another request. The lock is held.
func (f *Function) room(c *clone) bool {
	s := c.session
	if s == nil || s.bad || s.ending || f.closed || c.of != f.current || !f.limits.Reuse || c.users >= f.places(c.of) {
		return false
	}
	return time.Since(s.since) < slice || !f.turns.wanted()
}

// roomy is the clone at work that has the most room for another request. The lock is
// held.
func (f *Function) roomy() (best *clone) {
	if f.current == nil || f.places(f.current) == 1 {
		return nil
	}
	for _, c := range f.working {
		if f.room(c) && (best == nil || c.users < best.users) {
			best = c
		}
	}
	return best
}

// begin begins a session. The lock is held.
func (f *Function) begin(c *clone) {
	s := &session{
		clone: c, since: time.Now(),
		runs: make(chan struct{}), done: make(chan struct{}), over: make(chan struct{}),
	}
	s.ctx, s.end = context.WithCancelCause(f.ctx)
	s.wait, s.giveUp = context.WithCancel(s.ctx)
	c.session = s
	f.working = append(f.working, c)
	go f.attend(s)
}

// attend runs the machine as long as there are requests.
func (f *Function) attend(s *session) {
	c := s.clone
	ran := f.turns.take(s.wait) == nil
	if ran {
		close(s.runs)
		s.err = c.machine.RunUntil(s.ctx, s.done)
	}
	close(s.over)
	f.mu.Lock()
	s.bad = true
	f.mu.Unlock()
	if ran && s.err != nil {
		s.end(s.err) // who is there yet hears of it
	}
	<-s.done
	s.settle.Stop()
	s.end(nil)
	s.giveUp()
	c.output.End()
	f.finish(s, ran)
}

// part ends a request's use of a clone. One that is used as it is goes on when a client
// has left, and has no more requests before it has come to rest when one took too long.
func (f *Function) part(c *clone, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unseat(c)
	s := c.session
	if errors.Is(why, ErrTimeout) {
		s.bad = true
	}
	f.fill(c, false)
	if c.users > 0 {
		return
	}
	if why != nil && !f.limits.Reuse {
		s.end(errUnanswered)
	}
	s.ending = true
	s.settle = time.AfterFunc(f.settleTime(), func() { s.end(errStillBusy) })
	close(s.done)
	s.giveUp()
	f.working = slices.DeleteFunc(f.working, func(other *clone) bool { return other == c })
	f.busy--
	f.rewinding++
	f.grow()
}

// finish has the clone of a session that is over made ready, or taken away.
func (f *Function) finish(s *session, ran bool) {
	c := s.clone
	f.mu.Lock()
	c.session = nil
	c.used, c.broken = c.used || ran, s.err != nil
	reuse, drop := f.limits.Reuse, f.limits.Fresh && !f.limits.Reuse || c.broken || c.told
	if ran && !drop {
		f.mu.Unlock()
		f.renew(c, reuse)
		return
	}
	defer f.mu.Unlock()
	f.rewinding--
	if !ran {
		f.offer(c, false)
		return
	}
	f.turns.give()
	f.drop(c)
	f.grow()
}

// terminate asks the program to end, and gives it time for that.
func (f *Function) terminate(c *clone, grace time.Duration) {
	ctx, cancel := context.WithTimeout(f.ctx, grace)
	defer cancel()
	if f.turns.take(ctx) != nil {
		return
	}
	defer f.turns.give()
	c.output.Begin("end")
	defer c.output.End()
	if !c.told {
		c.machine.Signal(syscall.SIGTERM)
	}
	_ = c.machine.RunUntil(ctx, nil) // it has ended, or its time is over
}

// Terminate asks the programs that have requests to end, when what is left of them is
// long: they get SIGTERM. It is only for clones that are used as they are.
func (f *Function) Terminate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.limits.Reuse {
		return
	}
	for _, c := range f.working {
		if !c.told {
			c.told, c.session.bad = true, true
			c.machine.Signal(syscall.SIGTERM)
		}
	}
}

// Kill ends all requests that are under way, and does not wait for programs that were
// asked to end. Messages end by their context.
func (f *Function) Kill() { f.kill(errKilled) }

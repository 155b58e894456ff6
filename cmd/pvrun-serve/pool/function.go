package pool

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// Limits are what a function may have. They can be changed while it works.
type Limits struct {
	Reuse   bool          // a clone goes on to the next invocation as it is
	Fresh   bool          // a clone is closed after each, and not rewound
	Timeout time.Duration // of an invocation, or until its answer begins, and of waiting for its turn; 0 is never
	Min     int           // clones that are there without demand
	Max     int           // clones at the most, 1 at the least
	Queue   int           // invocations that may wait when Max are under way
	Idle    time.Duration // after which clones beyond Min are closed; 0 is never

	Concurrency int           // requests that a clone has at once, with Reuse; 1 when 0
	Grace       time.Duration // for a program that was asked to end, with Reuse
}

// Errors of invocations that have not run.
var (
	ErrBusy     = errors.New("too many invocations wait already")
	ErrLate     = errors.New("waited too long for others to end")
	ErrNotReady = errors.New("the function is not ready")
	ErrClosed   = errors.New("the function is being taken away")
	ErrChanged  = errors.New("the function has changed")
)

// ErrTimeout is the cause when an invocation has taken too long.
var ErrTimeout = errors.New("time-out")

// ErrSpent is of Machine.Invoke: there is a response, but the machine is of no more use.
var ErrSpent = errors.New("the program has answered, and did not come to rest")

// Function is a program of which clones answer messages. All methods may be called
// from any goroutine.
type Function struct {
	turns   *party
	output  func() Output
	trouble func(error)
	ctx     context.Context // of all requests
	kill    context.CancelCauseFunc

	mu      sync.Mutex
	limits  Limits
	current *version // nil: not ready
	closed  bool
	present int // invocations that wait or run
	queue   []*waiter
	ready   []*clone // the youngest last
	working []*clone // that have sessions
	counts  Counts
	memory  int64 // of clones, when they were last looked at

	clones, making, busy, rewinding, closing int // clones is all but those closing

	running int // invocations that have a clone

	gone *sync.Cond // clones or versions have become fewer
	open int        // versions that are not closed
}

// version is what was booted at one time, and its clones.
type version struct {
	source   Source
	contract Contract
	users    int // clones, and the function while it is the current one
}

type waiter struct {
	got chan handed // of 1
}

// handed is what a waiter gets.
type handed struct {
	clone *clone
	cold  bool // it was made for it
	err   error
}

// New makes a function that is not ready. output is called for each clone, trouble with
// each error of the host's; it must not wait, nor call the function.
func New(limits Limits, turns *Turns, output func() Output, trouble func(error)) *Function {
	f := &Function{limits: limits, turns: turns.join(), output: output, trouble: trouble}
	f.counts.Exits = map[string]uint64{}
	f.gone = sync.NewCond(&f.mu)
	f.ctx, f.kill = context.WithCancelCause(context.Background())
	return f
}

// SetLimits changes the limits.
func (f *Function) SetLimits(limits Limits) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limits.Reuse && !limits.Reuse {
		f.dropReady() // they are not as they were made
	}
	f.limits = limits
	f.trim(time.Time{})
	f.grow()
}

// Ready says whether the function has had a Source.
func (f *Function) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current != nil && !f.closed
}

// Contract says how the program gets its work; ok is whether that is known.
func (f *Function) Contract() (c Contract, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil {
		return 0, false
	}
	return f.current.contract, true
}

// Result is what has become of an invocation.
type Result struct {
	Response hv.Response
	Err      error // why there is no response
	Outcome  Outcome
	Cold     bool          // a clone was made for it
	Waited   time.Duration // for a clone and for the turn to run
	Ran      time.Duration
}

// Invoke has a clone answer a message; id is for what it writes. When ctx ends the
// invocation does, and its clone. The clone is made ready for the next one after Invoke
// has returned.
func (f *Function) Invoke(ctx context.Context, id string, message []byte) (r Result) {
	begin := time.Now()
	timeout, err := f.enter()
	if err == nil {
		f.invoke(ctx, id, message, timeout, &r)
	} else {
		r.Err = err
	}
	r.Ran = max(0, time.Since(begin)-r.Waited)
	f.leave(&r)
	return r
}

func (f *Function) invoke(ctx context.Context, id string, message []byte, timeout time.Duration, r *Result) {
	begin := time.Now()
	c, cold, err := f.take(ctx, timeout)
	r.Waited, r.Cold, r.Err = time.Since(begin), cold, err
	if err != nil {
		return
	}
	if timeout > 0 {
		limited, stop := context.WithTimeoutCause(ctx, timeout, ErrTimeout)
		defer stop()
		ctx = limited
	}
	c.output.Begin(id)
	r.Response, r.Err = c.machine.Invoke(ctx, id, message)
	c.output.End()
	rests := r.Err == nil
	if errors.Is(r.Err, ErrSpent) {
		r.Err = nil
	}
	f.did(c, rests)
}

// enter counts an invocation, if it may be one of those that are there.
func (f *Function) enter() (timeout time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.present++
	switch {
	case f.closed:
		err = ErrClosed
	case f.current == nil:
		err = ErrNotReady
	case f.present > f.limits.Max*f.places(f.current)+f.limits.Queue:
		err = ErrBusy
	}
	return f.limits.Timeout, err
}

// leave counts the invocation, which is over.
func (f *Function) leave(r *Result) {
	r.Outcome = outcome(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.present--
	f.counts.count(r)
	f.gone.Broadcast()
}

// Swap makes clones of another source from now on. The old one is closed when the last
// invocation on a clone of it has ended.
func (f *Function) Swap(s Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	v := &version{source: s, contract: s.Contract(), users: 1}
	if f.closed {
		f.release(v)
		return
	}
	f.dropReady()
	f.release(f.current)
	f.current = v
	f.grow()
}

// Close takes the function away when its invocations have ended; those that wait for a
// clone end at once. It returns when nothing is left.
func (f *Function) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	for _, w := range f.queue {
		w.got <- handed{err: ErrClosed}
	}
	f.queue = nil
	f.dropReady()
	f.release(f.current)
	f.current = nil
	for f.clones+f.closing+f.open+f.present > 0 {
		f.gone.Wait()
	}
	f.turns.leave()
}

// release ends one use of a version. The lock is held.
func (f *Function) release(v *version) {
	if v == nil {
		return
	}
	if v.users--; v.users > 0 {
		return
	}
	go func() {
		err := v.source.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		if err != nil {
			f.trouble(err)
		}
		f.open--
		f.gone.Broadcast()
	}()
}

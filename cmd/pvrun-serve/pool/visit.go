package pool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// Work is what is done with a program while it has a request: to has it answer, until
// Work returns. failed is that the program says that it has failed; err is why there is
// no answer, or half of one.
type Work func(ctx context.Context, to http.RoundTripper) (failed bool, err error)

// Visit has a clone answer a request; id is for what it writes. Limits.Timeout is for the
// answer to begin. ctx ends, of Work's too, when the client's does, when that time is
// over, and when the machine has ended.
func (f *Function) Visit(ctx context.Context, id string, work Work) (r Result) {
	begin := time.Now()
	defer func() { // where work panics, too
		r.Ran = max(0, time.Since(begin)-r.Waited)
		f.leave(&r)
	}()
	timeout, err := f.enter()
	if err != nil {
		r.Err = err
		return r
	}
	f.visit(ctx, id, timeout, work, &r)
	return r
}

func (f *Function) visit(ctx context.Context, id string, timeout time.Duration, work Work, r *Result) {
	begin := time.Now()
	c, cold, err := f.join(ctx, id, timeout)
	r.Waited, r.Cold, r.Err = time.Since(begin), cold, err
	if err != nil {
		return
	}
	s := c.session
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	to := &visitor{machine: c.machine}
	if timeout > 0 {
		to.timer = time.AfterFunc(timeout, func() { cancel(ErrTimeout) })
		defer to.timer.Stop()
	}
	r.Err = errUnanswered // if work panics
	defer func() { f.part(c, r.Err) }()
	r.Response.Failed, err = work(ctx, to)
	r.Err = s.reason(ctx, err)
}

// join waits for a place at a clone that runs.
func (f *Function) join(ctx context.Context, id string, timeout time.Duration) (c *clone, cold bool, err error) {
	if timeout > 0 {
		limited, stop := context.WithTimeoutCause(ctx, timeout, ErrLate)
		defer stop()
		ctx = limited
	}
	c, cold, err = f.clone(ctx, true)
	if err != nil {
		return nil, cold, err
	}
	s := c.session
	f.mu.Lock()
	if f.places(c.of) > 1 {
		id = ""
	}
	f.mu.Unlock()
	c.output.Begin(id)
	select {
	case <-s.runs:
		return c, cold, nil
	case <-s.over:
		err = ErrClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	f.part(c, nil)
	return nil, cold, err
}

// visitor is who a Work sends its request to.
type visitor struct {
	machine Machine
	timer   *time.Timer // until the answer begins
}

func (v *visitor) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := v.machine.RoundTrip(r)
	if err == nil && v.timer != nil {
		v.timer.Stop()
	}
	return a, err
}

// reason is the error of a request that err has ended.
func (s *session) reason(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, hv.ErrOver) {
		select {
		case <-s.over:
		case <-ctx.Done():
		}
	}
	select {
	case <-s.over:
		if s.err != nil {
			return s.err
		}
	default:
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.Canceled):
		return err
	}
	return &AnswerError{err}
}

// AnswerError is a program that runs and has not answered a request, or not to the end,
// or not in HTTP.
type AnswerError struct{ Err error }

func (e *AnswerError) Error() string { return fmt.Sprintf("the program's answer: %v", e.Err) }
func (e *AnswerError) Unwrap() error { return e.Err }

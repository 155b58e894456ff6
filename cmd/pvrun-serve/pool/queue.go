package pool

import (
	"context"
	"slices"
	"time"
)

// take waits for a clone and for the turn to run it.
func (f *Function) take(ctx context.Context, timeout time.Duration) (c *clone, cold bool, err error) {
	if timeout > 0 {
		limited, stop := context.WithTimeoutCause(ctx, timeout, ErrLate)
		defer stop()
		ctx = limited
	}
	if c, cold, err = f.clone(ctx, false); err != nil {
		return nil, cold, err
	}
	if err := f.turns.take(ctx); err != nil {
		f.put(c)
		return nil, cold, err
	}
	return c, cold, nil
}

// clone waits for a clone, or for a place at one: of contract HTTP, or of another.
func (f *Function) clone(ctx context.Context, http bool) (c *clone, cold bool, err error) {
	c, w := f.get()
	if w != nil {
		if c, cold, err = f.wait(ctx, w); err != nil {
			return nil, cold, err
		}
	}
	if is := c.of.contract == HTTP; is != http {
		if is {
			f.part(c, nil)
		} else {
			f.put(c)
		}
		return nil, cold, ErrChanged
	}
	return c, cold, nil
}

// get gets a clone that is ready, or a place in the queue.
func (f *Function) get() (*clone, *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.free(); c != nil {
		f.seat(c)
		f.grow()
		return c, nil
	}
	w := &waiter{make(chan handed, 1)}
	if f.closed {
		w.got <- handed{err: ErrClosed}
		return nil, w
	}
	f.queue = append(f.queue, w)
	f.grow()
	return nil, w
}

// free is a clone for one more invocation, if there is one. The lock is held.
func (f *Function) free() *clone {
	if c := f.roomy(); c != nil {
		return c
	}
	for n := len(f.ready); n > 0; n = len(f.ready) {
		c := f.ready[n-1]
		f.ready = f.ready[:n-1]
		if !c.lost() {
			return c
		}
		f.drop(c)
	}
	return nil
}

// wait waits until it is w's turn to have a clone.
func (f *Function) wait(ctx context.Context, w *waiter) (*clone, bool, error) {
	var h handed
	select {
	case h = <-w.got:
	case <-ctx.Done():
		if f.giveUp(w) {
			return nil, false, context.Cause(ctx)
		}
		h = <-w.got // it came first
	}
	return h.clone, h.cold, h.err
}

// giveUp leaves the queue.
func (f *Function) giveUp(w *waiter) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.queue, w)
	if i < 0 {
		return false
	}
	f.queue = slices.Delete(f.queue, i, i+1)
	return true
}

// hand gives the first that waits what it gets. The lock is held.
func (f *Function) hand(h handed) bool {
	if len(f.queue) == 0 {
		return false
	}
	w := f.queue[0]
	f.queue = slices.Delete(f.queue, 0, 1)
	if h.clone != nil {
		f.seat(h.clone)
	}
	w.got <- h
	return true
}

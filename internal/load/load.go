// Package load sends many messages to workers and tells how it went: how many a
// second, how long each took, and how many exits.
package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Worker answers messages, one at a time.
type Worker interface {
	// Prepare makes ready for the next message. What it takes is in no latency.
	Prepare() error
	// Invoke has one message answered. A *Failure counts as one; another error ends
	// the run.
	Invoke(ctx context.Context) error
	Close() error
}

// Failure is a message that has no good answer.
type Failure struct {
	Kind string // one of a few words
	Err  error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Result is how it went.
type Result struct {
	Latencies []time.Duration  // of the messages with a good answer, in no order
	Failures  map[string]int   // the others, by kind
	First     map[string]error // the first that a worker has met of each kind
	Elapsed   time.Duration    // from the first message to the last answer
}

// Run sends count messages to the workers, each of which takes the next when it has
// answered one. All have prepared before the first. It closes the workers.
func Run(ctx context.Context, count int, workers []Worker) (Result, error) {
	var all errgroup.Group
	for _, w := range workers {
		all.Go(w.Prepare)
	}
	var res Result
	err := all.Wait()
	if err == nil {
		res, err = send(ctx, count, workers)
	}
	return res, closeAll(workers, err)
}

func send(ctx context.Context, count int, workers []Worker) (Result, error) {
	var taken atomic.Int64
	next := func() bool { return taken.Add(1) <= int64(count) }
	all, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	var res Result
	begun := time.Now()
	for _, w := range workers {
		all.Go(func() error {
			part, err := serve(ctx, w, next)
			mu.Lock()
			defer mu.Unlock()
			res.add(part)
			return err
		})
	}
	err := all.Wait()
	res.Elapsed = time.Since(begun)
	return res, err
}

// serve is one worker's part.
func serve(ctx context.Context, w Worker, next func() bool) (res Result, err error) {
	for prepared := true; next(); prepared = false {
		if ctx.Err() != nil {
			return res, context.Cause(ctx)
		}
		if !prepared {
			if err := w.Prepare(); err != nil {
				return res, err
			}
		}
		begun := time.Now()
		err := w.Invoke(ctx)
		if err := res.count(time.Since(begun), err); err != nil {
			return res, err
		}
	}
	return res, nil
}

// count adds one message; it returns an error that is no failure of the message's.
func (r *Result) count(took time.Duration, err error) error {
	if err == nil {
		r.Latencies = append(r.Latencies, took)
		return nil
	}
	f, ok := err.(*Failure)
	if !ok {
		return err
	}
	r.add(Result{Failures: map[string]int{f.Kind: 1}, First: map[string]error{f.Kind: f.Err}})
	return nil
}

func (r *Result) add(part Result) {
	r.Latencies = append(r.Latencies, part.Latencies...)
	if r.Failures == nil {
		r.Failures, r.First = map[string]int{}, map[string]error{}
	}
	for kind, n := range part.Failures {
		r.Failures[kind] += n
		if r.First[kind] == nil {
			r.First[kind] = part.First[kind]
		}
	}
}

func closeAll(workers []Worker, err error) error {
	for _, w := range workers {
		if e := w.Close(); err == nil {
			err = e
		}
	}
	return err
}

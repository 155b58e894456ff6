// Package logs is for what is written about functions, and by them. Nobody waits for
// the file that it goes to: what does not fit into bounded queues is dropped, counted,
// and that is said.
package logs

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// depth is how many records may wait to be written.
const depth = 4096

// Queue is a slog.Handler that has another one write, and does not wait for it.
type Queue struct {
	to slog.Handler
	*queue
}

type queue struct {
	records chan record
	lost    atomic.Uint64
	ending  chan struct{} // closed: what waits is the last
	ended   chan struct{}
}

type record struct {
	to slog.Handler
	slog.Record
}

// NewQueue begins to write to a handler.
func NewQueue(to slog.Handler) *Queue {
	q := &Queue{to, &queue{records: make(chan record, depth), ending: make(chan struct{}), ended: make(chan struct{})}}
	go q.write(to)
	return q
}

func (q *queue) write(to slog.Handler) {
	defer close(q.ended)
	for {
		select {
		case r := <-q.records:
			_ = r.to.Handle(context.Background(), r.Record) // there is nowhere to say so
			q.tellLost(to)
		case <-q.ending:
			for len(q.records) > 0 {
				r := <-q.records
				_ = r.to.Handle(context.Background(), r.Record)
			}
			q.tellLost(to)
			return
		}
	}
}

func (q *queue) tellLost(to slog.Handler) {
	if n := q.lost.Swap(0); n > 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log records dropped: the log is not written fast enough", 0)
		r.Add("records", n)
		_ = to.Handle(context.Background(), r)
	}
}

// Close has what waits written, and waits for that so long at the most. The queue takes
// nothing after it.
func (q *Queue) Close(most time.Duration) {
	close(q.ending)
	select {
	case <-q.ended:
	case <-time.After(most):
	}
}

// Enabled is of the other handler.
func (q *Queue) Enabled(ctx context.Context, l slog.Level) bool { return q.to.Enabled(ctx, l) }

// Handle takes a record, or drops it.
func (q *Queue) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.records <- record{q.to, r.Clone()}:
	default:
		q.lost.Add(1)
	}
	return nil
}

// WithAttrs and WithGroup make handlers with the same queue.
func (q *Queue) WithAttrs(a []slog.Attr) slog.Handler { return &Queue{q.to.WithAttrs(a), q.queue} }
func (q *Queue) WithGroup(name string) slog.Handler   { return &Queue{q.to.WithGroup(name), q.queue} }

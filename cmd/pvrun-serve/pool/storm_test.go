package pool

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Everything at once: nothing hangs, no machine has two calls, and nothing is left. The
// fakes check the rest.
func TestStorm(t *testing.T) {
	turns := NewTurns(2)
	var sources []*fakeSource
	var all []*Function
	for i := range 3 {
		f, s := newFake(t, Limits{Min: i, Max: 4, Queue: 8, Reuse: i == 1, Fresh: i == 2, Timeout: 5 * time.Millisecond, Idle: time.Millisecond}, turns)
		all, sources = append(all, f), append(sources, s)
	}
	messages := []string{"x", "x", "x", "fail", "end", "fault", "spin", "host"}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, cancel)
				}
				all[rand.IntN(len(all))].Invoke(ctx, "id", []byte(messages[rand.IntN(len(messages))]))
				cancel()
			}
		})
	}
	for range 20 {
		s := &fakeSource{answer: echo}
		sources = append(sources, s)
		f := all[rand.IntN(len(all))]
		f.Swap(s)
		f.Tick(time.Now())
		turns.Share(rand.IntN(3) - 1)
		f.Status()
		time.Sleep(time.Millisecond)
	}
	clients.Wait()
	endStorm(t, all, sources)
}

// TestVisitStorm is the same for requests, several at a time, and programs that are told.
func TestVisitStorm(t *testing.T) {
	turns := NewTurns(2)
	var sources []*fakeSource
	var all []*Function
	for _, l := range []Limits{{Min: 1, Max: 3}, {Max: 3, Reuse: true, Concurrency: 4}, {Max: 3, Reuse: true, Min: 2}, {Max: 2, Fresh: true}} {
		l.Queue, l.Timeout, l.Idle, l.Grace = 8, 5*time.Millisecond, time.Millisecond, 5*time.Millisecond
		f, s := newFakeHTTP(t, l, turns)
		all, sources = append(all, f), append(sources, s)
	}
	paths := []string{"x", "x", "x", "end", "garbage", "spin"}
	var clients sync.WaitGroup
	for range 12 {
		clients.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, cancel)
				}
				f := all[rand.IntN(len(all))]
				if rand.IntN(8) == 0 {
					f.Invoke(ctx, "id", nil) // the contract changes
				} else {
					f.Visit(ctx, "id", get(paths[rand.IntN(len(paths))]))
				}
				cancel()
			}
		})
	}
	for i := range 20 {
		s := &fakeSource{answer: echo, contract: HTTP, idle: time.Duration(rand.IntN(2)) * time.Millisecond}
		if i%4 == 0 {
			s.contract = Message
		}
		sources = append(sources, s)
		f := all[rand.IntN(len(all))]
		f.Swap(s)
		f.Terminate()
		limits := f.Status().Limits
		limits.Concurrency = rand.IntN(4)
		f.SetLimits(limits)
		f.Tick(time.Now())
		turns.Share(rand.IntN(3) - 1)
		time.Sleep(time.Millisecond)
	}
	clients.Wait()
	endStorm(t, all, sources)
}

func endStorm(t *testing.T, all []*Function, sources []*fakeSource) {
	t.Helper()
	for _, f := range all {
		f.Close()
		s := f.Status()
		if s.Requests+s.Running+s.Queued+s.Idle+s.Rewinding+s.Starting+s.Closing != 0 || s.Own != 0 || s.Counts.Made != s.Counts.Closed {
			t.Errorf("left: %+v", s)
		}
	}
	for _, s := range sources {
		if s.open() != 0 || !isClosed(s) {
			t.Error("a snapshot is left")
		}
	}
}

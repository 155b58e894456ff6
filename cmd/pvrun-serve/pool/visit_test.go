package pool

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func newFakeHTTP(t *testing.T, limits Limits, turns *Turns) (*Function, *fakeSource) {
	t.Helper()
	s := &fakeSource{answer: echo, contract: HTTP}
	f := New(limits, turns, func() Output { return Silence{} }, func(err error) { t.Logf("trouble: %v", err) })
	f.Swap(s)
	return f, s
}

// get is the Work of a request for path.
func get(path string) Work {
	return func(ctx context.Context, to http.RoundTripper) (bool, error) {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://program/"+path, nil)
		if err != nil {
			return false, err
		}
		a, err := to.RoundTrip(r)
		if err != nil {
			return false, err
		}
		return a.StatusCode >= 500, nil
	}
}

func visit(f *Function, path string) Result {
	return f.Visit(context.Background(), "id", get(path))
}

// depart visits beside.
func depart(f *Function, ctx context.Context, path string) chan Result {
	c := make(chan Result, 1)
	go func() { c <- f.Visit(ctx, "id", get(path)) }()
	synctest.Wait()
	return c
}

func TestVisitOutcomes(t *testing.T) {
	for _, limits := range []Limits{{Max: 1}, {Max: 1, Reuse: true, Concurrency: 4, Grace: time.Second}} {
		limits.Timeout = time.Minute
		synctest.Test(t, func(t *testing.T) {
			f, s := newFakeHTTP(t, limits, NewTurns(1))
			for path, want := range map[string]Outcome{"hello": OK, "end": Ended, "garbage": Broken, "spin": TimedOut} {
				if r := visit(f, path); r.Outcome != want {
					t.Errorf("%s: got %s, %v, want %s", path, r.Outcome, r.Err, want)
				}
			}
			if r := invoke(f, "x"); r.Outcome != NotReady || !errors.Is(r.Err, ErrChanged) {
				t.Errorf("a message: got %+v", r)
			}
			f.Close()
			if got := f.Status(); got.Counts.Made != got.Counts.Closed || got.Requests != 0 || !s.closed {
				t.Errorf("got %+v", got)
			}
			if r := visit(f, "x"); r.Outcome != NotReady {
				t.Errorf("after Close: got %+v", r)
			}
		})
	}
}

func TestVisitOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFake(t, Limits{Max: 1}, NewTurns(1))
		if r := visit(f, "x"); r.Outcome != NotReady || !errors.Is(r.Err, ErrChanged) {
			t.Errorf("got %+v", r)
		}
		if r := invoke(f, "x"); r.Outcome != OK {
			t.Errorf("got %+v", r)
		}
		f.Close()
	})
}

// Eight requests are at one clone at once, the next two at another, and the last waits.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFakeHTTP(t, Limits{Max: 2, Queue: 2, Reuse: true, Concurrency: 8}, NewTurns(1))
		ctx, cancel := context.WithCancel(t.Context())
		var all []chan Result
		for range 18 {
			all = append(all, depart(f, ctx, "spin"))
		}
		if got := f.Status(); got.Running != 2 || got.Requests != 16 || got.Queued != 2 {
			t.Errorf("got %+v", got)
		}
		for _, m := range s.made {
			if m.most != 8 {
				t.Errorf("%d requests at a clone", m.most)
			}
		}
		if r := visit(f, "x"); r.Outcome != Busy {
			t.Errorf("one too many: got %+v", r)
		}
		cancel()
		for _, c := range all {
			if r := <-c; r.Outcome != Cancelled {
				t.Errorf("got %+v", r)
			}
		}
		if r := visit(f, "x"); r.Outcome != OK || len(s.made) != 2 {
			t.Errorf("clients that leave take clones with them: got %+v, %d made", r, len(s.made))
		}
		f.Close()
	})
}

// The place of one that has left is the next one's, while others have the clone.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFakeHTTP(t, Limits{Max: 1, Queue: 8, Reuse: true, Concurrency: 2}, NewTurns(1))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		long := depart(f, ctx, "spin")
		for range 5 {
			depart(f, ctx, "second")
		}
		time.Sleep(5500 * time.Millisecond)
		if got := f.Status(); got.Counts.Outcomes[OK] != 5 || got.Requests != 1 || len(s.made) != 1 {
			t.Errorf("got %+v", got)
		}
		cancel()
		<-long
		f.Close()
	})
}

// Without reuse a clone has one request, is rewound, and is closed when it did not answer
// or works on.
func TestOneEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFakeHTTP(t, Limits{Max: 1, Queue: 4, Concurrency: 8, Timeout: time.Minute}, NewTurns(1))
		for range 3 {
			depart(f, t.Context(), "second")
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if m := s.made[0]; len(s.made) != 1 || m.most != 1 || m.rewound != 3 {
			t.Errorf("got %+v", m)
		}
		visit(f, "spin")
		r := visit(f, "x")
		synctest.Wait()
		if r.Outcome != OK || !s.made[0].closed {
			t.Errorf("got %+v", r)
		}
		s.mu.Lock()
		s.idle = time.Hour
		s.mu.Unlock()
		visit(f, "x")
		time.Sleep(2 * settleTime)
		synctest.Wait()
		if !s.made[1].closed {
			t.Error("a program that works on keeps its clone")
		}
		f.Close()
	})
}

// A program that goes is told, and has time; one that has nothing is not.
func TestTerminate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFakeHTTP(t, Limits{Min: 2, Max: 2, Reuse: true, Grace: time.Minute}, NewTurns(1))
		synctest.Wait()
		visit(f, "x")
		long := depart(f, t.Context(), "second")
		f.Close()
		<-long
		told := 0
		for _, m := range s.made {
			told += len(m.signals)
			if len(m.signals) != min(1, m.all) {
				t.Errorf("%d requests, signals %v", m.all, m.signals)
			}
		}
		if told == 0 {
			t.Error("nobody was told")
		}
	})
}

func TestTerminateAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFakeHTTP(t, Limits{Max: 2, Reuse: true, Concurrency: 2, Grace: time.Minute}, NewTurns(2))
		long := depart(f, t.Context(), "second")
		f.Terminate()
		f.Terminate()
		if r := visit(f, "x"); r.Outcome != OK {
			t.Errorf("got %+v", r)
		}
		if r := <-long; r.Outcome != OK {
			t.Errorf("got %+v", r)
		}
		f.Close()
		if m := s.made[0]; len(m.signals) != 1 || m.all != 1 {
			t.Errorf("%d requests, signals %v", m.all, m.signals)
		}
	})
}

func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFakeHTTP(t, Limits{Max: 1, Reuse: true, Grace: time.Hour}, NewTurns(1))
		long := depart(f, t.Context(), "spin")
		f.Kill()
		if r := <-long; r.Outcome != NotReady {
			t.Errorf("got %+v", r)
		}
		f.Close()
	})
}

// A function that always has requests makes way for others.
func TestSessionsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(0)
		busy, _ := newFakeHTTP(t, Limits{Max: 2, Queue: 100, Reuse: true, Concurrency: 2}, turns)
		turns.Share(1)
		other, _ := newFake(t, Limits{Max: 2, Queue: 2, Timeout: time.Minute}, turns)
		ctx, cancel := context.WithCancel(t.Context())
		for range 4 {
			go func() {
				for ctx.Err() == nil {
					visit(busy, "second")
				}
			}()
		}
		time.Sleep(10 * time.Second) // it has both turns
		one, two := begin(other, ctx, "second"), begin(other, ctx, "second")
		for _, c := range []chan Result{one, two} {
			if r := <-c; r.Outcome != OK {
				t.Errorf("got %+v", r)
			}
		}
		cancel()
		synctest.Wait()
		busy.Close()
		other.Close()
	})
}

// TestPanic: a request whose work panics is over all the same.
func TestPanic(t *testing.T) {
	f, _ := newFakeHTTP(t, Limits{Max: 1}, NewTurns(1))
	func() {
		defer func() { recover() }()
		f.Visit(t.Context(), "id", func(context.Context, http.RoundTripper) (bool, error) { panic("of work's") })
	}()
	f.mu.Lock()
	present := f.present
	f.mu.Unlock()
	if present != 0 {
		t.Errorf("%d requests are there yet", present)
	}
	if r := visit(f, "/"); r.Err != nil {
		t.Error(r.Err)
	}
}

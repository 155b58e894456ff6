package pool

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 1, Timeout: time.Minute}, NewTurns(1))
		for message, want := range map[string]Outcome{
			"hello": OK, "fail": Failed, "end": Ended, "fault": Fault, "host": Host, "spin": TimedOut,
		} {
			r := invoke(f, message)
			if r.Outcome != want {
				t.Errorf("%s: got %s, %v, want %s", message, r.Outcome, r.Err, want)
			}
			if r.Err == nil && message != "fail" && string(r.Response.Data) != message {
				t.Errorf("%s: got %q", message, r.Response.Data)
			}
		}
		f.Close()
		if got := f.Status().Counts; got.Outcomes[OK] != 1 || got.Outcomes[TimedOut] != 1 || got.Cold+got.Warm != 6 || got.Made != got.Closed || got.Exits["hypercall.respond"] != 18 {
			t.Errorf("got %+v", got)
		}
		if !s.closed {
			t.Error("the snapshot is not closed")
		}
		if r := invoke(f, "x"); r.Outcome != NotReady || !errors.Is(r.Err, ErrClosed) {
			t.Errorf("after Close: got %+v", r)
		}
	})
}

func TestIsolation(t *testing.T) {
	for _, test := range []struct {
		limits         Limits
		machines, uses int
		rewinds        bool
	}{
		{Limits{Max: 1}, 1, 1, true},
		{Limits{Max: 1, Reuse: true}, 1, 10, false},
		{Limits{Max: 1, Fresh: true}, 10, 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, s := newFake(t, test.limits, NewTurns(1))
			most := 0
			s.answer = func(_ context.Context, m *fakeMachine, _ string) (string, error) {
				most = max(most, m.uses)
				return "", nil
			}
			for range 10 {
				if r := invoke(f, ""); r.Outcome != OK {
					t.Error(r)
				}
				synctest.Wait()
			}
			f.Close()
			if len(s.made) != test.machines || most != test.uses || (s.made[0].rewound > 0) != test.rewinds {
				t.Errorf("%+v: %d machines, %d uses, %d rewinds", test.limits, len(s.made), most, s.made[0].rewound)
			}
		})
	}
}

// A machine that something has happened to is closed, and another made.
func TestNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, reuse := range []bool{false, true} {
			f, s := newFake(t, Limits{Max: 1, Reuse: reuse, Timeout: time.Minute}, NewTurns(1))
			for _, message := range []string{"end", "fault", "host", "spin"} {
				invoke(f, message)
			}
			f.Close()
			for _, m := range s.made {
				if m.all != 1 && m.all != 0 || m.rewound > 0 {
					t.Errorf("reuse %v: got %+v", reuse, m)
				}
			}
		}
	})
}

// What cannot be rewound makes way for another.
func TestRewindFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 2}, NewTurns(1))
		s.rewind = errors.New("no")
		for range 5 {
			if r := invoke(f, "x"); r.Outcome != OK {
				t.Error(r)
			}
		}
		f.Close()
		if len(s.made) < 5 {
			t.Errorf("%d machines", len(s.made))
		}
	})
}

// begin starts an invocation beside.
func begin(f *Function, ctx context.Context, message string) chan Result {
	c := make(chan Result, 1)
	go func() { c <- f.Invoke(ctx, "id", []byte(message)) }()
	synctest.Wait()
	return c
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 1, Queue: 3}, NewTurns(1))
		var order []string
		s.answer = func(_ context.Context, _ *fakeMachine, message string) (string, error) {
			order = append(order, message)
			time.Sleep(time.Second)
			return "", nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := begin(f, t.Context(), "0")
		second := begin(f, t.Context(), "1")
		third := begin(f, ctx, "2")
		fourth := begin(f, t.Context(), "3")
		if r := <-begin(f, t.Context(), "4"); r.Outcome != Busy || r.Err != ErrBusy {
			t.Errorf("beyond the queue: got %+v", r)
		}
		cancel()
		if r := <-third; r.Outcome != Cancelled {
			t.Errorf("one that has left: got %+v", r)
		}
		fifth := begin(f, t.Context(), "5") // there is room again
		for _, c := range []chan Result{first, second, fourth, fifth} {
			if r := <-c; r.Outcome != OK {
				t.Errorf("got %+v", r)
			}
		}
		if want := []string{"0", "1", "3", "5"}; !slices.Equal(order, want) {
			t.Errorf("got %q, want %q", order, want)
		}
		f.Close()
	})
}

// Whoever waits too long for others is told so, and nothing has run for it.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 1, Queue: 1, Timeout: time.Second}, NewTurns(1))
		spins := begin(f, t.Context(), "spin")
		s.boot = time.Hour // the machine after the one that spins
		time.Sleep(time.Second / 2)
		second := begin(f, t.Context(), "second")
		if r := <-spins; r.Outcome != TimedOut || r.Ran != time.Second {
			t.Errorf("got %+v", r)
		}
		if r := <-second; r.Outcome != Busy || r.Err != ErrLate || r.Waited != time.Second {
			t.Errorf("got %+v", r)
		}
		f.Close()
	})
}

func TestCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 4, Idle: time.Minute}, NewTurns(4))
		if s.open() != 0 {
			t.Error("a clone without demand")
		}
		for i, cold := range []bool{true, false, false} {
			if r := invoke(f, "x"); r.Cold != cold {
				t.Errorf("invocation %d: got %+v", i, r)
			}
			synctest.Wait()
		}
		if n := s.open(); n != 2 {
			t.Errorf("%d clones: there is to be one ahead of demand", n)
		}
		time.Sleep(time.Minute)
		f.Tick(time.Now())
		synctest.Wait()
		if n := s.open(); n != 0 {
			t.Errorf("%d clones: there is to be none", n)
		}
		f.SetLimits(Limits{Min: 3, Max: 4, Idle: time.Minute})
		synctest.Wait()
		time.Sleep(time.Hour)
		f.Tick(time.Now())
		synctest.Wait()
		if n := s.open(); n != 3 {
			t.Errorf("%d clones, want 3", n)
		}
		if r := invoke(f, "x"); r.Cold {
			t.Error("a clone was ready")
		}
		f.SetLimits(Limits{Max: 1})
		synctest.Wait()
		if n := s.open(); n > 1 {
			t.Errorf("%d clones, want 1", n)
		}
		f.Close()
	})
}

// Clones beyond a new maximum go when they have answered.
func TestFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 3}, NewTurns(3))
		var all []chan Result
		for range 3 {
			all = append(all, begin(f, t.Context(), "second"))
		}
		f.SetLimits(Limits{Max: 1})
		for _, c := range all {
			if r := <-c; r.Outcome != OK {
				t.Errorf("got %+v", r)
			}
		}
		synctest.Wait()
		if n := s.open(); n != 1 {
			t.Errorf("%d clones, want 1", n)
		}
		f.Close()
	})
}

// New invocations have the new version, and old ones finish with the old.
func TestSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, old := newFake(t, Limits{Min: 2, Max: 3, Queue: 2}, NewTurns(3))
		synctest.Wait()
		under := begin(f, t.Context(), "second")
		now := &fakeSource{answer: func(context.Context, *fakeMachine, string) (string, error) { return "new", nil }}
		f.Swap(now)
		synctest.Wait()
		if r := invoke(f, "x"); string(r.Response.Data) != "new" {
			t.Errorf("got %q", r.Response.Data)
		}
		if old.closed || old.open() != 1 {
			t.Errorf("closed %v with %d clones", old.closed, old.open())
		}
		if r := <-under; r.Outcome != OK || string(r.Response.Data) != "second" {
			t.Errorf("got %+v", r)
		}
		synctest.Wait()
		if !old.closed {
			t.Error("the old version is still there")
		}
		f.Close()
	})
}

// A clone that cannot be made is the failure of all who wait for one.
func TestNewFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 2, Queue: 9}, NewTurns(1))
		s.fails, s.boot = errors.New("no memory"), time.Second
		var all []chan Result
		for range 5 {
			all = append(all, begin(f, t.Context(), "x"))
		}
		for _, c := range all {
			if r := <-c; r.Err != s.fails || r.Outcome != Host {
				t.Errorf("got %+v", r)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		s.fails = nil
		if r := invoke(f, "x"); r.Outcome != OK {
			t.Errorf("got %+v", r)
		}
		f.Close()
	})
}

func TestNotReady(t *testing.T) {
	f := New(Limits{Max: 1}, NewTurns(1), func() Output { return Silence{} }, func(error) {})
	if r := invoke(f, "x"); r.Outcome != NotReady || f.Ready() {
		t.Errorf("got %+v", r)
	}
	f.Close()
	s := &fakeSource{}
	f.Swap(s) // too late
	for f.Status().Ready || !isClosed(s) {
	}
}

func isClosed(s *fakeSource) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close waits for what runs, and for nothing else.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := newFake(t, Limits{Max: 1, Queue: 1}, NewTurns(1))
		runs, waits := begin(f, t.Context(), "second"), begin(f, t.Context(), "second")
		start := time.Now()
		f.Close()
		if r := <-waits; r.Outcome != NotReady {
			t.Errorf("got %+v", r)
		}
		if r := <-runs; r.Outcome != OK || time.Since(start) != time.Second {
			t.Errorf("got %+v after %v", r, time.Since(start))
		}
		if s.open() != 0 || !s.closed {
			t.Error("something is left")
		}
	})
}

// One function has all that is shared, and more waits; another one does not wait.
func TestNoisyNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		noisy, _ := newFake(t, Limits{Max: 50, Queue: 50, Timeout: time.Hour}, turns)
		quiet, _ := newFake(t, Limits{Max: 5, Queue: 5}, turns)
		for range 100 {
			begin(noisy, t.Context(), "spin")
		}
		if r := invoke(quiet, "x"); r.Outcome != OK || r.Waited != 0 {
			t.Errorf("got %+v", r)
		}
		synctest.Wait()
		noisy.Close()
		quiet.Close()
	})
}

// Shared turns go round.
func TestRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		got := make(chan int)
		var all []*party
		for i := range 3 {
			p := turns.join()
			all = append(all, p)
			p.take(t.Context()) // its own
			for range 3 {
				go func() {
					p.take(t.Context())
					got <- i
				}()
			}
			synctest.Wait()
		}
		var order []int
		for range 9 {
			i := <-got
			order = append(order, i)
			all[i].give()
		}
		if want := []int{0, 1, 2, 0, 1, 2, 0, 1, 2}; !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}
	})
}

func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(0)
		f, _ := newFake(t, Limits{Max: 3}, turns)
		var all []chan Result
		for range 3 {
			all = append(all, begin(f, t.Context(), "second"))
		}
		turns.Share(2)
		start := time.Now()
		for _, c := range all {
			<-c
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		f.Close()
	})
}

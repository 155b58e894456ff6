package pool

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// mortals are a fakeSource's machines that can be lost.
type mortals struct {
	*fakeSource
	list []*mortal
}

type mortal struct {
	Machine
	lost atomic.Bool
}

func (m *mortal) Lost() bool { return m.lost.Load() }

func (s *mortals) New(stdout, stderr io.Writer) (Machine, error) {
	m, err := s.fakeSource.New(stdout, stderr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, &mortal{Machine: m})
	return s.list[len(s.list)-1], err
}

// Machines that are lost get no invocations, and others are made in their place.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &mortals{fakeSource: &fakeSource{answer: echo}}
		f := New(Limits{Min: 3, Max: 3}, NewTurns(1), func() Output { return Silence{} }, func(err error) { t.Error(err) })
		f.Swap(s)
		synctest.Wait()
		for i, m := range s.list {
			m.lost.Store(i != 1)
		}
		s.answer = func(_ context.Context, m *fakeMachine, _ string) (string, error) {
			for _, other := range s.list {
				if other.Machine == m && other.Lost() {
					t.Error("a machine that is lost was invoked")
				}
			}
			return "", nil
		}
		for range 3 {
			if r := invoke(f, ""); r.Outcome != OK {
				t.Error(r)
			}
			synctest.Wait()
		}
		for _, m := range s.list {
			m.lost.Store(true)
		}
		f.Tick(time.Now())
		synctest.Wait()
		alive := 0
		for _, m := range s.list {
			if !m.Lost() {
				alive++
			}
		}
		if got := f.Status(); alive != 3 || got.Idle != 3 || got.Counts.Closed != got.Counts.Made-3 || s.open() != 3 {
			t.Errorf("%d open, %d not lost, %+v", s.open(), alive, got)
		}
		s.answer = func(context.Context, *fakeMachine, string) (string, error) {
			return "", fmt.Errorf("%w: why", ErrLost)
		}
		if r := invoke(f, ""); r.Outcome != Fault {
			t.Errorf("got %+v", r)
		}
		f.Close()
	})
}

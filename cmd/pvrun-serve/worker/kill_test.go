package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
)

// pids are those of a source's workers.
func (s *Source) pids() (list []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.workers {
		select {
		case <-p.started:
			if p.cmd != nil {
				list = append(list, p.cmd.Process.Pid)
			}
		default:
		}
	}
	return list
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Three workers, each with an invocation under way: one is killed, and who was in it is
// told so; the others answer, and there is room for others.
func TestOneKilled(t *testing.T) {
	s := newSource(t, 2)
	var list []*Machine
	for range 6 {
		list = append(list, newMachine(t, s, nil))
	}
	pids := s.pids()
	if len(pids) != 3 {
		t.Fatalf("workers %v", pids)
	}
	type result struct {
		m    *Machine
		text string
		err  error
	}
	results := make(chan result)
	for _, m := range list {
		go func() {
			message := "sleep 1000"
			if m.of.cmd.Process.Pid == pids[1] {
				message = "hang"
			}
			text, err := tell(t, m, message)
			results <- result{m, text, err}
		}()
	}
	time.Sleep(100 * time.Millisecond)
	syscall.Kill(pids[1], syscall.SIGKILL)
	lost := 0
	for range list {
		r := <-results
		want := fmt.Sprintf("the machine is lost: worker %d: signal: killed", pids[1])
		switch dead := r.m.of.cmd.Process.Pid == pids[1]; {
		case dead && (!errors.Is(r.err, pool.ErrLost) || r.err.Error() != want):
			t.Errorf("in the one that was killed: got %q, %v", r.text, r.err)
		case dead:
			lost++
		case r.err != nil || r.text != "sleep 1000" || r.m.Lost():
			t.Errorf("in another one: got %q, %v", r.text, r.err)
		}
	}
	if lost != 2 {
		t.Errorf("%d were lost", lost)
	}
	reasons := 0
	for _, m := range list {
		if !m.Lost() {
			continue
		}
		if err := m.Rewind(); !errors.Is(err, pool.ErrLost) {
			t.Errorf("rewind: got %v", err)
		}
		m.Stats()
		m.OwnMemory()
		if m.Close() != nil {
			reasons++
		}
	}
	if reasons != 1 {
		t.Errorf("%d times it was said why", reasons)
	}
	for range 2 {
		wants(t, newMachine(t, s, nil), "hello", "hello ")
	}
	if now := s.pids(); len(now) != 3 || now[0] != pids[0] || now[1] != pids[2] {
		t.Errorf("workers %v, before %v", now, pids)
	}
}

// A machine is made elsewhere when its worker is killed meanwhile, and workers that have
// none end, but for one.
func TestComeAndGo(t *testing.T) {
	s := newSource(t, 2)
	var list []*Machine
	for range 6 {
		list = append(list, newMachine(t, s, nil))
	}
	for _, m := range list {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	await(t, "one worker is left", func() bool { return len(s.pids()) == 1 && children(t) == 1 })
	syscall.Kill(s.pids()[0], syscall.SIGKILL)
	for range 3 {
		wants(t, newMachine(t, s, nil), "hello", "hello ")
	}
}

// children is how many processes this one has.
func children(t *testing.T) (n int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lists {
		b, _ := os.ReadFile(name)
		n += len(strings.Fields(string(b)))
	}
	return n
}

// A worker that does not answer any more is killed in time, and one that was stopped for a
// moment only is not.
func TestStopped(t *testing.T) {
	s := newSource(t, 2)
	m := newMachine(t, s, nil)
	pid := s.pids()[0]
	syscall.Kill(pid, syscall.SIGSTOP)
	time.AfterFunc(200*time.Millisecond, func() { syscall.Kill(pid, syscall.SIGCONT) })
	wants(t, m, "hello", "hello ")
	m.patience = 100 * time.Millisecond
	syscall.Kill(pid, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Invoke(ctx, []byte("hello")); !errors.Is(err, pool.ErrLost) {
		t.Errorf("got %v", err)
	}
}

// held is what this process and a worker of it have and could lose.
func held(t *testing.T, pid int) string {
	return fmt.Sprintf("%d descriptors, %d children; worker: %d descriptors, %d mappings of pages",
		descriptors(t, os.Getpid()), children(t), descriptors(t, pid), mappings(t, pid))
}

func mappings(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "pvrun-snapshot")
}

// What machines and workers had is given back, however they end.
func TestLeaks(t *testing.T) {
	s := newSource(t, 4)
	goroutines := 0
	round := func() {
		var list []*Machine
		for range 4 {
			m := newMachine(t, s, nil)
			wants(t, m, "hello", "hello ")
			if err := m.Rewind(); err != nil {
				t.Error(err)
			}
			m.Stats()
			m.OwnMemory()
			list = append(list, m)
		}
		other := newMachine(t, s, nil) // is another worker's
		syscall.Kill(other.of.cmd.Process.Pid, syscall.SIGKILL)
		if _, err := tell(t, other, "hello"); !errors.Is(err, pool.ErrLost) {
			t.Errorf("got %v", err)
		}
		other.Close()
		for i, m := range list {
			if i%2 == 0 {
				tell(t, m, "exit 1")
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
		await(t, "one worker is left", func() bool { return children(t) == 1 })
	}
	round() // what is kept for later is there after it
	pid := s.pids()[0]
	before := held(t, pid)
	goroutines = runtime.NumGoroutine()
	for range 5 {
		round()
	}
	await(t, "all is as before: "+before, func() bool {
		return held(t, pid) == before && runtime.NumGoroutine() <= goroutines
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

// inPool is a source as package pool has it.
type inPool struct{ *Source }

type machineInPool struct{ *Machine }

func (s inPool) Contract() pool.Contract { return pool.Message }

func (s inPool) New(stdout, stderr io.Writer) (pool.Machine, error) {
	m, err := s.Source.New(stdout, stderr)
	return machineInPool{m}, err
}

func (m machineInPool) Invoke(ctx context.Context, _ string, message []byte) (hv.Response, error) {
	return m.Machine.Invoke(ctx, message)
}

func (m machineInPool) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.ErrUnsupported
}

// TestStorm has a pool answer while workers are killed at random: an invocation has an
// answer, or one clear error.
func TestStorm(t *testing.T) {
	s := newSource(t, 3)
	const clients, kills = 8, 20
	f := pool.New(pool.Limits{Max: 9, Min: 9, Queue: clients, Timeout: patient}, pool.NewTurns(clients),
		func() pool.Output { return pool.Silence{} }, func(err error) {
			if !strings.Contains(err.Error(), "signal: killed") {
				t.Errorf("trouble: %v", err)
			}
		})
	f.Swap(inPool{s})
	var over atomic.Bool
	var all sync.WaitGroup
	var answers, lost atomic.Int64
	for range clients {
		all.Go(func() {
			for !over.Load() {
				message := fmt.Sprint("sleep ", rand.IntN(20))
				r := f.Invoke(t.Context(), "id", []byte(message))
				switch {
				case r.Outcome == pool.OK && string(r.Response.Data) == message:
					answers.Add(1)
				case r.Outcome == pool.Fault && errors.Is(r.Err, pool.ErrLost):
					lost.Add(1)
				default:
					t.Errorf("%s: %s, %q, %v", message, r.Outcome, r.Response.Data, r.Err)
				}
			}
		})
	}
	for range kills {
		await(t, "there is a worker", func() bool { return len(s.pids()) > 0 })
		before := answers.Load()
		if list := s.pids(); len(list) > 0 {
			syscall.Kill(list[rand.IntN(len(list))], syscall.SIGKILL)
		}
		await(t, "others answer", func() bool { f.Tick(time.Now()); return answers.Load() >= before+clients })
	}
	over.Store(true)
	all.Wait()
	t.Logf("%d answers, %d lost", answers.Load(), lost.Load())
	await(t, "there are as many as before", func() bool { f.Tick(time.Now()); return f.Status().Idle == 9 })
	f.Close()
	need.Count(int(f.Status().Counts.Made))
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

package fleet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/config"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/gateway"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
)

func TestMain(m *testing.M) { os.Exit(need.Main(m)) }

// fakes boots programs that answer with the arguments that they were booted with.
type fakes struct {
	mu     sync.Mutex
	boots  []string // arguments
	open   int      // snapshots
	fails  error
	waits  time.Duration
	waited []error // boots that were given up
}

// use makes fleets boot fakes.
func (b *fakes) use(t *testing.T) {
	old := source
	t.Cleanup(func() { source = old })
	source = func(p boot.Program, ctx context.Context, _ pool.Output) (pool.Source, error) {
		b.mu.Lock()
		b.boots = append(b.boots, p.Args...)
		fails, waits := b.fails, b.waits
		b.mu.Unlock()
		if p.Args[0] == "stubborn" {
			ctx = context.Background()
		}
		select {
		case <-ctx.Done():
			b.mu.Lock()
			defer b.mu.Unlock()
			b.waited = append(b.waited, ctx.Err())
			return nil, ctx.Err()
		case <-time.After(waits):
		}
		if fails != nil {
			return nil, fails
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open++
		return &fakeSource{b, p.Args[0]}, nil
	}
}

type fakeSource struct {
	fakes *fakes
	text  string
}

func (s *fakeSource) New(io.Writer, io.Writer) (pool.Machine, error) { return fakeMachine{s.text}, nil }
func (s *fakeSource) Contract() pool.Contract                        { return pool.Message }
func (s *fakeSource) Stored() int64                                  { return 0 }
func (s *fakeSource) Close() error {
	s.fakes.mu.Lock()
	defer s.fakes.mu.Unlock()
	s.fakes.open--
	return nil
}

type fakeMachine struct{ text string }

func (m fakeMachine) Invoke(ctx context.Context, _ string, message []byte) (hv.Response, error) {
	if string(message) == "second" {
		time.Sleep(time.Second)
	}
	return hv.Response{Data: []byte(m.text)}, nil
}
func (fakeMachine) RunUntil(context.Context, <-chan struct{}) error { return &hv.EndedError{} }
func (fakeMachine) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no") }
func (fakeMachine) Signal(syscall.Signal)                           {}
func (fakeMachine) Rewind() error                                   { return nil }
func (fakeMachine) Stats() hv.Stats                                 { return hv.Stats{} }
func (fakeMachine) OwnMemory() int64                                { return 0 }
func (fakeMachine) Close() error                                    { return nil }

// functions is a configuration of functions with those names and arguments.
func functions(image string, list ...[2]string) (c config.Config) {
	c.Running = 2
	for _, f := range list {
		c.Functions = append(c.Functions, config.Function{
			Name: f[0], Path: "/" + f[0],
			Program: boot.Program{From: image, Args: []string{f[1]}}, Limits: pool.Limits{Max: 2, Queue: 9},
		})
	}
	return c
}

func newFleet() *Fleet {
	log := slog.New(slog.DiscardHandler)
	return New(log, gateway.New(log))
}

// ask invokes a function.
func (f *Fleet) ask(name string) string {
	f.mu.Lock()
	m := f.members[name]
	f.mu.Unlock()
	r := m.shown.Pool.Invoke(context.Background(), "id", nil)
	if r.Err != nil {
		return r.Err.Error()
	}
	return string(r.Response.Data)
}

func TestApply(t *testing.T) {
	b := new(fakes)
	b.use(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		if errs := f.Apply(functions("x", [2]string{"a", "one"}, [2]string{"b", "one"}), false)(); errs != nil {
			t.Error(errs)
		}
		if got := f.ask("a") + f.ask("b"); got != "oneone" {
			t.Errorf("got %q", got)
		}
		// What stays is not booted again, and one that goes answers what it has begun.
		goes := f.members["b"].shown.Pool
		answer := make(chan pool.Result, 1)
		go func() { answer <- goes.Invoke(context.Background(), "id", []byte("second")) }()
		synctest.Wait()
		f.Apply(functions("x", [2]string{"a", "one"}, [2]string{"c", "two"}), false)()
		if r := <-answer; r.Outcome != pool.OK {
			t.Errorf("got %+v", r)
		}
		if got := f.ask("a") + f.ask("c"); got != "onetwo" || f.members["b"] != nil || f.Threads() != 4 {
			t.Errorf("got %q, %d threads", got, f.Threads())
		}
		slices.Sort(b.boots)
		if want := []string{"one", "one", "two"}; !slices.Equal(b.boots, want) {
			t.Errorf("booted %q, want %q", b.boots, want)
		}
		f.Apply(functions("x", [2]string{"a", "one"}), true)()
		if len(b.boots) != 4 {
			t.Errorf("booted %q", b.boots)
		}
		f.Close(t.Context())
		if b.open != 0 {
			t.Errorf("%d snapshots are left", b.open)
		}
	})
}

// A boot that is late does not take the place of what came after it.
func TestLateBoot(t *testing.T) {
	b := &fakes{waits: time.Hour}
	b.use(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		late := f.Apply(functions("x", [2]string{"a", "late"}), false)
		synctest.Wait()
		b.waits = 0
		f.Apply(functions("x", [2]string{"a", "now"}), false)()
		if errs := late(); errs != nil || f.ask("a") != "now" || len(b.waited) != 1 {
			t.Errorf("got %v, %q, %v", errs, f.ask("a"), b.waited)
		}
		b.waits = time.Hour
		f.Apply(functions("x", [2]string{"a", "stubborn"}), false)
		synctest.Wait()
		b.waits = 0
		f.Apply(functions("x", [2]string{"a", "last"}), false)()
		time.Sleep(2 * time.Hour)
		if got := f.ask("a"); got != "last" || b.open != 1 {
			t.Errorf("later: got %q, %d snapshots", got, b.open)
		}
		f.Close(t.Context())
	})
}

// A boot that fails leaves the old version, and says why.
func TestBootFails(t *testing.T) {
	b := new(fakes)
	b.use(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.Apply(functions("x", [2]string{"a", "old"}), false)()
		b.fails = errors.New("no good")
		errs := f.Apply(functions("x", [2]string{"a", "new"}, [2]string{"b", "new"}), false)()
		if len(errs) != 2 || !errors.Is(errs[0], b.fails) || errs[1].Error() != "function b: no good" {
			t.Errorf("got %v", errs)
		}
		if got := f.ask("a"); got != "old" || f.members["a"].shown.Trouble() != "no good" {
			t.Errorf("got %q, %q", got, f.members["a"].shown.Trouble())
		}
		if got := f.ask("b"); got != pool.ErrNotReady.Error() {
			t.Errorf("got %q", got)
		}
		b.fails = nil
		f.Apply(functions("x", [2]string{"a", "new"}, [2]string{"b", "new"}), true)()
		if got := f.ask("a") + f.ask("b"); got != "newnew" || f.members["a"].shown.Trouble() != "" {
			t.Errorf("got %q, %q", got, f.members["a"].shown.Trouble())
		}
		f.Close(t.Context())
	})
}

// A file that is being written is not booted, nor one that is not there.
func TestTick(t *testing.T) {
	b := new(fakes)
	b.use(t)
	image := filepath.Join(t.TempDir(), "image")
	write := func(text string) {
		if err := os.WriteFile(image, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	f := newFleet()
	f.Apply(functions(image, [2]string{"a", "x"}), false)()
	boots := func(want int) {
		t.Helper()
		f.Tick(time.Now())
		f.beside.Wait()
		if len(b.boots) != want {
			t.Errorf("%d boots, want %d", len(b.boots), want)
		}
	}
	boots(1)
	write("12")
	boots(1)
	write("123")
	boots(1)
	boots(2)
	boots(2)
	if err := os.Remove(image); err != nil {
		t.Fatal(err)
	}
	boots(2)
	boots(2)
	b.fails = errors.New("no good")
	write("1234")
	boots(2)
	boots(3)
	boots(3) // once is enough
	f.Close(t.Context())
}

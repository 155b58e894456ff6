package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// hostile boots the function that does what it is told.
func hostile(t *testing.T) pool.Source {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	dir, err := filepath.Abs("../../../test/function/hostile")
	if err != nil {
		t.Fatal(err)
	}
	p := boot.Program{From: vmtest.Image(t, dir), Memory: 32 << 20, Within: time.Minute}
	s, err := p.Source(t.Context(), pool.Silence{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newFunction(t *testing.T, limits pool.Limits, turns *pool.Turns) *pool.Function {
	t.Helper()
	f := pool.New(limits, turns, func() pool.Output { return pool.Silence{} }, func(err error) { t.Error(err) })
	f.Swap(hostile(t))
	return f
}

// end takes the function away and counts its machines.
func end(f *pool.Function) {
	f.Close()
	need.Count(int(f.Status().Counts.Made))
}

const patience = time.Minute

func TestMachines(t *testing.T) {
	f := newFunction(t, pool.Limits{Max: 2, Queue: 2, Timeout: patience}, pool.NewTurns(2))
	defer end(f)
	for _, test := range []struct {
		message string
		want    pool.Outcome
		text    string
	}{
		{"hello you", pool.OK, "hello you"},
		{"fail no good", pool.Failed, "no good"},
		{"panic at once", pool.Ended, "the program has ended with code 2"},
		{"exit 7", pool.Ended, "the program has ended with code 7"},
		{"kill", pool.Ended, "the program was killed by signal 9"},
		{"null", pool.Ended, "the program has ended with code 2"},
		{"eat", pool.Ended, "the program has ended with code 2"},
		{"hello again", pool.OK, "hello again"},
	} {
		r := f.Invoke(t.Context(), "id", []byte(test.message))
		text := string(r.Response.Data)
		if r.Err != nil {
			text = r.Err.Error()
		}
		if r.Outcome != test.want || text != test.text {
			t.Errorf("%s: got %s, %q", test.message, r.Outcome, text)
		}
	}
}

// Nothing of an invocation is left for the next, unless that is what is wanted.
func TestMemory(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		f := newFunction(t, pool.Limits{Max: 1, Queue: 1, Timeout: patience, Reuse: reuse}, pool.NewTurns(1))
		want := "[]"
		for i := range 3 {
			r := f.Invoke(t.Context(), "id", fmt.Appendf(nil, "remember %d", i))
			if !reuse || i == 0 {
				want = fmt.Sprintf("[%d]", i)
			} else {
				want = want[:len(want)-1] + fmt.Sprintf(" %d]", i)
			}
			if string(r.Response.Data) != want {
				t.Errorf("reuse %v: got %q, %v, want %s", reuse, r.Response.Data, r.Err, want)
			}
		}
		end(f)
	}
}

// TestKills ends many invocations at random moments, and then looks for what is left.
func TestKills(t *testing.T) {
	need.KVM(t)
	t.Setenv("TMPDIR", t.TempDir())
	count := int64(10_000)
	if testing.Short() || raceDetector {
		count = 1000
	}
	one := func(count int64) {
		f := newFunction(t, pool.Limits{Max: 4, Queue: 8, Timeout: patience}, pool.NewTurns(4))
		defer end(f)
		var begun, cut atomic.Int64
		var clients sync.WaitGroup
		for range 6 {
			clients.Go(func() {
				for begun.Add(1) <= count {
					kill(t, f, &cut)
				}
			})
		}
		clients.Wait()
		t.Logf("%d of %d invocations were ended", cut.Load(), count)
	}
	one(count / 10) // what the first invocations leave is what is kept
	before, files, memory := vmtest.Take(), temporary(t), resident(t)
	one(count)
	if left := before.Left(); left != "" {
		t.Errorf("left: %s", left)
	}
	if now := temporary(t); now != files {
		t.Errorf("temporary files: got %s, want %s", now, files)
	}
	// A clone that stayed would have a MiB at least.
	if now := resident(t); now > memory+maxMore {
		t.Errorf("memory: got %d MiB, had %d", now>>20, memory>>20)
	}
}

const maxMore = 16 << 20

// resident is the process's memory, in bytes, when what can be given back was.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// kill invokes the function, and one time in four ends that within a moment.
func kill(t *testing.T, f *pool.Function, cut *atomic.Int64) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	killed := rand.IntN(4) == 0
	if killed {
		cut.Add(1)
		time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
	}
	message := []string{"hello", "hello", "hello", "sleep 1", "write 1", "exit 1", "remember x"}[rand.IntN(7)]
	r := f.Invoke(ctx, "id", []byte(message))
	var ended *hv.EndedError
	switch {
	case r.Outcome == pool.OK, killed && r.Outcome == pool.Cancelled, errors.As(r.Err, &ended) && message == "exit 1":
	default:
		t.Errorf("%s: got %s, %v", message, r.Outcome, r.Err)
	}
}

// temporary lists the folder of temporary files.
func temporary(t *testing.T) string {
	t.Helper()
	all, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all)
}

// A function that spins in all its clones does not keep another from its work.
func TestNoisyMachine(t *testing.T) {
	turns := pool.NewTurns(2)
	noisy := newFunction(t, pool.Limits{Max: 8, Queue: 100, Timeout: patience}, turns)
	quiet := newFunction(t, pool.Limits{Max: 2, Queue: 2, Timeout: patience}, turns)
	ctx, cancel := context.WithCancel(t.Context())
	var spinning sync.WaitGroup
	for range 20 {
		spinning.Go(func() { noisy.Invoke(ctx, "id", []byte("spin")) })
	}
	for noisy.Status().Running < 3 {
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		if r := quiet.Invoke(t.Context(), "id", []byte("hello")); r.Outcome != pool.OK {
			t.Errorf("got %s, %v", r.Outcome, r.Err)
		}
	}
	if n := noisy.Status().Counts.Outcomes[pool.Cancelled]; n != 0 {
		t.Errorf("%d of the noisy ones had ended", n)
	}
	cancel()
	spinning.Wait()
	end(noisy)
	end(quiet)
}

package vmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
)

// Guest is a program and how to run it.
type Guest struct {
	Package string   // built with Image, unless Config.Image is set
	Args    []string // what follows the program's name
	Stdin   string   // unless Config.Stdin is set

	// Config is the machine's; Args, Stdin, Stdout and Stderr may be nil.
	Config hv.Config
	// Timeout is how long the program may run; 30 s when 0.
	Timeout time.Duration
	// During is called beside the running machine.
	During func(*hv.VM)
}

// Want is what a guest shall do. The zero value is a program that ends with 0
// and says nothing.
type Want struct {
	Stdout string // all of it
	Stderr string // a part; when empty there shall be none
	Code   int
	Signal int
	Fault  string // a part of a GuestFault's text; "" for no fault
	Err    error  // what Run's error shall be
}

// Result is what a guest did.
type Result struct {
	Stdout, Stderr string
	Exit           hv.Exit
	Err            error
	Stats          hv.Stats
}

// alone is held by the machine that is looked at for what it leaves.
var alone sync.Mutex

// ErrStillRunning is the error of a guest that was stopped at its time-out.
var ErrStillRunning = errors.New("still running")

// Expect runs a guest and reports what it did otherwise than want says.
func Expect(t testing.TB, g Guest, want Want) Result {
	t.Helper()
	got := Run(t, g)
	for _, line := range want.differences(got) {
		t.Errorf("%s: %s", g.name(), line)
	}
	if t.Failed() && got.Stderr != "" && want.Stderr == "" {
		t.Logf("stderr:\n%s", got.Stderr)
	}
	return got
}

// Run runs a guest to its end and checks that nothing of its machine is left.
// A machine that cannot be made ends the test.
func Run(t testing.TB, g Guest) Result {
	t.Helper()
	if g.Config.Engine == "" {
		g.Config.Engine = need.Engine(t)
	}
	if g.Config.Image == "" {
		g.Config.Image = Image(t, g.Package)
	}
	alone.Lock()
	defer alone.Unlock()
	var got Result
	if left := Leftovers(func() { got = g.run(t) }); left != "" {
		t.Errorf("%s: left behind: %s", g.name(), left)
	}
	return got
}

func (g Guest) name() string {
	if g.Package == "" {
		return g.Config.Image
	}
	return strings.Join(append([]string{g.Package}, g.Args...), " ")
}

// run makes the machine, runs it and takes it away.
func (g Guest) run(t testing.TB) (got Result) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cfg := g.config(&stdout, &stderr)
	vm, err := hv.New(cfg)
	if err != nil {
		got.Err = err
		return got
	}
	need.Count(1)
	ctx, cancel := context.WithTimeoutCause(context.Background(), g.timeout(), ErrStillRunning)
	defer cancel()
	var beside sync.WaitGroup
	if g.During != nil {
		beside.Go(func() { g.During(vm) })
	}
	got.Exit, got.Err = vm.Run(ctx)
	beside.Wait()
	got.Stats = vm.Stats()
	if err := vm.Close(); err != nil {
		t.Errorf("%s: close: %v", g.name(), err)
	}
	got.Stdout, got.Stderr = stdout.String(), stderr.String()
	return got
}

func (g Guest) config(stdout, stderr io.Writer) hv.Config {
	cfg := g.Config
	if cfg.Args == nil {
		cfg.Args = append([]string{"guest"}, g.Args...)
	}
	if cfg.Stdin == nil && g.Stdin != "" {
		cfg.Stdin = strings.NewReader(g.Stdin)
	}
	if cfg.Stdout == nil {
		cfg.Stdout = stdout
	}
	if cfg.Stderr == nil {
		cfg.Stderr = stderr
	}
	return cfg
}

func (g Guest) timeout() time.Duration {
	if g.Timeout == 0 {
		return 30 * time.Second
	}
	return g.Timeout
}

// differences describes how got is not what was wanted, a line each.
func (w Want) differences(got Result) (list []string) {
	differ := func(what string, got, want any) {
		list = append(list, fmt.Sprintf("%s: got %v, want %v", what, got, want))
	}
	var fault *hv.GuestFault
	switch {
	case w.Fault != "" && (!errors.As(got.Err, &fault) || !strings.Contains(fault.Reason, w.Fault)):
		differ("end", got.Err, "a guest fault with "+w.Fault)
	case w.Fault == "" && !errors.Is(got.Err, w.Err):
		differ("end", got.Err, w.Err)
	}
	if got.Exit.Code != w.Code {
		differ("exit code", got.Exit.Code, w.Code)
	}
	if got.Exit.Signal != w.Signal {
		differ("signal", got.Exit.Signal, w.Signal)
	}
	if got.Stdout != w.Stdout {
		differ("stdout", fmt.Sprintf("%q", got.Stdout), fmt.Sprintf("%q", w.Stdout))
	}
	if w.Stderr == "" && got.Stderr != "" || !strings.Contains(got.Stderr, w.Stderr) {
		differ("stderr", fmt.Sprintf("%q", got.Stderr), fmt.Sprintf("%q", w.Stderr))
	}
	return append(list, sums(got.Stats)...)
}

// sums checks what must be true of every machine's counts.
func sums(s hv.Stats) []string {
	sum := uint64(0)
	for _, n := range s.Exits.ByReason {
		sum += n
	}
	if sum != s.Exits.Total {
		return []string{fmt.Sprintf("exits by reason: sum %d, total %d", sum, s.Exits.Total)}
	}
	return nil
}

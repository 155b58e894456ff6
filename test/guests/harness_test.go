// Package guests runs guests that misbehave, in real machines, and looks at
// the host afterwards.
package guests

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// limit is how long a guest may run before its machine is stopped.
var limit = need.Patience(20 * time.Second)

var errTime = errors.New("time is up")

// outcome is how a machine ended.
type outcome struct {
	exit hv.Exit
	err  error
	out  []byte
	took time.Duration // from a stop to the end of Run, or of the whole Run

	reasons map[string]uint64 // of the exits
}

func (o outcome) String() string {
	return fmt.Sprintf("exit %+v, error %v, %d bytes of output", o.exit, o.err, len(o.out))
}

// words are the results that asm's Finish writes.
func (o outcome) words() []uint64 {
	w := make([]uint64, len(o.out)/8)
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(o.out[8*i:])
	}
	return w
}

// capped takes output up to a limit, and notes that there was more.
type capped struct {
	bytes.Buffer
	total int
}

func (c *capped) Write(b []byte) (int, error) {
	c.total += len(b)
	if c.Len() < 1<<20 {
		c.Buffer.Write(b)
	}
	return len(b), nil
}

// run runs one machine from New to Close and proves that nothing of it is
// left and that another works.
func run(t *testing.T, cfg hv.Config, stopAfter time.Duration) outcome {
	t.Helper()
	before := look()
	o := runOnce(t, cfg, stopAfter)
	before.compare(t)
	good := runOnce(t, hv.Config{Image: goodImage(t)}, limit)
	if good.err != nil || good.exit.Code != 42 || string(good.out) != "good\n" {
		t.Fatalf("after this guest, a good one: %v", good)
	}
	return o
}

func runOnce(t *testing.T, cfg hv.Config, stopAfter time.Duration) (o outcome) {
	t.Helper()
	var out capped
	if cfg.Stdout == nil {
		cfg.Stdout = &out
	}
	need.Count(1)
	vm, err := newVM(t, cfg)
	if err != nil {
		return outcome{err: err}
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), stopAfter, errTime)
	defer cancel()
	begin := time.Now()
	o.exit, o.err = vm.Run(ctx)
	if o.took = time.Since(begin); o.err == errTime {
		o.took -= stopAfter
	}
	s := vm.Stats()
	o.reasons = s.Exits.ByReason
	sum := uint64(0)
	for _, n := range s.Exits.ByReason {
		sum += n
	}
	if sum != s.Exits.Total {
		t.Errorf("%d exits by reason, %d in all", sum, s.Exits.Total)
	}
	if err := vm.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := vm.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	o.out = out.Bytes()
	return o
}

// newVM makes a machine of the engine that is tested.
func newVM(t testing.TB, cfg hv.Config) (*hv.VM, error) {
	t.Helper()
	cfg.Engine = need.Engine(t)
	return hv.New(cfg)
}

// goodImage prints "good" and exits with 42.
func goodImage(t testing.TB) string {
	c := new(asm.Code).Hypercall(3, 1, asm.Data, 5).Exit(42)
	return asm.Image{Code: c, Data: []byte("good\n")}.Write(t)
}

// host is what a machine must leave as it was.
type host struct{ vmtest.Inventory }

func look() host { return host{vmtest.Take()} }

func (before host) compare(t *testing.T) {
	t.Helper()
	if left := before.Left(); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// virtual is the size of this process's address space, in bytes.
func virtual() int {
	b, _ := os.ReadFile("/proc/self/statm")
	n := 0
	fmt.Sscan(string(b), &n)
	return n * os.Getpagesize()
}

// wantFault demands a GuestFault whose reason has a part, on one line.
func (o outcome) wantFault(t *testing.T, part string) {
	t.Helper()
	var f *hv.GuestFault
	if !errors.As(o.err, &f) || !strings.Contains(f.Reason, part) || strings.Contains(f.Reason, "\n") {
		t.Errorf("%v, want a guest fault …%s…", o, part)
	}
}

func (o outcome) wantExit(t *testing.T, code int) {
	t.Helper()
	if o.err != nil || o.exit.Code != code || o.exit.Signal != 0 {
		t.Errorf("%v, want exit code %d", o, code)
	}
}

// wantStopped demands that the machine ran until it was stopped, and that it
// then ended at once.
func (o outcome) wantStopped(t *testing.T) {
	t.Helper()
	if o.err != errTime {
		t.Errorf("%v, want to be stopped", o)
	}
	if o.took > need.Patience(2*time.Second) {
		t.Errorf("stopping took %v", o.took)
	}
}

// steps is a guest made of steps, each with its result.
type steps struct {
	code *asm.Code
	want []want
}

type want struct {
	name  string
	value uint64
	mask  uint64 // of the bits that are not compared
}

func newSteps() *steps { return &steps{code: new(asm.Code).Begin()} }

// call expects a hypercall's result.
func (s *steps) call(name string, result int64, nr uint64, args ...uint64) {
	s.code.Hypercall(hyper(nr), args...).Result()
	s.want = append(s.want, want{name: name, value: uint64(result)})
}

// try expects a fault, or NoFault, or what ends up in RAX.
func (s *steps) try(name string, result uint64, f func(c *asm.Code)) {
	s.code.Try(f)
	s.want = append(s.want, want{name: name, value: result})
}

func (s *steps) raw(name string, result uint64, b ...byte) {
	s.try(name, result, func(c *asm.Code) { c.Raw(b...) })
}

// anyCode ignores the last step's error code: on kvm_pvm it varies where guest
// code reaches for supervisor pages.
func (s *steps) anyCode() { s.want[len(s.want)-1].mask = 0xff << 48 }

// load expects a value, or a fault, at an address.
func (s *steps) load(name string, result, addr uint64) {
	s.try(name, result, func(c *asm.Code) { c.Load(addr) })
}

// store expects that a value can be written, or a fault.
func (s *steps) store(name string, result, addr, v uint64) {
	s.try(name, result, func(c *asm.Code) { c.Store(addr, v).Mov(asm.RAX, asm.NoFault) })
}

// run runs the guest and compares.
func (s *steps) run(t *testing.T, cfg hv.Config) {
	t.Helper()
	cfg.Image = asm.Image{Code: s.code.Finish()}.Write(t)
	o := run(t, cfg, limit)
	got := o.words()
	if o.err != nil || len(got) != len(s.want) {
		t.Fatalf("%v, want %d results", o, len(s.want))
	}
	for i, w := range s.want {
		if (got[i]^w.value)&^w.mask != 0 {
			t.Errorf("%s: %#x (%d), want %#x (%d)", w.name, got[i], int64(got[i]), w.value, int64(w.value))
		}
	}
}

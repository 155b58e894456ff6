package guests

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), d, errTime)
}

func mustNew(t testing.TB, cfg hv.Config) *hv.VM {
	t.Helper()
	need.Count(1)
	vm, err := newVM(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// spinImage runs for ever.
func spinImage(t testing.TB) string {
	return asm.Image{Code: new(asm.Code).Spin()}.Write(t)
}

// TestNewClose makes and closes machines, run and not run, and counts what is
// left.
func TestNewClose(t *testing.T) {
	good, spin := goodImage(t), spinImage(t)
	cycle := func(n int) {
		for i := range n {
			vm := mustNew(t, hv.Config{Image: good})
			switch i % 4 {
			case 0:
				if exit, err := vm.Run(context.Background()); err != nil || exit.Code != 42 {
					t.Fatal(exit, err)
				}
			case 1:
				vm.Close()
				vm = mustNew(t, hv.Config{Image: spin})
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if _, err := vm.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			if err := vm.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cycle(8)
	before, size := look(), virtual()
	cycle(200)
	before.compare(t)
	if grown := virtual() - size; grown > 1<<30 {
		t.Errorf("200 machines of 64 MiB left %d MiB of address space behind", grown>>20)
	}
}

// TestManyAtOnce runs machines of all kinds side by side in one process.
func TestManyAtOnce(t *testing.T) {
	runOnce(t, hv.Config{Image: goodImage(t)}, limit)
	before := look()
	good, spin := goodImage(t), spinImage(t)
	block := asm.Image{Code: new(asm.Code).Hypercall(hypercall.CallBlock, hypercall.Forever)}.Write(t)
	bad := asm.Image{Code: new(asm.Code).Raw(0x0f, 0x0b)}.Write(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { runOnce(t, hv.Config{Image: spin}, 300*time.Millisecond) })
		all.Go(func() { runOnce(t, hv.Config{Image: block}, 300*time.Millisecond) })
		all.Go(func() {
			for range 10 {
				if o := runOnce(t, hv.Config{Image: good}, limit); o.err != nil || string(o.out) != "good\n" {
					t.Errorf("beside others: %v", o)
				}
				runOnce(t, hv.Config{Image: bad}, limit).wantFault(t, "#UD")
			}
		})
	}
	all.Wait()
	before.compare(t)
}

// TestCancelAtRandom stops machines at every moment of their lives.
func TestCancelAtRandom(t *testing.T) {
	loop := new(asm.Code).Begin()
	at := len(loop.B)
	loop.Hypercall(hypercall.CallMap, free, 64*page, rw).Hypercall(hypercall.CallBlock, 1).Hypercall(hypercall.CallUnmap, free, 64*page)
	// The signal stays pending, and so ends every wait from then on.
	images := []string{spinImage(t), asm.Image{Code: loopBack(loop, at)}.Write(t),
		asm.Image{Code: new(asm.Code).Hypercall(hypercall.CallBlock, hypercall.Forever).Spin()}.Write(t),
		asm.Image{Code: new(asm.Code).Hypercall(hypercall.CallBlock, 15_000_000).Hypercall(hypercall.CallBlock, 1<<40).Spin()}.Write(t)}
	runOnce(t, hv.Config{Image: goodImage(t)}, limit)
	before := look()
	n := 150
	if testing.Short() {
		n = 30
	}
	for i := range n {
		vm := mustNew(t, hv.Config{Image: images[i%len(images)]})
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() {
			time.Sleep(time.Duration(rand.Int64N(25_000_000)))
			vm.Signal(syscall.SIGTERM)
			cancel(errTime)
		}()
		begin := time.Now()
		_, err := vm.Run(ctx)
		if !errors.Is(err, errTime) || time.Since(begin) > 2*time.Second {
			t.Fatalf("run %d: %v after %v", i, err, time.Since(begin))
		}
		if err := vm.Close(); err != nil {
			t.Fatal(err)
		}
	}
	before.compare(t)
}

// TestSignals sends signals before, during and after Run, and after Close.
func TestSignals(t *testing.T) {
	// Waits for the event and exits with the signals' low byte.
	c := new(asm.Code).Hypercall(hypercall.CallBlock, hypercall.Forever).Load(uint64(hypercall.SharedInfoGVA) + 40)
	c.MovReg(asm.RDI, asm.RAX).Mov(asm.RAX, 1).CallPage()
	img := asm.Image{Code: c}.Write(t)
	for _, when := range []time.Duration{-1, 0, time.Millisecond, 30 * time.Millisecond} {
		vm := mustNew(t, hv.Config{Image: img})
		vm.Signal(0)
		vm.Signal(65)
		vm.Signal(-1)
		send := func() { vm.Signal(syscall.SIGINT); vm.Signal(syscall.SIGINT) }
		if when < 0 {
			send()
			if vm.SignalTaken() {
				t.Error("taken before Run")
			}
		} else {
			time.AfterFunc(when, send)
		}
		exit, err := vm.Run(context.Background())
		if err != nil || exit.Code != 1<<(syscall.SIGINT-1) {
			t.Errorf("signal after %v: %+v, %v", when, exit, err)
		}
		send()
		vm.SignalTaken()
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
		send()
		if !vm.SignalTaken() {
			t.Error("not taken after Close")
		}
	}
}

// TestFailedNew: machines that cannot be made leave nothing behind.
func TestFailedNew(t *testing.T) {
	good := goodImage(t)
	runOnce(t, hv.Config{Image: good}, limit)
	dir := t.TempDir()
	before, size := look(), virtual()
	for range 100 {
		for _, cfg := range []hv.Config{
			{Image: dir}, {Image: dir + "/none"}, {Image: good, Memory: -1}, {Image: good, Memory: 1 << 20, RootFS: make([]byte, 1<<20)},
			{Image: asm.Image{Code: new(asm.Code), Version: 9}.Write(t)}, {Image: good, Env: []string{string(make([]byte, 2<<20))}},
		} {
			if vm, err := newVM(t, cfg); err == nil {
				vm.Close()
				t.Fatalf("%+v is a machine", cfg)
			}
		}
	}
	before.compare(t)
	if grown := virtual() - size; grown > 1<<30 {
		t.Errorf("%d MiB of address space are left behind", grown>>20)
	}
}

// TestMisuse: calls in the wrong order are errors and no more.
func TestMisuse(t *testing.T) {
	vm := mustNew(t, hv.Config{Image: goodImage(t)})
	vm.Run(context.Background())
	var host *hv.HostError
	if _, err := vm.Run(context.Background()); !errors.As(err, &host) {
		t.Errorf("second Run: %v", err)
	}
	vm.Close()
	vm = mustNew(t, hv.Config{Image: goodImage(t)})
	vm.Close()
	if _, err := vm.Run(context.Background()); !errors.As(err, &host) {
		t.Errorf("Run after Close: %v", err)
	}
	for _, m := range []int64{-1, 4096, 1<<20 + 1, 1 << 41, 1 << 62} {
		if vm, err := newVM(t, hv.Config{Image: goodImage(t), Memory: m}); err == nil {
			vm.Close()
			t.Errorf("a machine of %d bytes", m)
		}
	}
	if _, err := newVM(t, hv.Config{Image: asm.Image{Code: new(asm.Code)}.Write(t), RootFS: make([]byte, 65<<20)}); !errors.Is(err, hv.ErrMemory) {
		t.Errorf("an archive larger than the machine: %v", err)
	}
}

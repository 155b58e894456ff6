package main

import (
	"bytes"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// load is what goes on beside the rests. Each checks itself, and counts.
var load = []func() error{allocate, collect, tick, drawBytes, drawNumbers, exchange, files, lockThread, compute}

// startLoad runs load in two goroutines each until stop is called, which says what went
// wrong, or that all of them have got somewhere.
func startLoad() (stop func() string) {
	var done atomic.Bool
	var all sync.WaitGroup
	var mu sync.Mutex
	counts, failures := make([]int, len(load)), ""
	for i := range 2 * len(load) {
		all.Go(func() {
			for !done.Load() {
				err := load[i/2]()
				mu.Lock()
				counts[i/2]++
				if err != nil {
					failures += fmt.Sprintln(i/2, err)
				}
				mu.Unlock()
				runtime.Gosched()
			}
		})
	}
	return func() string {
		done.Store(true)
		all.Wait()
		for i, n := range counts {
			if n == 0 {
				failures += fmt.Sprintln(i, "has done nothing")
			}
		}
		return "done " + failures
	}
}

var kept atomic.Pointer[[]*[64]byte]

func allocate() error {
	list := make([]*[64]byte, 1000)
	for i := range list {
		list[i] = &[64]byte{byte(i)}
	}
	kept.Store(&list)
	for i, b := range list {
		if b[0] != byte(i) {
			return fmt.Errorf("%d where %d was", b[0], i)
		}
	}
	return nil
}

func collect() error {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return nil
}

func tick() error {
	start := time.Now()
	<-time.After(time.Millisecond)
	if d := time.Since(start); d < time.Millisecond {
		return fmt.Errorf("a millisecond took %v", d)
	}
	return nil
}

func drawBytes() error {
	b, c := make([]byte, 10000), make([]byte, 10000)
	cryptorand.Read(b)
	cryptorand.Read(c)
	if bytes.Equal(b, c) {
		return fmt.Errorf("the same random bytes twice")
	}
	return nil
}

func drawNumbers() error {
	seen := map[uint64]bool{}
	for range 1000 {
		v := rand.Uint64()
		if seen[v] {
			return fmt.Errorf("the same random number twice")
		}
		seen[v] = true
	}
	return nil
}

// exchange passes values through channels, and wakes and parks threads with that.
func exchange() error {
	there, back := make(chan int), make(chan int)
	go func() {
		for v := range there {
			back <- v + 1
		}
	}()
	defer close(there)
	for i := range 1000 {
		if there <- i; <-back != i+1 {
			return fmt.Errorf("another value came back")
		}
	}
	return nil
}

func files() error {
	f, err := os.CreateTemp("", "")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	text := []byte(f.Name())
	if _, err := f.Write(text); err != nil {
		return err
	}
	back, err := os.ReadFile(f.Name())
	if err == nil && !bytes.Equal(back, text) {
		err = fmt.Errorf("%q came back as %q", text, back)
	}
	return err
}

func lockThread() error {
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			runtime.LockOSThread() // which ends with the goroutine
			runtime.Gosched()
		})
	}
	all.Wait()
	return nil
}

var sink atomic.Uint64

// compute keeps floating-point and integer registers in use without a call.
func compute() error {
	x, y, n := 1.0, 3.0, uint64(1)
	for range 1_000_000 {
		x, y, n = x*1.0000001, y+0.5, n*3
	}
	sink.Store(n)
	if x2 := 1.1051709; x < x2-1e-5 || x > x2+1e-5 || y != 500_003 {
		return fmt.Errorf("computed %v and %v", x, y)
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"runtime/trace"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var (
	_ = add("profile", profile)
	_ = add("metrics", showMetrics)
	_ = add("memory-limit", memoryLimit)
	_ = add("heap-dump", heapDump)
	_ = add("heap-dump-two", heapDumpTwo)
	_ = add("crash-output", crashOutput)
)

// profile writes a profile of one kind to stdout.
func profile(args []string) {
	switch kind := args[0]; kind {
	case "cpu":
		// This thread's own time: the runtime's watcher has no samples, and in trap
		// mode its wakings are not cheap.
		runtime.LockOSThread()
		check(pprof.StartCPUProfile(os.Stdout))
		begin := cpuTime(unix.CLOCK_THREAD_CPUTIME_ID)
		for i := range int64(10) {
			burn(begin + (i+1)*1e9/10)
			time.Sleep(20 * time.Millisecond)
		}
		used := cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) - begin
		pprof.StopCPUProfile()
		fmt.Fprintln(os.Stderr, used)
	case "trace":
		check(trace.Start(os.Stdout))
		trace.WithRegion(context.Background(), "work", func() { contend() })
		trace.Stop()
	case "block", "mutex":
		runtime.SetBlockProfileRate(1)
		runtime.SetMutexProfileFraction(1)
		contend()
		check(pprof.Lookup(kind).WriteTo(os.Stdout, 0))
	case "heap":
		runtime.MemProfileRate = 1
		kept = keepSome()
		runtime.GC()
		check(pprof.Lookup(kind).WriteTo(os.Stdout, 0))
		runtime.KeepAlive(kept)
	case "goroutine":
		stop := make(chan bool)
		go waitForStop(stop)
		runtime.Gosched()
		check(pprof.Lookup(kind).WriteTo(os.Stdout, 0))
		close(stop)
	}
}

// burn uses the process's CPU time up to a point.
//
//go:noinline
func burn(until int64) {
	for cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) < until {
		for range 10_000 {
			spins++
		}
	}
}

//go:noinline
func contend() {
	var mu sync.Mutex
	var wg sync.WaitGroup
	mu.Lock()
	for range 4 {
		wg.Go(func() {
			mu.Lock()
			time.Sleep(time.Millisecond)
			mu.Unlock()
		})
	}
	time.Sleep(5 * time.Millisecond)
	mu.Unlock()
	wg.Wait()
}

var kept [][]byte

//go:noinline
func keepSome() (list [][]byte) {
	for range 100 {
		list = append(list, make([]byte, 10_000))
	}
	return list
}

//go:noinline
func waitForStop(stop chan bool) { <-stop }

// showMetrics prints which metrics there are, and what must not be nothing.
func showMetrics([]string) {
	runtime.GC()
	all := metrics.All()
	samples := make([]metrics.Sample, len(all))
	for i, d := range all {
		samples[i].Name = d.Name
	}
	metrics.Read(samples)
	for _, s := range samples {
		switch s.Name {
		case "/cpu/classes/total:cpu-seconds", "/cpu/classes/gc/total:cpu-seconds":
			fmt.Println(s.Name, s.Value.Float64() > 0)
		case "/memory/classes/total:bytes", "/gc/heap/allocs:bytes", "/gc/cycles/total:gc-cycles", "/sched/goroutines:goroutines":
			fmt.Println(s.Name, s.Value.Uint64() > 0)
		default:
			fmt.Println(s.Name, s.Value.Kind())
		}
	}
}

// memoryLimit makes garbage that only the limit has collected. How far the heap
// overshoots is a matter of timing.
func memoryLimit([]string) {
	const limit = 12 << 20
	debug.SetMemoryLimit(limit)
	debug.SetGCPercent(-1)
	fmt.Println(debug.SetMemoryLimit(-1))
	for range 1000 {
		kept = append(kept[:0], make([]byte, 100_000))
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println(stats.NumGC > 1)
}

func heapDump([]string) {
	f := must(os.CreateTemp("", "dump"))
	must(f.WriteString("before"))
	debug.WriteHeapDump(f.Fd())
	must(f.WriteString("after"))
	b := must(os.ReadFile(f.Name()))
	fmt.Printf("%.22q %q %v\n", b, b[len(b)-5:], len(b) > 10_000)
}

// heapDumpTwo makes a dump while another waits for the reader of its pipe.
func heapDumpTwo([]string) {
	kept := make([]byte, 1<<20)
	r, w, err := os.Pipe()
	check(err)
	go func() {
		debug.WriteHeapDump(w.Fd())
		check(w.Close())
	}()
	must(r.Read(make([]byte, 1))) // the rest does not fit into the pipe
	f := must(os.CreateTemp("", "dump"))
	size := make(chan int64)
	go func() {
		debug.WriteHeapDump(f.Fd())
		size <- must(f.Stat()).Size()
	}()
	time.Sleep(10 * time.Millisecond)
	n := must(io.Copy(io.Discard, r))
	fmt.Println(n > 1<<20, <-size > 1<<20, len(kept))
}

// crashOutput dies with its last words also on stdout, or no longer there.
func crashOutput(args []string) {
	check(debug.SetCrashOutput(os.Stdout, debug.CrashOptions{}))
	if len(args) > 0 {
		check(debug.SetCrashOutput(nil, debug.CrashOptions{}))
	}
	panic("last words")
}

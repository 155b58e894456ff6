// Command work runs one of the workloads that the benchmarks compare and
// prints its name, the ns of one operation and the number of operations.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"sync"
	"time"
)

// workload does n operations. The cost of setup is not measured, nor, for all
// but cold ones, that of a first tenth: memory touched for the first time has a
// benchmark of its own.
type workload struct {
	n     int
	setup func()
	run   func(n int)
	cold  bool
}

var workloads = map[string]workload{
	"primes":   {n: 60, run: primes},
	"json":     {n: 5000, run: jsonRoundTrip},
	"sha256":   {n: 400, run: hash},
	"regexp":   {n: 60, run: match},
	"pingpong": {n: 1_000_000, run: pingPong},
	"mutex":    {n: 50_000_000, run: contend},
	"gc":       {n: 15, setup: growHeap, run: collect},
	"now":      {n: 6_000_000, run: now},
	"touch":    {n: 1, run: touch, cold: true},
	"sleep":    {n: 200, run: sleep},
}

func main() {
	w, ok := workloads[os.Args[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such workload:", os.Args[1])
		os.Exit(2)
	}
	if w.setup != nil {
		w.setup()
	}
	if !w.cold {
		w.run(w.n / 10)
	}
	start := time.Now()
	w.run(w.n)
	fmt.Println(os.Args[1], float64(time.Since(start).Nanoseconds())/float64(w.n), w.n)
}

var sink int

// primes alternates between two copies of the same loop, which lie half a cache
// line apart: where the linker puts a loop this tight decides a quarter of its
// time, and must not decide the comparison.
func primes(n int) {
	for i := range n {
		if i%2 == 0 {
			sieveHere(make([]bool, 1<<20))
		} else {
			sieveThere(make([]bool, 1<<20))
		}
	}
}

//go:noinline
func sieveHere(sieve []bool) {
	for i := 2; i < len(sieve); i++ {
		if sieve[i] {
			continue
		}
		sink++
		for j := 2 * i; j < len(sieve); j += i {
			sieve[j] = true
		}
	}
}

//go:noinline
func sieveThere(sieve []bool) {
	for i := 2; i < len(sieve); i++ {
		if sieve[i] {
			continue
		}
		sink++
		for j := 2 * i; j < len(sieve); j += i {
			sieve[j] = true
		}
	}
}

type record struct {
	ID    int
	Name  string
	Tags  []string
	Attrs map[string]float64
}

func jsonRoundTrip(n int) {
	in := make([]record, 20)
	for i := range in {
		in[i] = record{i, fmt.Sprint("record ", i), []string{"a", "b", "c"}, map[string]float64{"x": 1.5, "y": float64(i)}}
	}
	for range n {
		b, _ := json.Marshal(in)
		var out []record
		if json.Unmarshal(b, &out) != nil || len(out) != len(in) {
			panic("json")
		}
	}
}

func hash(n int) {
	b := make([]byte, 1<<20)
	for range n {
		s := sha256.Sum256(b)
		sink += int(s[0])
	}
}

func match(n int) {
	re := regexp.MustCompile(`([a-z]+)@([a-z]+)\.(com|org)`)
	var text []byte
	for i := range 2000 {
		text = fmt.Appendf(text, "line %d somebody@example.org and else ", i)
	}
	for range n {
		sink += len(re.FindAll(text, -1))
	}
}

func pingPong(n int) {
	a, b := make(chan int), make(chan int)
	go func() {
		for v := range a {
			b <- v
		}
	}()
	for i := range n {
		a <- i
		<-b
	}
	close(a)
}

func contend(n int) {
	const goroutines = 8
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range n / goroutines {
				mu.Lock()
				sink++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

type node struct {
	left, right *node
	data        [2]uint64
}

var live *node

func growHeap() {
	var grow func(depth int) *node
	grow = func(depth int) *node {
		if depth == 0 {
			return nil
		}
		return &node{left: grow(depth - 1), right: grow(depth - 1)}
	}
	live = grow(20) // 2^20 nodes of 32 bytes: 32 MiB
	runtime.GC()
}

func collect(n int) {
	for range n {
		runtime.GC()
	}
	runtime.KeepAlive(live)
}

func now(n int) {
	for range n {
		sink += time.Now().Nanosecond()
	}
}

// touch allocates 64 MiB and writes to each page for the first time.
func touch(int) {
	b := make([]byte, 64<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	sink += int(b[len(b)-4096])
}

func sleep(n int) {
	for range n {
		time.Sleep(time.Millisecond)
	}
}

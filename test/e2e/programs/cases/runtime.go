package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

var (
	_ = add("goroutines", goroutines)
	_ = add("gc", collect)
	_ = add("types", types)
	_ = add("recover", recovers)
	_ = add("panic", func([]string) { panicDeep(3) })
	_ = add("panic-error", func([]string) { panic(fmt.Errorf("wrapped: %w", io.ErrUnexpectedEOF)) })
	_ = add("panic-nil", func([]string) { panicNil(nil) })
	_ = add("panic-goroutine", func([]string) { panicElsewhere() })
	_ = add("stack-overflow", func([]string) { debug.SetMaxStack(1 << 20); fmt.Println(overflow(1)) })
	_ = add("out-of-memory", func([]string) { eat() })
	_ = add("deadlock", func([]string) { select {} })
	_ = add("deadlock-mutex", func([]string) { var m sync.Mutex; m.Lock(); m.Lock() })
	_ = add("fatal", func([]string) { var m sync.Mutex; m.Unlock() })
	_ = add("preempt", preempt)
	_ = add("share", share)
	_ = add("exit", func(args []string) { os.Exit(must(strconv.Atoi(args[0]))) })
	_ = add("goexit", func([]string) { go func() {}(); runtime.Goexit() })
	_ = add("spin", func([]string) { spin() })
)

func goroutines([]string) {
	c, done := make(chan int), make(chan int)
	var total atomic.Int64
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			for k := range 20 {
				c <- i * k
				runtime.Gosched()
			}
		})
	}
	go func() {
		for n := range c {
			total.Add(int64(n))
		}
		close(done)
	}()
	wg.Wait()
	close(c)
	<-done
	fmt.Println("sum", total.Load())
	selects()
	condition()
	contexts()
}

func selects() {
	a, b, quit := make(chan int), make(chan string, 1), make(chan bool)
	go func() { a <- 1; b <- "two"; close(quit) }()
	for n := 0; ; n++ {
		select {
		case v := <-a:
			fmt.Println("a", v)
		case v := <-b:
			fmt.Println("b", v)
		case <-quit:
			select {
			case v := <-b:
				fmt.Println("b", v)
			default:
			}
			fmt.Println("quit")
			return
		}
	}
}

func condition() {
	var mu sync.Mutex
	cond := sync.NewCond(&mu)
	turn := 0
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for turn != i {
				cond.Wait()
			}
			fmt.Println("turn", i)
			turn++
			cond.Broadcast()
		})
	}
	wg.Wait()
}

func contexts() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println(ctx.Err())
	ctx, stop := context.WithCancelCause(context.Background())
	stop(errors.New("enough"))
	<-ctx.Done()
	fmt.Println(ctx.Err(), context.Cause(ctx))
}

type node struct {
	next *node
	data [100]int
}

// collect makes much more garbage than there is memory, while some stays.
func collect([]string) {
	var live *node
	for i := range 2000 {
		live = &node{next: live}
		live.data[7] = i
	}
	for range 100 {
		garbage := make([][]byte, 0, 64)
		for i := range 64 {
			garbage = append(garbage, make([]byte, 10_000+i))
		}
		runtime.KeepAlive(garbage)
	}
	sum := 0
	for n := live; n != nil; n = n.next {
		sum += n.data[7]
	}
	fmt.Println("live", sum)
	var finalized, cleaned atomic.Int32
	for i := range 100 {
		n := &node{}
		runtime.SetFinalizer(n, func(*node) { finalized.Add(1) })
		m := &node{}
		runtime.AddCleanup(m, func(int) { cleaned.Add(1) }, i)
	}
	for i := 0; i < 1000 && finalized.Load()+cleaned.Load() < 200; i++ {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	fmt.Println("finalized", finalized.Load(), "cleaned", cleaned.Load())
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collections", stats.NumGC > 0, "heap", stats.HeapAlloc < 32<<20)
	debug.FreeOSMemory()
}

type shape interface{ Area() float64 }
type square struct{ Side float64 }

func (s square) Area() float64 { return s.Side * s.Side }

func types([]string) {
	m := map[string]int{}
	for i := range 10000 {
		m[strconv.Itoa(i*7919)] = i
	}
	for i := range 5000 {
		delete(m, strconv.Itoa(i*7919))
	}
	keys := []string{}
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	fmt.Println(len(m), keys[0], keys[len(keys)-1], m[keys[17]])
	var s shape = square{3}
	v := reflect.ValueOf(s)
	fmt.Println(v.Type(), v.Method(0).Call(nil)[0], v.Field(0))
	f := reflect.MakeFunc(reflect.TypeFor[func(int, int) int](), func(in []reflect.Value) []reflect.Value {
		return []reflect.Value{reflect.ValueOf(int(in[0].Int() * in[1].Int()))}
	}).Interface().(func(int, int) int)
	fmt.Println(f(6, 7), runtime.GOOS, runtime.GOARCH)
	info, ok := debug.ReadBuildInfo()
	fmt.Println(ok && info.Main.Path == "github.com/pvrun/pvrun/test/e2e/programs")
}

// try reports how f panics.
func try(name string, f func()) {
	defer func() {
		r := recover()
		err, isRuntime := r.(runtime.Error)
		fmt.Println(name, "recovered:", r, isRuntime)
		if addr, ok := err.(interface{ Addr() uintptr }); ok {
			fmt.Printf("  at %#x\n", addr.Addr())
		}
	}()
	f()
	fmt.Println(name, "did not panic")
}

// peek reads the byte at any address.
func peek(addr uintptr) byte { return **(**byte)(unsafe.Pointer(&addr)) }

var zero, five = 0, 5
var nobody *node

func recovers([]string) {
	for range 3 {
		try("nil read", func() { fmt.Println(nobody.data[3]) })
		try("nil write", func() { nobody.next = nil })
		try("divide", func() { fmt.Println(five / zero) })
		try("remainder", func() { fmt.Println(five % zero) })
	}
	try("index", func() { fmt.Println([]int{1, 2}[five]) })
	try("slice", func() { fmt.Println("abc"[five:]) })
	try("assert", func() { fmt.Println(any(five).(string)) })
	try("closed", func() { c := make(chan int); close(c); close(c) })
	try("nil map", func() { var m map[int]int; m[1] = 2 })
	try("make", func() { fmt.Println(make([]int, five-10)) })
	try("nil func", func() { var f func(); f() })
	debug.SetPanicOnFault(true)
	try("bad address", func() { fmt.Println(peek(uintptr(five) << 40)) })
	try("not canonical", func() { fmt.Println(peek(uintptr(five) << 60)) })
	try("in a goroutine", func() {
		c := make(chan any)
		go func() {
			defer func() { c <- recover() }()
			nobody.next = nil
		}()
		panic(<-c)
	})
	defer fmt.Println("deferred in order")
	defer func() { fmt.Println("again:", recover()) }()
	defer func() { panic(fmt.Sprint("second after ", recover())) }()
	panic("first")
}

//go:noinline
func panicDeep(n int) {
	if n == 0 {
		var list []int
		list[n+4]++
	}
	panicDeep(n - 1)
}

func panicNil(p *node) {
	defer fmt.Println("deferred")
	p.next.next = p
}

func panicElsewhere() {
	go func() { panic("in a goroutine") }()
	time.Sleep(time.Minute)
}

//go:noinline
func overflow(n int) int { return overflow(n+1) + n }

var eaten [][]byte

func eat() {
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		eaten = append(eaten, b)
	}
}

var spins int

func spin() {
	for {
		spins++
	}
}

// share keeps one goroutine busy, without ever waiting, until another one has
// had its turn.
func share(args []string) {
	work := map[string]func(){
		"compute": func() { spins++ },
		"alloc":   func() { eaten = append(eaten[:0], make([]byte, 1000)) },
		"getpid":  func() { os.Getpid() },
		"now":     func() { time.Now() },
		"stat":    func() { os.Stat("/tmp") },
		"write":   func() { check(os.WriteFile("/tmp/share", []byte("x"), 0o600)) },
	}[args[0]]
	var turns atomic.Int32
	go func() {
		for {
			turns.Add(1)
			runtime.Gosched()
		}
	}()
	for turns.Load() < 5 {
		work()
	}
	fmt.Println("shared")
}

// preempt has goroutines in empty loops while others work and the collector
// runs.
func preempt([]string) {
	for range 3 {
		go func() {
			for {
			}
		}()
		go spin()
	}
	c := make(chan int)
	go func() {
		for i := range 100 {
			c <- i
		}
		close(c)
	}()
	n := 0
	for range c {
		n++
	}
	for range 3 {
		runtime.GC()
	}
	time.Sleep(5 * time.Millisecond)
	fmt.Println("done", n)
}

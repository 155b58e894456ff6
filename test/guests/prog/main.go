// Command guests is the Go half of the tests in test/guests: each case does
// one thing that a guest must not.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"

	"pvrun.example/guests/raw"
)

const (
	callMap, callUnmap, callProtect, callDiscard, callAlias = 5, 6, 7, 8, 9

	vcpuPage, sharedPage = 0x7ffd_0031_0000, 0x7ffd_0030_0000
	free                 = 0x10_0000_0000
	page                 = 4096
)

var cases = map[string]func(){
	"inside":                    inside,
	"nil":                       func() { *(*int)(pointer(0)) = 1 },
	"wild":                      func() { *(*int)(pointer(0x1234_5678_9000)) = 1 },
	"overflow":                  func() { debug.SetMaxStack(8 << 20); println(grow(0)) },
	"overflow in little memory": func() { println(grow(0)) },
	"memory":                    memory,
	"deadlock":                  func() { select {} },
	"panic":                     func() { panic("on purpose") },
	"exit":                      func() { os.Exit(77) },

	"spin": func() {
		for {
		}
	},
	"spin on no stack": func() { raw.SpinOn(0) },
	"spin on text":     func() { raw.SpinOn(text()) },
	"fault on nothing": func() { raw.FaultOn(8) },
	"fault on odd":     func() { raw.FaultOn(1 << 63) },
	"TF for ever":      func() { raw.SpinWith(1 << 8) },
	"AC for ever":      func() { raw.SpinWith(1 << 18) },
	"HLT":              raw.HLT,
	"OUT":              raw.OUT,
	"IN":               raw.IN,
	"LoadCR3":          raw.LoadCR3,
	"VMMCALL":          raw.VMMCALL,
	"page's middle":    func() { raw.Jump(0x7ffd_0000_0003) },
	"jump to data":     func() { var x [64]byte; raw.Jump(uintptr(unsafe.Pointer(&x))) },

	"unmap the heap":  func() { raw.Call(callUnmap, heap(), 4<<20, 0, 0, 0, 0); runtime.GC() },
	"unmap data":      unmapData,
	"protect all":     func() { raw.Call(callProtect, heap(), 4<<20, 0, 0, 0, 0); runtime.GC() },
	"zero everything": func() { raw.Call(callDiscard, 0x10000, 1<<36, 0, 0, 0, 0); runtime.GC(); grow(0) },
	"mask for ever": func() {
		go spin()
		for {
			*(*uint32)(pointer(vcpuPage)) = 1
		}
	},
	"junk in vCPU page":   func() { junk(vcpuPage, 72) },
	"junk beyond":         func() { junk(vcpuPage, page) },
	"junk in shared page": func() { junk(sharedPage, page) },
	"events for ever": func() {
		for {
			*(*uint32)(pointer(vcpuPage + 4)) = 1<<32 - 1
		}
	},
	"upcall nowhere": upcallNowhere,
	"ignore signals": func() {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		for {
			time.Sleep(time.Hour)
		}
	},
}

func main() {
	f := cases[os.Args[1]]
	if f == nil {
		fmt.Println("no such case:", os.Args[1])
		os.Exit(99)
	}
	f()
	fmt.Println("survived")
}

//go:noinline
func pointer(a uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&a)) }

func text() uintptr { f := spin; return **(**uintptr)(unsafe.Pointer(&f)) }

// heap is where Go's heap is, to 4 MiB.
func heap() uintptr { return uintptr(unsafe.Pointer(new([1 << 16]byte))) &^ (4<<20 - 1) }

func spin() {
	for {
	}
}

func grow(n int) int {
	var big [1 << 10]int
	big[n%len(big)] = n
	return grow(n+1) + big[(n+1)%len(big)]
}

func memory() {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
		runtime.KeepAlive(all)
	}
}

var variable = 1

func unmapData() {
	at := uintptr(unsafe.Pointer(&variable)) &^ (page - 1)
	fmt.Println(raw.Call(callUnmap, at, page, 0, 0, 0, 0))
	runtime.GC()
}

// junk writes over the host's pages while other goroutines run.
func junk(at, n uintptr) {
	for range 3 {
		go spin()
	}
	x := uint64(88172645463325252)
	for begin := time.Now(); time.Since(begin) < time.Second; {
		for off := uintptr(0); off < n; off += 8 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			*(*uint64)(pointer(at + off)) = x
		}
	}
}

func upcallNowhere() {
	args := [6]uint64{0x1000, 0x2000, 0, 0, 0, 0}
	raw.Call(10, uintptr(unsafe.Pointer(&args)), 0, 0, 0, 0, 0)
	spin()
}

// inside prints what a program sees that recovers from its faults.
func inside() {
	debug.SetPanicOnFault(true)
	for i := range 50 {
		lines := observe()
		if i == 0 {
			for _, l := range lines {
				fmt.Println(l)
			}
			continue
		}
	}
	fmt.Println("alive")
}

func observe() (lines []string) {
	try := func(name string, f func()) {
		defer func() {
			what := "no fault"
			if r := recover(); r != nil {
				what = fmt.Sprint(r)
				if a, ok := r.(interface{ Addr() uintptr }); ok {
					what = fmt.Sprintf("fault at %#x", a.Addr()&^(page-1))
				}
			}
			lines = append(lines, name+": "+what)
		}()
		f()
	}
	word := (*uint64)(pointer(free))
	call := func(want int64, nr uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		if got := raw.Call(nr, a[0], a[1], a[2], a[3], a[4], a[5]); got != want {
			lines = append(lines, fmt.Sprintf("call %d%#x = %d, want %d", nr, args, got, want))
		}
	}
	try("nil", func() { *(*int)(pointer(0)) = 1 })
	try("page 0", func() { *(*int)(pointer(0x800)) = 1 })
	try("write text", func() { *(*byte)(pointer(0x401000)) = 1 })
	try("write start info", func() { *(*byte)(pointer(0x7ffd_0010_0000)) = 1 })
	try("kernel half", func() { *(*byte)(pointer(0xffff_8000_0000_0000)) = 1 })
	try("divide by zero", func() { z := len(os.Args) - len(os.Args); variable = 1 / z })
	call(-13, callProtect, 0x401000, page, 3)
	call(-13, callMap, free, page, 7)
	call(-22, callMap, 0, page, 3)
	call(-38, 19)
	call(0, callMap, free, page, 3)
	try("mapped", func() { *word = 1 })
	call(0, callProtect, free, page, 1)
	try("read-only", func() { *word = 2 })
	call(0, callUnmap, free, page)
	try("unmapped", func() { *word = 3 })
	call(0, callMap, free, page, 3)
	try("mapped again", func() {
		if *word != 0 {
			panic("old contents")
		}
		*word = 4
	})
	call(0, callUnmap, free, page)
	if pid := raw.Syscall(39, 0, 0, 0); pid != 1 {
		lines = append(lines, fmt.Sprint("getpid by SYSCALL: ", pid))
	}
	return lines
}

// Command syscalls has SYSCALL instructions in its own assembly.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"
)

// call does a Linux system call with up to three arguments.
func call(number, a, b, c uintptr) uintptr

// write1 writes to stdout and keeps callee-saved and vector registers under
// watch: it returns 0 when they are as they were.
func write1(p unsafe.Pointer, n uintptr) (changed uint64)

func main() {
	fmt.Println(int(call(39, 0, 0, 0)) == os.Getpid()) // getpid
	text := []byte("written by an instruction\n")
	fmt.Println(call(1, 1, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text))))
	for range 3 {
		fmt.Println(write1(unsafe.Pointer(&text[0]), uintptr(len(text))))
	}
	fmt.Println(-int(call(999, 0, 0, 0)), -int(call(3, 77, 0, 0))) // ENOSYS; close: EBADF
	var wg sync.WaitGroup
	wrong := make([]int, 8)
	for i := range wrong {
		wg.Go(func() {
			for range 2000 {
				if int(call(39, 0, 0, 0)) != os.Getpid() {
					wrong[i]++
				}
				if i == 0 {
					runtime.GC()
				}
			}
		})
		if i == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
	fmt.Println(wrong)
}

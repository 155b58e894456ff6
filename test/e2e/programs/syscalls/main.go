// Command syscalls has SYSCALL instructions in its own assembly.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
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
	pipe()
}

// fds and buf are known by number, so they must not be where a stack can move them.
var (
	fds [2]int32
	buf [8]byte
)

// pipe has a blocking and a non-blocking pipe of the kernel's own.
func pipe() {
	at := uintptr(unsafe.Pointer(&buf))
	on := func(what string, number uintptr, fd int32, a, b uintptr) {
		fmt.Println(what, int(call(number, uintptr(fd), a, b)), string(buf[:]))
	}
	for _, flags := range []uintptr{0, syscall.O_NONBLOCK | syscall.O_CLOEXEC} {
		copy(buf[:], "12345678")
		fmt.Println(call(syscall.SYS_PIPE2, uintptr(unsafe.Pointer(&fds)), flags, 0))
		r, w := fds[0], fds[1]
		on("write", syscall.SYS_WRITE, w, at, 5)
		on("write", syscall.SYS_WRITE, w, at+5, 3)
		on("bad pointer", syscall.SYS_READ, r, 8, 1)
		buf = [8]byte{}
		on("read", syscall.SYS_READ, r, at, 6)
		on("read", syscall.SYS_READ, r, at, 6)
		if flags != 0 {
			on("nothing", syscall.SYS_READ, r, at, 6)
		}
		on("wrong end", syscall.SYS_WRITE, r, at, 1)
		on("wrong end", syscall.SYS_READ, w, at, 1)
		on("bad pointer", syscall.SYS_WRITE, w, 8, 1)
		on("F_GETFD", syscall.SYS_FCNTL, r, syscall.F_GETFD, 0)
		on("F_GETFL", syscall.SYS_FCNTL, r, syscall.F_GETFL, 0)
		on("F_SETFL", syscall.SYS_FCNTL, w, syscall.F_SETFL, syscall.O_NONBLOCK)
		fmt.Println(call(syscall.SYS_FCNTL, uintptr(w), syscall.F_GETFL, 0) & (syscall.O_NONBLOCK | syscall.O_ACCMODE))
		on("close", syscall.SYS_CLOSE, w, 0, 0)
		on("close", syscall.SYS_CLOSE, w, 0, 0)
		on("end", syscall.SYS_READ, r, at, 1)
		on("close", syscall.SYS_CLOSE, r, 0, 0)
		on("gone", syscall.SYS_FCNTL, r, syscall.F_GETFD, 0)
	}
	fmt.Println(int(call(syscall.SYS_PIPE2, uintptr(unsafe.Pointer(&fds)), 1, 0)), int(call(syscall.SYS_PIPE2, 8, 0, 0)))
}

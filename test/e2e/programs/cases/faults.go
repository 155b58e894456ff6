package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

var _ = add("fault", fault)

// fault dies of touching what may not be touched so.
func fault(args []string) {
	f := must(os.CreateTemp("", "fault"))
	check(f.Truncate(5000))
	const rw = syscall.PROT_READ | syscall.PROT_WRITE
	shared := must(syscall.Mmap(int(f.Fd()), 0, 4*4096, rw, syscall.MAP_SHARED))
	own := must(syscall.Mmap(-1, 0, 4096, rw, syscall.MAP_PRIVATE|syscall.MAP_ANON))
	shared[0], shared[5000], shared[8191], own[0] = 1, 2, 3, 4
	switch args[0] {
	case "nil":
		nobody.next = nil
	case "hole":
		addr := uintptr(unsafe.Pointer(&own[0]))
		check(syscall.Munmap(own))
		fmt.Println(peek(addr))
	case "readonly":
		check(syscall.Mprotect(own, syscall.PROT_READ))
		own[0]++
	case "none":
		check(syscall.Mprotect(own, syscall.PROT_NONE))
		fmt.Println(own[0])
	case "beyond":
		shared[2*4096] = 1
	case "beyond-read":
		fmt.Println(shared[3*4096])
	case "shrunk":
		check(f.Truncate(100))
		fmt.Println(shared[0], shared[4096])
	case "text":
		addr := uintptr(0x401000)
		**(**byte)(unsafe.Pointer(&addr)) = 1
	}
}

package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// This file is what the library's door (guest/sys) may use. Ordinary
// goroutines call it, with events unmasked, so each function is either one
// operation ([Call]), one trip through the gate or a read of a shared page.

// Gate asks the runtime's door for a Linux system call by number: what memory
// (mmap, munmap, mprotect, madvise), clocks, threads and signals need. It
// never allocates or parks; a result in [-4095, -1] is minus an errno.
func Gate(trap, a1, a2, a3, a4, a5, a6 uintptr) int64

// StackBounds returns the running goroutine's stack, [lo, hi).
func StackBounds() (lo, hi uintptr)

// Info is the start-info page, read-only.
func Info() *hypercall.StartInfo {
	return (*hypercall.StartInfo)(unsafe.Pointer(uintptr(hypercall.StartInfoGVA)))
}

// Shared is the shared-info page.
func Shared() *hypercall.SharedInfo {
	return (*hypercall.SharedInfo)(unsafe.Pointer(uintptr(hypercall.SharedInfoGVA)))
}

// Bytes is the memory of an extent that the host described.
func Bytes(e hypercall.Extent) []byte {
	if e.Len == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(e.Addr))), e.Len)
}

// PollRegister tells the runtime's poller that a descriptor has come into being
// that can become ready; PollUnregister that it is closed.
func PollRegister(fd int32)   { Gate(sysPollable, uintptr(fd), 1, 0, 0, 0, 0) }
func PollUnregister(fd int32) { Gate(sysPollable, uintptr(fd), 0, 0, 0, 0, 0) }

// PollNotify tells the runtime's poller of readiness (EPOLLIN, EPOLLOUT, …).
// What nobody watches yet is remembered.
func PollNotify(fd int32, events uint32) {
	Gate(sysNotify, uintptr(fd), uintptr(events), 0, 0, 0, 0)
}

// MarkSharedFile tells the runtime's door that a range that it reserved shows a
// file as far as that goes, with mmap's protections; MarkPrivateFile that one
// holds a copy.
func MarkSharedFile(addr, n, prot uintptr) int64 {
	return Gate(sysMarkFile, addr, n, uintptr(sharedFile), prot, 0, 0)
}

func MarkPrivateFile(addr, n, prot uintptr) int64 {
	return Gate(sysMarkFile, addr, n, uintptr(privateFile), prot, 0, 0)
}

// umask is the program's mask of permission bits, shared by both doors: package
// syscall sets it by a SYSCALL of its own.
var umask atomic.Uint32

// Umask is the program's mask of permission bits.
func Umask() *atomic.Uint32 { return &umask }

// MemoryLimit is what the Go runtime may use of the machine's memory, in bytes:
// what is free at the start, less what page tables, the kernel and uneven use
// take.
func MemoryLimit() int64 {
	const kernel = 1 << 20
	free := int64(Info().FreeBytes) - kernel
	return max(free-free/16, 1<<20)
}

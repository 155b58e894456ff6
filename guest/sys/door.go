package sys

import (
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// args are the arguments of one call, twice: as they came, and as pointers
// where they lead into the goroutine's own stack. The runtime adjusts those
// when the stack moves, so it must stay on the stack itself: it is passed down
// to direct calls only, never stored and never given to a function value or
// an interface.
type args struct {
	v [6]uintptr
	p [6]unsafe.Pointer
}

// Syscall does Linux's system call trap. As in package syscall, r1 is all ones
// and errno set when it fails.
//
// No stack may grow before the arguments are pointers, hence go:nosplit; the
// caller keeps what they lead to alive (go:uintptrkeepalive). Calls that fork
// are refused here, since their callers allow no stack to grow at all.
//
//go:nosplit
func Syscall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr) {
	switch trap {
	case sys_clone, sys_fork, sys_vfork, sys_clone3, sys_execve, sys_execveat:
		return ^uintptr(0), 0, uintptr(fs.ENOSYS)
	}
	lo, hi := guest.StackBounds()
	return enter(trap, a1, a2, a3, a4, a5, a6,
		within(a1, lo, hi), within(a2, lo, hi), within(a3, lo, hi),
		within(a4, lo, hi), within(a5, lo, hi), within(a6, lo, hi))
}

// within is v as a pointer when it leads into [lo, hi), else nil.
//
//go:nosplit
func within(v, lo, hi uintptr) unsafe.Pointer {
	if v-lo < hi-lo {
		return pointer(v)
	}
	return nil
}

// pointer turns an address into a pointer. It is safe for addresses in the
// running goroutine's stack before that can move, and for memory that Go did
// not give out or that the caller of the system call keeps alive.
//
//go:nosplit
func pointer(v uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&v))
}

// enter is the first function of the door that may grow the stack.
func enter(trap, a1, a2, a3, a4, a5, a6 uintptr, p1, p2, p3, p4, p5, p6 unsafe.Pointer) (r1, r2, errno uintptr) {
	a := args{
		v: [6]uintptr{a1, a2, a3, a4, a5, a6},
		p: [6]unsafe.Pointer{p1, p2, p3, p4, p5, p6},
	}
	if guest.Written() {
		drain()
	}
	bubble := leaveBubble()
	n, e := dispatch(trap, &a)
	if bubble != nil {
		enterBubble(bubble)
	}
	if e != 0 {
		return ^uintptr(0), 0, uintptr(e)
	}
	return uintptr(n), 0, 0
}

// dispatch finds the group that knows the call, the busiest first.
func dispatch(trap uintptr, a *args) (int, fs.Errno) {
	if n, e, ok := ioCall(trap, a); ok {
		return n, e
	}
	if n, e, ok := socketCall(trap, a); ok {
		return n, e
	}
	if n, e, ok := pathCall(trap, a); ok {
		return n, e
	}
	if n, e, ok := fdCall(trap, a); ok {
		return n, e
	}
	if n, e, ok := memoryCall(trap, a); ok {
		return n, e
	}
	if n, e, ok := timeCall(trap, a); ok {
		return n, e
	}
	if n, e, ok := pollCall(trap, a); ok {
		return n, e
	}
	if n, e, ok := processCall(trap, a); ok {
		return n, e
	}
	return 0, fs.ENOSYS
}

// done turns a bare errno into a call's result.
func done(e fs.Errno) (int, fs.Errno, bool) { return 0, e, true }

// gave turns a result with a value into a call's result.
func gave(n int, e fs.Errno) (int, fs.Errno, bool) { return n, e, true }

// linux splits a result of the gate or the host into value and errno.
//
//go:nosplit
func linux(n int64) (int, fs.Errno) {
	if n < 0 && n >= -4095 {
		return 0, fs.Errno(-n)
	}
	return int(n), 0
}

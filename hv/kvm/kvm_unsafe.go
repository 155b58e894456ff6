package kvm

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hv/engine"
	"golang.org/x/sys/unix"
)

// ioctl goes through unix.Syscall and never RawSyscall: KVM_RUN would hold its
// P and hang the host's own stop-the-world.
func ioctl(fd int, req uintptr, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, arg)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// ioctlPtr passes a structure; safe because p stays live and Go does not move
// heap objects or, during a system call, the stack.
func ioctlPtr[T any](fd int, req uintptr, p *T) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// run is the kvm_run structure that a vCPU's descriptor maps. Safe because the
// mapping lives until close and offsets are asserted in kvm_test.go.
type run struct{ b []byte }

func mapRun(fd, size int) (run, error) {
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return run{}, fmt.Errorf("map kvm_run: %w", err)
	}
	return run{b}, nil
}

func (r run) u32(off int) *uint32 { return (*uint32)(unsafe.Pointer(&r.b[off])) }
func (r run) u64(off int) *uint64 { return (*uint64)(unsafe.Pointer(&r.b[off])) }

func (r run) regs() *engine.Regs { return (*engine.Regs)(unsafe.Pointer(&r.b[runRegs])) }
func (r run) sregs() *sregs      { return (*sregs)(unsafe.Pointer(&r.b[runSregs])) }
func (r run) events() []byte     { return r.b[runEvents:][:eventsSize] }

// setImmediateExit writes the flag that KVM_RUN looks at first. It is one
// byte; the neighbours in its word are padding and the interrupt-window
// request, which is never used, so a word store is atomic and harmless.
func (r run) setImmediateExit(on bool) {
	v := uint32(0)
	if on {
		v = 1 << (8 * runImmediateExit)
	}
	atomic.StoreUint32(r.u32(0), v)
}

func (r run) close() error { return unix.Munmap(r.b) }

func sliceAddr(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

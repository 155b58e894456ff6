package nic

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

var _ = [1]struct{}{}[unsafe.Sizeof(Header{})-HeaderSize]

// transfer is readv(2) or writev(2) of a header and a frame. Safe because the kernel
// only uses the two buffers and the local array while it is called.
func transfer(call uintptr, fd int, h *Header, frame []byte) (int, unix.Errno) {
	list := [2]unix.Iovec{
		{Base: (*byte)(unsafe.Pointer(h)), Len: HeaderSize},
		{Base: unsafe.SliceData(frame), Len: uint64(len(frame))},
	}
	for {
		n, _, errno := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&list)), uintptr(len(list)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

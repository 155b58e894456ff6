package disk

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// range64 is one of the ioctls of a block device that take a start and a length
// in bytes (Linux, include/uapi/linux/fs.h: BLKDISCARD, BLKZEROOUT). Safe because
// the kernel only reads the local.
func (d *file) range64(request uintptr, off, n int64) error {
	r := [2]uint64{uint64(off), uint64(n)}
	return d.call(func(fd int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&r)))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// preadv2 is preadv2(2) with one piece. Safe because the kernel only reads the local,
// and writes the piece before it returns.
func preadv2(fd int, p []byte, off int64, flags int) (int, syscall.Errno) {
	iov := unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
	n, _, errno := unix.Syscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), 0, uintptr(flags))
	return int(n), errno
}

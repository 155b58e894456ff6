package disk

import (
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

package hv

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// zeroPage has the kernel map its page of zeros in place of a page, as KSM does where
// use_zero_pages is set: by userfaultfd(2), ioctl_userfaultfd(2).
func zeroPage(b []byte) error {
	const (
		api      = 0xc018aa3f
		register = 0xc020aa00
		zeropage = 0xc020aa04
	)
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	at := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil {
		return err
	}
	for _, step := range []struct {
		request uintptr
		arg     [4]uint64
	}{
		{api, [4]uint64{0xaa}},
		{register, [4]uint64{at, pageSize, 1}}, // UFFDIO_REGISTER_MODE_MISSING
		{zeropage, [4]uint64{at, pageSize}},
	} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, step.request, uintptr(unsafe.Pointer(&step.arg))); errno != 0 {
			return errno
		}
	}
	return nil
}

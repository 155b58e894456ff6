package hv

import (
	"os"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// has says whether memory is the window's. Safe because addresses are only
// compared.
func (w *window) has(b []byte) bool {
	if w == nil {
		return false
	}
	from := uintptr(unsafe.Pointer(unsafe.SliceData(w.data)))
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))-from < uintptr(len(w.data))
}

// showFile maps a file over b, shared. Safe because b is the window's, which Go
// does not know, and lies in what it reserved.
func showFile(b []byte, fd int, off int64, writable bool) error {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	_, err := unix.MmapPtr(fd, off, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), prot,
		unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_NORESERVE)
	return err
}

// hideFile maps nothing over b, which stays reserved. Safe as showFile is.
func hideFile(b []byte) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED|unix.MAP_NORESERVE)
	return err
}

// readFile copies len(dst) bytes of a mapped file, and writeFile to one, by the
// kernel: a page that has gone is an error for it and a signal for us.
func readFile(dst, file []byte) hypercall.Status {
	return moveFile(unix.ProcessVMReadv, dst, file[:len(dst)])
}

func writeFile(file, src []byte) hypercall.Status {
	return moveFile(unix.ProcessVMWritev, src, file[:len(src)])
}

// moveFile is process_vm_readv(2) or process_vm_writev(2) with this process. Safe
// because both slices outlive the call.
func moveFile(do func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error), own, file []byte) hypercall.Status {
	if len(own) == 0 {
		return 0
	}
	local := []unix.Iovec{{Base: unsafe.SliceData(own), Len: uint64(len(own))}}
	remote := []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(unsafe.SliceData(file))), Len: len(file)}}
	if n, err := do(os.Getpid(), local, remote, 0); err != nil || n != len(own) {
		return hypercall.EFAULT
	}
	return 0
}

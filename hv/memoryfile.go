package hv

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile makes a file that is in memory alone, and gone when it is closed.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

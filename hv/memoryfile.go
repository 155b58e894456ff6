package hv

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile makes a file that is in memory alone, and gone when it is closed.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// seals are those of a file in memory that nobody changes any more, whoever has it
// (fcntl(2), "File Sealing").
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// seal seals a file that may be sealed already.
func seal(f *os.File) error {
	if isSealed(f) {
		return nil
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("seal", err)
}

func isSealed(f *os.File) bool {
	has, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	return err == nil && has&seals == seals
}

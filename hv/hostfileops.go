package hv

import (
	"math"
	"os"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// flagsKnown are the flags that an operation takes.
func flagsKnown(op hypercall.HostFileOp) uint32 {
	switch op {
	case hypercall.HostFileOpen:
		return openFlagsKnown
	case hypercall.HostFileSync:
		return hypercall.HostFileDataOnly
	case hypercall.HostFileSetTimes:
		return hypercall.HostFileNOFOLLOW
	case hypercall.HostFileAllocate:
		return hypercall.HostFileKeepSize | hypercall.HostFilePunchHole | hypercall.HostFileZeroRange
	case hypercall.HostFileSeek:
		return hypercall.HostFileHole
	case hypercall.HostFileLock:
		return hypercall.HostFileUnlock | hypercall.HostFileLockWhole
	case hypercall.HostFileMap:
		return math.MaxUint32 // a paging call's, which looks at them itself
	}
	return 0
}

func takesLength(op hypercall.HostFileOp) bool {
	return op == hypercall.HostFileAllocate || op == hypercall.HostFileMap || op == hypercall.HostFileLock
}

// call makes a system call on the file until no signal gets in its way.
func (h *hostHandle) call(f func(fd int) error) (err error) {
	withFD(h.f, func(fd int) { err = retried(func() error { return f(fd) }) })
	return err
}

func (h *hostHandle) sync(a *hypercall.HostFileArgs) int64 {
	do := unix.Fsync
	if a.Flags&hypercall.HostFileDataOnly != 0 {
		do = unix.Fdatasync
	}
	return fileStatus(h.call(do))
}

// allocate is fallocate(2), on a thread of its own: some file systems give up and
// begin anew for every signal, and one comes to the vCPU's thread every 10 ms.
func (h *hostHandle) allocate(a *hypercall.HostFileArgs) int64 {
	switch {
	case a.Length == 0 || a.Length > math.MaxInt64:
		return failed(hypercall.EINVAL)
	case a.Offset > math.MaxInt64-int64(a.Length):
		return failed(hypercall.EFBIG)
	}
	done := make(chan error, 1)
	go func() {
		done <- h.call(func(fd int) error { return unix.Fallocate(fd, a.Flags, a.Offset, int64(a.Length)) })
	}()
	return fileStatus(<-done)
}

// seek finds data or a hole. The handle's own offset, which moves, is used by
// nothing: writes to the end go there by O_APPEND.
func (h *hostHandle) seek(a *hypercall.HostFileArgs) (at int64) {
	whence := unix.SEEK_DATA
	if a.Flags&hypercall.HostFileHole != 0 {
		whence = unix.SEEK_HOLE
	}
	err := h.call(func(fd int) (e error) {
		var st unix.Stat_t
		if e = unix.Fstat(fd, &st); e == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			return unix.EINVAL // to a folder this would be a position in its listing
		}
		at, e = unix.Seek(fd, a.Offset, whence)
		return e
	})
	if err != nil {
		return fileStatus(err)
	}
	return at
}

// lock takes, changes or gives back a lock that belongs to the handle and that
// every process on the host sees.
func (h *hostHandle) lock(a *hypercall.HostFileArgs) int64 {
	kind := a.Flags &^ hypercall.HostFileLockWhole
	switch {
	case kind == 0 || a.Length > math.MaxInt64:
		return failed(hypercall.EINVAL)
	case a.Flags&hypercall.HostFileLockWhole != 0:
		if a.Offset != 0 || a.Length != 0 {
			return failed(hypercall.EINVAL)
		}
		return fileStatus(h.call(func(fd int) error { return unix.Flock(fd, flockKinds[kind]|unix.LOCK_NB) }))
	case a.Length != 0 && a.Offset > math.MaxInt64-int64(a.Length)+1:
		return failed(hypercall.EINVAL)
	}
	l := unix.Flock_t{Type: rangeKinds[kind], Start: a.Offset, Len: int64(a.Length)}
	err := h.call(func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l) })
	if err == unix.EACCES {
		err = unix.EAGAIN // fcntl(2): either may be said
	}
	return fileStatus(err)
}

// Linux's numbers for HostFileLockShared, HostFileLockExclusive and
// HostFileUnlock.
var (
	flockKinds = [...]int{1: unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN}
	rangeKinds = [...]int16{1: unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK}
)

func (vm *VM) statfsPath(root *os.Root, name string, a *hypercall.HostFileArgs) int64 {
	f, err := root.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return fileStatus(err)
	}
	defer f.Close()
	return vm.statfs(f, a)
}

func (vm *VM) statfs(f *os.File, a *hypercall.HostFileArgs) int64 {
	var st unix.Statfs_t
	var err error
	withFD(f, func(fd int) { err = retried(func() error { return unix.Fstatfs(fd, &st) }) })
	if err != nil {
		return fileStatus(err)
	}
	size := uint64(max(st.Frsize, 0)) // what blocks are counted in
	if size == 0 {
		size = uint64(max(st.Bsize, 1))
	}
	return vm.reply(a, bytesOf(&hypercall.HostFileFS{
		BlockSize: size, Blocks: st.Blocks, BlocksFree: st.Bfree, BlocksAvail: st.Bavail,
		Files: st.Files, FilesFree: st.Ffree, NameMax: uint64(max(st.Namelen, 0)),
	}))
}

// timespecs are the times of HostFileSetTimes as utimensat(2) takes them.
func timespecs(times ...int64) []unix.Timespec {
	list := make([]unix.Timespec, len(times))
	for i, ns := range times {
		list[i] = unix.NsecToTimespec(ns)
		if ns == hypercall.HostFileOmit {
			list[i] = unix.Timespec{Nsec: unix.UTIME_OMIT}
		}
	}
	return list
}

package hv

import (
	"errors"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// prepareFile checks a request to StartInfo.FileRing as host_file checks its
// argument, and pins the memory that it names, or none.
func (b *blocks) prepareFile(j *blockJob) hypercall.Status {
	if j.req.Op != hypercall.BlockHostFile {
		return hypercall.EINVAL
	}
	a := &j.file
	if s := (guestMemory{b.tables}).copyIn(bytesOf(a), uint64(j.req.Segments[0].Addr)); s != 0 {
		return s
	}
	if !fitsRing(a) {
		return hypercall.EINVAL
	}
	if s := checkFile(b.vm.cfg.Shares, a); s != 0 || !moves(a) || a.BufLen == 0 {
		return s
	}
	s := b.tables.pinAll(j, []hypercall.BlockSegment{{Addr: a.Buf, Len: a.BufLen}}, a.Op == hypercall.HostFileRead)
	if s != 0 {
		b.tables.unpin(j)
	}
	return s
}

// moves says whether an operation moves data straight between file and memory.
func moves(a *hypercall.HostFileArgs) bool {
	return a.Op == hypercall.HostFileRead || a.Op == hypercall.HostFileWrite
}

// ofHandle says whether an operation is only about an open file, and short.
func ofHandle(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileLock, hypercall.HostFileSeek:
		return true
	case hypercall.HostFileStat:
		return a.PathLen == 0
	}
	return false
}

// fitsRing says whether an operation may come by the ring: those on handles that may
// take long, or that are made often.
func fitsRing(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileRead, hypercall.HostFileWrite, hypercall.HostFileTruncate, hypercall.HostFileSync:
		return true
	case hypercall.HostFileAllocate:
		return a.Length < 1<<63
	}
	return ofHandle(a)
}

// quickFile says whether a request is tried without waiting.
func (j *blockJob) quickFile(now uint64) bool {
	return j.file.Op == hypercall.HostFileRead || ofHandle(&j.file) ||
		j.file.Op == hypercall.HostFileWrite && !j.ring.pace.slow(now)
}

// performFile does a request that was prepared: what host_file returns, and with
// nowait perhaps that it would have to wait.
func (b *blocks) performFile(j *blockJob, nowait bool) int64 {
	if !nowait {
		b.vm.filesMu.Lock()
	} else if !b.vm.filesMu.TryLock() { // the vCPU's thread is in a call
		return blocked
	}
	h := b.vm.files.open[j.file.Handle]
	if h != nil && h.share == j.file.Share && ofHandle(&j.file) {
		defer b.vm.filesMu.Unlock()
		return b.vm.hostHandle(h, &j.file)
	}
	b.vm.filesMu.Unlock()
	if h == nil || h.share != j.file.Share {
		return failed(hypercall.EBADF)
	}
	n, err := 0, error(unix.EBADF)
	withFD(h.f, func(fd int) { // not at all when the guest has closed it by now
		err = retried(func() (e error) { n, e = b.fileCall(fd, j, nowait); return e })
	})
	switch {
	case nowait && err == errPartly:
		return blocked
	case err != nil:
		return fileStatus(err)
	}
	return int64(n)
}

// errPartly is a read without waiting that has not come to its end.
var errPartly = errors.New("not all of it is in memory")

// fileCall is the system call behind a request.
func (b *blocks) fileCall(fd int, j *blockJob, nowait bool) (n int, err error) {
	switch a := &j.file; a.Op {
	case hypercall.HostFileRead:
		return b.readFile(fd, j, nowait)
	case hypercall.HostFileWrite: // at the end, whatever the offset, after HostFileAPPEND (pwrite(2), "BUGS")
		return unix.Pwritev(fd, j.pieces, a.Offset)
	case hypercall.HostFileTruncate:
		return 0, unix.Ftruncate(fd, a.Offset)
	case hypercall.HostFileAllocate:
		return 0, unix.Fallocate(fd, a.Flags, a.Offset, int64(a.Length))
	case hypercall.HostFileSync:
		if a.Flags&hypercall.HostFileDataOnly != 0 {
			return 0, unix.Fdatasync(fd)
		}
	}
	return 0, unix.Fsync(fd)
}

func (b *blocks) readFile(fd int, j *blockJob, nowait bool) (n int, err error) {
	if nowait {
		n, err = unix.Preadv2(fd, j.pieces, j.file.Offset, unix.RWF_NOWAIT)
		if err == unix.EAGAIN || err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EFAULT ||
			err == nil && n > 0 && uint64(n) < j.file.BufLen {
			return 0, errPartly
		}
		return n, err
	}
	if n, err = unix.Preadv(fd, j.pieces, j.file.Offset); err != unix.EFAULT {
		return n, err
	}
	buf := make([]byte, j.file.BufLen) // see read
	if n, err = unix.Pread(fd, buf, j.file.Offset); err == nil {
		b.tables.scatter(j.pieces, buf[:n])
	}
	return n, err
}

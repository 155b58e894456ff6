package sys

import "github.com/pvrun/pvrun/guest/fs"

// ioCall does the calls that move data.
func ioCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_read:
		return gave(read(a))
	case sys_write:
		return gave(write(a))
	case sys_pread64:
		return gave(pread(a))
	case sys_pwrite64:
		return gave(pwrite(a))
	case sys_readv:
		return gave(readv(a, -1))
	case sys_writev:
		return gave(writev(a, -1))
	case sys_preadv, sys_pwritev:
		if a.i64(3) < 0 {
			return done(fs.EINVAL)
		}
		if trap == sys_preadv {
			return gave(readv(a, a.i64(3)))
		}
		return gave(writev(a, a.i64(3)))
	case sys_preadv2:
		if a.u32(5)&^rwfHipri != 0 {
			return done(fs.ENOTSUP)
		}
		return gave(readv(a, a.i64(3)))
	case sys_pwritev2:
		return gave(writev2(a))
	case sys_lseek:
		n, e := files().Seek(a.int(0), a.i64(1), a.int(2))
		return int(n), e, true
	case sys_close:
		return done(files().Close(a.int(0)))
	case sys_copy_file_range:
		return gave(copyRange(a))
	case sys_sendfile:
		return gave(sendfile(a))
	case sys_splice, sys_tee, sys_vmsplice:
		return done(fs.EINVAL)
	}
	return 0, 0, false
}

func read(a *args) (int, fs.Errno) {
	b, e := a.bytes(1)
	if e != 0 {
		return 0, e
	}
	return files().Read(a.int(0), b)
}

func write(a *args) (int, fs.Errno) {
	b, e := a.bytes(1)
	if e != 0 {
		return 0, e
	}
	return files().Write(a.int(0), b)
}

func pread(a *args) (int, fs.Errno) {
	b, e := a.bytes(1)
	if e != 0 {
		return 0, e
	}
	return files().Pread(a.int(0), b, a.i64(3))
}

func pwrite(a *args) (int, fs.Errno) {
	b, e := a.bytes(1)
	if e != 0 {
		return 0, e
	}
	return files().Pwrite(a.int(0), b, a.i64(3))
}

// maxGather is how much of a vector goes through one buffer: so a vector is
// one read or write to a pipe or console, as it must be.
const maxGather = 1 << 20

// readv reads into a vector; off is -1 for the descriptor's own offset.
func readv(a *args, off int64) (int, fs.Errno) {
	total, e := a.iovLen(1)
	if e != 0 {
		return 0, e
	}
	if off < 0 && total > 0 && files().CheckSocket(a.int(0)) == 0 {
		return readVector(a)
	}
	buf := make([]byte, min(total, maxGather))
	n, e := readFor(a.int(0), buf, off)
	rest := buf[:n]
	for k := 0; len(rest) > 0; k++ {
		rest = rest[copy(a.vec(1, k), rest):]
	}
	return n, e
}

func readFor(fd int, b []byte, off int64) (int, fs.Errno) {
	if off < 0 {
		return files().Read(fd, b)
	}
	return files().Pread(fd, b, off)
}

// writev writes a vector; off is -1 for the descriptor's own offset.
func writev(a *args, off int64) (int, fs.Errno) {
	total, e := a.iovLen(1)
	if e != 0 {
		return 0, e
	}
	if off < 0 && files().CheckSocket(a.int(0)) == 0 {
		return writeVector(a)
	}
	buf := make([]byte, 0, min(total, maxGather))
	for k := 0; k < int(a.v[2]) && len(buf) < cap(buf); k++ {
		b := a.vec(1, k)
		buf = append(buf, b[:min(len(b), cap(buf)-len(buf))]...)
	}
	if off < 0 {
		return files().Write(a.int(0), buf)
	}
	return files().Pwrite(a.int(0), buf, off)
}

// Flags of preadv2 and pwritev2. Linux's include/uapi/linux/fs.h.
const (
	rwfHipri = 1
	rwfDsync = 2
	rwfSync  = 4
)

// writev2 is writev with flags: RWF_DSYNC and RWF_SYNC are for this write what
// O_DSYNC and O_SYNC are for a file. That somebody waits in haste changes nothing.
func writev2(a *args) (int, fs.Errno) {
	flags := a.u32(5)
	if flags&^(rwfHipri|rwfDsync|rwfSync) != 0 {
		return 0, fs.ENOTSUP
	}
	n, e := writev(a, a.i64(3))
	if n > 0 && flags&(rwfDsync|rwfSync) != 0 {
		if e := files().Fsync(a.int(0), flags&rwfSync == 0); e != 0 {
			return 0, e
		}
	}
	return n, e
}

// optional is the offset at argument i, or nil for a null pointer.
func (a *args) optional(i int) (off int64, given bool, e fs.Errno) {
	if a.v[i] == 0 {
		return 0, false, 0
	}
	off, e = load[int64](a, i)
	return off, true, e
}

func copyRange(a *args) (int, fs.Errno) {
	from, inGiven, e1 := a.optional(1)
	to, outGiven, e2 := a.optional(3)
	if e1 != 0 || e2 != 0 {
		return 0, fs.EFAULT
	}
	if a.v[5] != 0 || int(a.v[4]) < 0 {
		return 0, fs.EINVAL
	}
	in, out := &from, &to
	if !inGiven {
		in = nil
	}
	if !outGiven {
		out = nil
	}
	n, e := files().CopyRange(a.int(0), in, a.int(2), out, int(a.v[4]))
	if inGiven && e == 0 {
		store(a, 1, from)
	}
	if outGiven && e == 0 {
		store(a, 3, to)
	}
	return n, e
}

func sendfile(a *args) (int, fs.Errno) {
	off, given, e := a.optional(2)
	if e != 0 {
		return 0, e
	}
	at := &off
	if !given {
		at = nil
	}
	n, e := files().Sendfile(a.int(0), a.int(1), at, int(min(a.v[3], 1<<31)))
	if given && e == 0 {
		store(a, 2, off)
	}
	return n, e
}

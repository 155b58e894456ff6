package sys

import "github.com/pvrun/pvrun/guest/fs"

// fdCall does the calls on descriptors that move no data.
func fdCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_fcntl:
		return gave(fcntl(a))
	case sys_fstat:
		return done(fstat(a))
	case sys_getdents64:
		return gave(getdents(a, false))
	case sys_getdents:
		return gave(getdents(a, true))
	case sys_dup:
		return gave(files().Dup(a.int(0)))
	case sys_dup2:
		return gave(files().Dup2(a.int(0), a.int(1)))
	case sys_dup3:
		return gave(files().Dup3(a.int(0), a.int(1), a.int(2)))
	case sys_close_range:
		return done(files().CloseRange(uint(a.u32(0)), uint(a.u32(1)), a.int(2)))
	case sys_ftruncate:
		return done(files().Ftruncate(a.int(0), a.i64(1)))
	case sys_fallocate:
		return done(files().Fallocate(a.int(0), a.int(1), a.i64(2), a.i64(3)))
	case sys_fsync, sys_syncfs:
		return done(files().Fsync(a.int(0), false))
	case sys_fdatasync, sys_sync_file_range:
		return done(files().Fsync(a.int(0), true))
	case sys_fadvise64:
		_, e := files().Fstat(a.int(0))
		return done(e)
	case sys_sync:
		return done(0)
	case sys_fchmod:
		return done(files().Fchmod(a.int(0), a.u32(1)))
	case sys_fchown:
		return done(files().Fchown(a.int(0), a.u32(1), a.u32(2)))
	case sys_fchdir:
		return done(files().Fchdir(a.int(0)))
	case sys_fstatfs:
		return done(fstatfs(a))
	case sys_flock:
		return done(files().Flock(a.int(0), a.int(1)))
	case sys_ioctl:
		return gave(ioctl(a))
	case sys_umask:
		return int(files().Umask(a.u32(0))), 0, true
	}
	return makeCall(trap, a)
}

// makeCall does the calls that make descriptors without a path.
func makeCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_pipe2:
		return done(pipe(a, a.int(1)))
	case sys_pipe:
		return done(pipe(a, 0))
	case sys_eventfd2:
		return gave(files().Eventfd(uint64(a.u32(0)), a.int(1)))
	case sys_eventfd:
		return gave(files().Eventfd(uint64(a.u32(0)), 0))
	case sys_memfd_create:
		name, e := a.str(0)
		if e != 0 {
			return done(e)
		}
		return gave(files().Memfd(name, a.int(1)))
	}
	return 0, 0, false
}

func fcntl(a *args) (int, fs.Errno) {
	fd, cmd := a.int(0), a.int(1)
	switch cmd {
	case fs.F_GETLK, fs.F_SETLK, fs.F_SETLKW, fs.F_OFD_GETLK, fs.F_OFD_SETLK, fs.F_OFD_SETLKW:
		fl, e := load[fs.Flock](a, 2)
		if e != 0 {
			return 0, e
		}
		e = files().Lock(fd, cmd, &fl)
		if e == 0 && (cmd == fs.F_GETLK || cmd == fs.F_OFD_GETLK) {
			e = store(a, 2, fl)
		}
		return 0, e
	}
	return files().Fcntl(fd, cmd, a.int(2))
}

func getdents(a *args, old bool) (int, fs.Errno) {
	b, e := a.bytes(1)
	if e != 0 {
		return 0, e
	}
	return files().Getdents(a.int(0), b, old)
}

func pipe(a *args, flags int) fs.Errno {
	if a.ptr(0, 8) == nil {
		return fs.EFAULT
	}
	r, w, e := files().Pipe(flags)
	if e != 0 {
		return e
	}
	return store(a, 0, [2]int32{int32(r), int32(w)})
}

// Requests of ioctl. Linux's include/uapi/asm-generic/ioctls.h.
const (
	tcgets     = 0x5401
	tcsets     = 0x5402
	tcsetsw    = 0x5403
	tcsetsf    = 0x5404
	tiocgpgrp  = 0x540f
	tiocspgrp  = 0x5410
	tiocgwinsz = 0x5413
	fionread   = 0x541b
	fionbio    = 0x5421
	fionclex   = 0x5450
	fioclex    = 0x5451
)

func ioctl(a *args) (int, fs.Errno) {
	fd := a.int(0)
	switch a.u32(1) {
	case fionread:
		n, e := files().Buffered(fd)
		if e != 0 {
			return 0, e
		}
		return 0, store(a, 2, int32(n))
	case fionbio:
		on, e := load[int32](a, 2)
		if e != 0 {
			return 0, e
		}
		return 0, files().SetNonblock(fd, on != 0)
	case fionclex:
		return files().Fcntl(fd, fs.F_SETFD, 0)
	case fioclex:
		return files().Fcntl(fd, fs.F_SETFD, fs.FD_CLOEXEC)
	}
	if e := blockControl(a); e != fs.ENOTTY {
		return 0, e
	}
	if e := functionControl(a); e != fs.ENOTTY {
		return 0, e
	}
	tty, e := files().Terminal(fd)
	if e != 0 {
		return 0, e
	}
	if !tty {
		return 0, fs.ENOTTY
	}
	return 0, ttyControl(a)
}

package sys

import "github.com/pvrun/pvrun/guest/fs"

func fstatat(a *args, dirfd, i, flags int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	st, e := files().Fstatat(dirfd, p, flags)
	if e != 0 {
		return e
	}
	return store(a, i+1, st)
}

func fstat(a *args) fs.Errno {
	st, e := files().Fstat(a.int(0))
	if e != 0 {
		return e
	}
	return store(a, 1, st)
}

func statx(a *args) fs.Errno {
	p, e := a.str(1)
	if e != 0 {
		return e
	}
	st, e := files().StatxAt(a.int(0), p, a.int(2), a.u32(3))
	if e != 0 {
		return e
	}
	return store(a, 4, st)
}

func access(a *args, dirfd, i, flags int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	return files().Access(dirfd, p, a.u32(i+1), flags)
}

func statfs(a *args) fs.Errno {
	p, e := a.str(0)
	if e != 0 {
		return e
	}
	st, e := files().StatfsAt(p)
	if e != 0 {
		return e
	}
	return store(a, 1, st)
}

func fstatfs(a *args) fs.Errno {
	st, e := files().Fstatfs(a.int(0))
	if e != 0 {
		return e
	}
	return store(a, 1, st)
}

func chmod(a *args, dirfd, i, flags int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	return files().Chmod(dirfd, p, a.u32(i+1), flags)
}

func chown(a *args, dirfd, i, flags int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	return files().Chown(dirfd, p, a.u32(i+1), a.u32(i+2), flags)
}

// utimensat's path may be null and so may its times.
func utimensat(a *args) fs.Errno {
	var p string
	var e fs.Errno
	if a.v[1] != 0 {
		if p, e = a.str(1); e != 0 {
			return e
		}
	}
	if a.v[2] == 0 {
		return files().Utimens(a.int(0), p, nil, a.int(3), a.v[1] == 0)
	}
	times, e := load[[2]fs.Timespec](a, 2)
	if e != 0 {
		return e
	}
	return files().Utimens(a.int(0), p, &times, a.int(3), a.v[1] == 0)
}

// utimes and futimesat take microseconds, utime seconds.
func utimes(a *args, dirfd, i int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	if a.v[i+1] == 0 {
		return files().Utimens(dirfd, p, nil, 0, false)
	}
	times, e := load[[2]fs.Timespec](a, i+1)
	if e != 0 {
		return e
	}
	for k := range times {
		if times[k].Nsec < 0 || times[k].Nsec >= 1e6 {
			return fs.EINVAL
		}
		times[k].Nsec *= 1000
	}
	return files().Utimens(dirfd, p, &times, 0, false)
}

func utime(a *args) fs.Errno {
	p, e := a.str(0)
	if e != 0 {
		return e
	}
	if a.v[1] == 0 {
		return files().Utimens(here, p, nil, 0, false)
	}
	sec, e := load[[2]int64](a, 1)
	if e != 0 {
		return e
	}
	times := [2]fs.Timespec{{Sec: sec[0]}, {Sec: sec[1]}}
	return files().Utimens(here, p, &times, 0, false)
}

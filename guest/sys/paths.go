package sys

import "github.com/pvrun/pvrun/guest/fs"

// here is AT_FDCWD.
const here = fs.AT_FDCWD

// pathCall does the calls that take a path.
func pathCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_openat:
		return gave(open(a, a.int(0), 1))
	case sys_open:
		return gave(open(a, here, 0))
	case sys_creat:
		return gave(creat(a))
	case sys_openat2:
		return gave(open2(a))
	case sys_newfstatat:
		return done(fstatat(a, a.int(0), 1, a.int(3)))
	case sys_stat:
		return done(fstatat(a, here, 0, 0))
	case sys_lstat:
		return done(fstatat(a, here, 0, fs.AT_SYMLINK_NOFOLLOW))
	case sys_statx:
		return done(statx(a))
	case sys_faccessat:
		return done(access(a, a.int(0), 1, 0))
	case sys_faccessat2:
		return done(access(a, a.int(0), 1, a.int(3)))
	case sys_access:
		return done(access(a, here, 0, 0))
	case sys_readlinkat:
		return gave(readlink(a, a.int(0), 1))
	case sys_readlink:
		return gave(readlink(a, here, 0))
	case sys_statfs:
		return done(statfs(a))
	case sys_getcwd:
		return gave(getcwd(a))
	case sys_chdir:
		p, e := a.str(0)
		if e == 0 {
			e = files().Chdir(p)
		}
		return done(e)
	}
	if e, ok := nameCall(trap, a); ok {
		return 0, e, true
	}
	e, ok := attrCall(trap, a)
	return 0, e, ok
}

// nameCall does the calls that make, move and remove names.
func nameCall(trap uintptr, a *args) (fs.Errno, bool) {
	switch trap {
	case sys_mkdirat:
		return mkdir(a, a.int(0), 1), true
	case sys_mkdir:
		return mkdir(a, here, 0), true
	case sys_mknodat:
		return mknod(a, a.int(0), 1), true
	case sys_mknod:
		return mknod(a, here, 0), true
	case sys_unlinkat:
		return unlink(a, a.int(0), 1, a.int(2)), true
	case sys_unlink:
		return unlink(a, here, 0, 0), true
	case sys_rmdir:
		return unlink(a, here, 0, fs.AT_REMOVEDIR), true
	case sys_renameat:
		return rename(a, a.int(0), 1, a.int(2), 3, 0), true
	case sys_renameat2:
		return rename(a, a.int(0), 1, a.int(2), 3, a.int(4)), true
	case sys_rename:
		return rename(a, here, 0, here, 1, 0), true
	case sys_linkat:
		return link(a, a.int(0), 1, a.int(2), 3, a.int(4)), true
	case sys_link:
		return link(a, here, 0, here, 1, 0), true
	case sys_symlinkat:
		return symlink(a, a.int(1), 2), true
	case sys_symlink:
		return symlink(a, here, 1), true
	}
	return 0, false
}

// attrCall does the calls that change attributes by path.
func attrCall(trap uintptr, a *args) (fs.Errno, bool) {
	switch trap {
	case sys_fchmodat:
		return chmod(a, a.int(0), 1, 0), true
	case sys_fchmodat2:
		return chmod(a, a.int(0), 1, a.int(3)), true
	case sys_chmod:
		return chmod(a, here, 0, 0), true
	case sys_fchownat:
		return chown(a, a.int(0), 1, a.int(4)), true
	case sys_chown:
		return chown(a, here, 0, 0), true
	case sys_lchown:
		return chown(a, here, 0, fs.AT_SYMLINK_NOFOLLOW), true
	case sys_truncate:
		p, e := a.str(0)
		if e == 0 {
			e = files().Truncate(p, a.i64(1))
		}
		return e, true
	case sys_utimensat:
		return utimensat(a), true
	case sys_utimes:
		return utimes(a, here, 0), true
	case sys_futimesat:
		return utimes(a, a.int(0), 1), true
	case sys_utime:
		return utime(a), true
	case sys_setxattr, sys_lsetxattr, sys_fsetxattr, sys_getxattr, sys_lgetxattr, sys_fgetxattr,
		sys_listxattr, sys_llistxattr, sys_flistxattr, sys_removexattr, sys_lremovexattr, sys_fremovexattr:
		return fs.ENOTSUP, true
	}
	return 0, false
}

// In the functions below i is the argument that holds the path; those after it
// follow in the order of the call.

func open(a *args, dirfd, i int) (int, fs.Errno) {
	p, e := a.str(i)
	if e != 0 {
		return 0, e
	}
	return files().Open(dirfd, p, a.int(i+1), a.u32(i+2))
}

func creat(a *args) (int, fs.Errno) {
	p, e := a.str(0)
	if e != 0 {
		return 0, e
	}
	return files().Open(here, p, fs.O_CREAT|fs.O_WRONLY|fs.O_TRUNC, a.u32(1))
}

func open2(a *args) (int, fs.Errno) {
	p, e := a.str(1)
	if e != 0 {
		return 0, e
	}
	if a.v[3] < 24 {
		return 0, fs.EINVAL
	}
	if a.v[3] > 24 {
		return 0, fs.E2BIG
	}
	how, e := load[fs.How](a, 2)
	if e != 0 {
		return 0, e
	}
	return files().Open2(a.int(0), p, how)
}

func mkdir(a *args, dirfd, i int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	return files().Mkdir(dirfd, p, a.u32(i+1))
}

func mknod(a *args, dirfd, i int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	return files().Mknod(dirfd, p, a.u32(i+1), uint64(a.u32(i+2)))
}

func unlink(a *args, dirfd, i, flags int) fs.Errno {
	p, e := a.str(i)
	if e != 0 {
		return e
	}
	return files().Unlink(dirfd, p, flags)
}

// two is the pair of paths at arguments i and j.
func (a *args) two(i, j int) (p, q string, e fs.Errno) {
	if p, e = a.str(i); e != 0 {
		return
	}
	q, e = a.str(j)
	return
}

func rename(a *args, olddir, i, newdir, j, flags int) fs.Errno {
	p, q, e := a.two(i, j)
	if e != 0 {
		return e
	}
	return files().Rename(olddir, p, newdir, q, flags)
}

func link(a *args, olddir, i, newdir, j, flags int) fs.Errno {
	p, q, e := a.two(i, j)
	if e != 0 {
		return e
	}
	return files().Link(olddir, p, newdir, q, flags)
}

func symlink(a *args, dirfd, i int) fs.Errno {
	target, p, e := a.two(0, i)
	if e != 0 {
		return e
	}
	return files().Symlink(target, dirfd, p)
}

func readlink(a *args, dirfd, i int) (int, fs.Errno) {
	p, e := a.str(i)
	if e != 0 {
		return 0, e
	}
	b, e := a.bytes(i + 1)
	if e != 0 {
		return 0, e
	}
	return files().Readlink(dirfd, p, b)
}

func getcwd(a *args) (int, fs.Errno) {
	b, e := a.bytes(0)
	if e != 0 {
		return 0, e
	}
	p, e := files().Getcwd()
	switch {
	case e != 0:
		return 0, e
	case len(p)+1 > len(b):
		return 0, fs.ERANGE
	}
	b[copy(b, p)] = 0
	return len(p) + 1, 0
}

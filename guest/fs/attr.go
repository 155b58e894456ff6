package fs

// setPerm is chmod. Linux refuses it on symbolic links (ENOTSUP).
func (n *inode) setPerm(f *file, mode uint32) Errno {
	if n.isLink() {
		return ENOTSUP
	}
	return n.body.setPerm(f, mode&permBits)
}

// Chmod sets permission bits.
func (fs *FS) Chmod(dirfd int, path string, mode uint32, flags int) Errno {
	if flags&^(AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH) != 0 {
		return EINVAL
	}
	n, e := fs.node(dirfd, path, flags)
	if e != 0 {
		return e
	}
	return n.setPerm(nil, mode)
}

// Fchmod is Chmod of an open file.
func (fs *FS) Fchmod(fd int, mode uint32) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	return f.node.setPerm(f, mode)
}

// Chown sets owner and group.
func (fs *FS) Chown(dirfd int, path string, uid, gid uint32, flags int) Errno {
	if flags&^(AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH) != 0 {
		return EINVAL
	}
	n, e := fs.node(dirfd, path, flags)
	if e != 0 {
		return e
	}
	return n.body.setOwner(nil, uid, gid)
}

// Fchown is Chown of an open file.
func (fs *FS) Fchown(fd int, uid, gid uint32) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	return f.node.body.setOwner(f, uid, gid)
}

// Utimens sets access and modification time; nil means now. noPath is
// utimensat's path NULL: dirfd itself.
func (fs *FS) Utimens(dirfd int, path string, times *[2]Timespec, flags int, noPath bool) Errno {
	if flags&^(AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH) != 0 {
		return EINVAL
	}
	now := fs.host.Now()
	ns := [2]int64{now, now}
	set := [2]bool{true, true}
	if times != nil {
		for i, t := range times {
			if t.Nsec != UTIME_NOW && t.Nsec != UTIME_OMIT {
				if t.Nsec < 0 || t.Nsec >= 1e9 {
					return EINVAL
				}
				ns[i] = t.ns()
			}
			set[i] = t.Nsec != UTIME_OMIT
		}
	}
	if noPath {
		return fs.futimens(dirfd, ns, set)
	}
	n, e := fs.node(dirfd, path, flags)
	if e != 0 {
		return e
	}
	return n.body.setTimes(nil, ns, set)
}

// ns is the time in ns, as far as 64 bits reach.
func (t Timespec) ns() int64 {
	const limit = 1<<63/1000000000 - 1
	return min(max(t.Sec, -limit), limit)*1e9 + t.Nsec
}

// futimens is Utimens of an open file.
func (fs *FS) futimens(fd int, ns [2]int64, set [2]bool) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	return f.node.body.setTimes(f, ns, set)
}

// Truncate sets a file's size.
func (fs *FS) Truncate(path string, size int64) Errno {
	if size < 0 {
		return EINVAL
	}
	n, e := fs.node(AT_FDCWD, path, 0)
	if e != 0 {
		return e
	}
	return n.resize(nil, size)
}

// Ftruncate is Truncate of an open file.
func (fs *FS) Ftruncate(fd int, size int64) Errno {
	if size < 0 {
		return EINVAL
	}
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	if !f.writable() || !f.node.isReg() {
		return EINVAL
	}
	return f.node.resize(f, size)
}

func (n *inode) resize(f *file, size int64) Errno {
	switch {
	case n.isDir():
		return EISDIR
	case n.text != nil:
		return EACCES
	case !n.isReg():
		return EINVAL
	case size > MaxFile:
		return EFBIG
	}
	if e := n.body.fixed(); e != 0 {
		return e
	}
	return n.body.resize(f, size)
}

// Fallocate books or frees a range of a file. Booking is a promise that this
// file system keeps by growing only: pages come with the writes.
func (fs *FS) Fallocate(fd int, mode int, off, length int64) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	switch {
	case off < 0 || length <= 0:
		return EINVAL
	case !f.writable():
		return EBADF
	case f.stream != nil:
		return ESPIPE
	case !f.node.isReg() && f.node.typ != S_IFBLK:
		return ENODEV
	case off > MaxFile-length:
		return EFBIG
	}
	return f.node.body.allocate(f, mode, off, off+length)
}

package fs

// setPerm is chmod. Linux refuses it on symbolic links (ENOTSUP).
func (n *inode) setPerm(mode uint32) Errno {
	if n.isLink() {
		return ENOTSUP
	}
	now := n.fs.host.Now()
	n.mu.Lock()
	n.perm, n.ctime = mode&permBits, now
	n.mu.Unlock()
	return 0
}

// setOwner is chown; minus one leaves an id alone. A change of owner clears
// the set-id bits of files.
func (n *inode) setOwner(uid, gid uint32) {
	now := n.fs.host.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if uid != ^uint32(0) {
		n.uid = uid
	}
	if gid != ^uint32(0) {
		n.gid = gid
	}
	n.ctime = now
	if n.isDir() {
		return
	}
	n.perm &^= S_ISUID
	if n.perm&S_IXGRP != 0 {
		n.perm &^= S_ISGID
	}
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
	return n.setPerm(mode)
}

// Fchmod is Chmod of an open file.
func (fs *FS) Fchmod(fd int, mode uint32) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	return f.node.setPerm(mode)
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
	n.setOwner(uid, gid)
	return 0
}

// Fchown is Chown of an open file.
func (fs *FS) Fchown(fd int, uid, gid uint32) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	f.node.setOwner(uid, gid)
	return 0
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
	n, e := fs.timed(dirfd, path, flags, noPath)
	if e == 0 {
		n.setTimes(ns, set, now)
	}
	return e
}

// ns is the time in ns, as far as 64 bits reach.
func (t Timespec) ns() int64 {
	const limit = 1<<63/1000000000 - 1
	return min(max(t.Sec, -limit), limit)*1e9 + t.Nsec
}

// timed finds the inode of Utimens.
func (fs *FS) timed(dirfd int, path string, flags int, noPath bool) (*inode, Errno) {
	if !noPath {
		return fs.node(dirfd, path, flags)
	}
	f, e := fs.getIO(dirfd)
	if e != 0 {
		return nil, e
	}
	defer fs.put(f)
	return f.node, 0
}

func (n *inode) setTimes(ns [2]int64, set [2]bool, now int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if set[0] {
		n.atime = ns[0]
	}
	if set[1] {
		n.mtime = ns[1]
	}
	if set[0] || set[1] {
		n.ctime = now
	}
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
	return n.resize(size)
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
	return f.node.resize(size)
}

func (n *inode) resize(size int64) Errno {
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
	now := n.fs.host.Now()
	n.mu.Lock()
	n.data.truncate(size)
	n.mtime, n.ctime = now, now
	n.mu.Unlock()
	return 0
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
	case !f.node.isReg():
		return ENODEV
	case off > MaxFile-length:
		return EFBIG
	}
	return f.node.allocate(mode, off, off+length)
}

func (n *inode) allocate(mode int, off, end int64) Errno {
	now := n.fs.host.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &n.data
	ok := true
	switch mode {
	case 0:
		d.grow(end)
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		ok = d.zero(off, min(end, d.size))
	case FALLOC_FL_ZERO_RANGE:
		ok = d.zero(off, min(end, d.size))
		d.grow(end)
	default:
		return ENOTSUP
	}
	if !ok {
		return ENOSPC
	}
	n.mtime, n.ctime = now, now
	return 0
}

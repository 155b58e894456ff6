package fs

// inMemory is an inode as the body of its own file.
type inMemory inode

func (n *inMemory) fixed() Errno { return 0 }

func (n *inMemory) refresh(*file) Errno { return 0 }

func (n *inMemory) extent() (size, blocks int64) {
	if n.typ == S_IFLNK {
		return int64(len(n.target)), 0
	}
	held := n.data.pages
	if held == 0 {
		held = int64(len(n.data.base)+pageSize-1) / pageSize
	}
	return n.data.size, held * (pageSize / 512)
}

func (n *inMemory) readlink() (string, Errno) {
	if n.text != nil {
		return n.text(n.fs), 0
	}
	return n.target, 0
}

func (n *inMemory) statfs(*file) (Statfs, Errno) {
	fs := n.fs
	total := uint64(fs.space.limit / pageSize)
	free := total - min(total, uint64(fs.space.pages.Load()))
	files := uint64(1 << 20)
	return Statfs{
		Type: tmpfsMagic, Bsize: pageSize, Blocks: total, Bfree: free, Bavail: free,
		Files: files, Ffree: files - min(files, fs.inos.Load()),
		Fsid: [2]int32{int32(n.dev)}, Namelen: NAME_MAX, Frsize: pageSize, Flags: 0x20,
	}, 0
}

func (n *inMemory) open(f *file, flags uint32) (e Errno) {
	switch n.typ {
	case S_IFIFO:
		f.stream, e = n.pipe.open(f)
	case S_IFCHR, S_IFBLK:
		f.stream, e = n.fs.openDevice(f)
	case S_IFREG:
		n.fs.look((*inode)(n))
		if flags&O_TRUNC != 0 {
			return n.resize(f, 0)
		}
	}
	return e
}

func (n *inMemory) close(*file) {}

func (n *inMemory) readAt(f *file, b []byte, off int64) (int, Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := n.data.readAt(b, off)
	if got > 0 && !f.has(O_NOATIME) {
		(*inode)(n).touchAtime()
	}
	return got, 0
}

// writeAt leaves the set-id bits, which on Linux a write by anybody but root
// clears: the process is root.
func (n *inMemory) writeAt(f *file, b []byte, off int64) (int, int64, Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.has(O_APPEND) {
		off = n.data.size
	}
	if off >= MaxFile {
		return 0, off, EFBIG
	}
	b = b[:min(int64(len(b)), MaxFile-off)]
	got := n.data.writeAt(b, off)
	if got == 0 {
		return 0, off, ENOSPC
	}
	n.mtime = n.fs.host.Now()
	n.ctime = n.mtime
	return got, off + int64(got), 0
}

func (n *inMemory) sparse(_ *file, off int64, data bool) (int64, Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if off < 0 || off >= n.data.size {
		return 0, ENXIO
	}
	to := n.data.seek(off, data)
	if data && to >= n.data.size {
		return 0, ENXIO
	}
	return to, 0
}

func (n *inMemory) resize(_ *file, size int64) Errno {
	now := n.fs.host.Now()
	n.mu.Lock()
	n.data.truncate(size)
	n.mtime, n.ctime = now, now
	n.mu.Unlock()
	return 0
}

func (n *inMemory) allocate(_ *file, mode int, off, end int64) Errno {
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

// sync has nothing to do: there is nothing below memory.
func (n *inMemory) sync(*file, bool) Errno { return 0 }

func (n *inMemory) setPerm(_ *file, perm uint32) Errno {
	now := n.fs.host.Now()
	n.mu.Lock()
	n.perm, n.ctime = perm, now
	n.mu.Unlock()
	return 0
}

// setOwner clears the set-id bits of files, as Linux does.
func (n *inMemory) setOwner(_ *file, uid, gid uint32) Errno {
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
	if n.typ == S_IFDIR {
		return 0
	}
	n.perm &^= S_ISUID
	if n.perm&S_IXGRP != 0 {
		n.perm &^= S_ISGID
	}
	return 0
}

func (n *inMemory) setTimes(_ *file, ns [2]int64, set [2]bool) Errno {
	now := n.fs.host.Now()
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
	return 0
}

package fs

import "sync"

// treeNode is the body of an inode whose file is the host's.
type treeNode struct {
	n *inode
	m *mount

	// Guarded by m.mu.
	id     treeID
	parent *treeNode // nil for the share's own folder
	name   string    // the name it was last met by
	gone   bool      // that name was removed
	users  int       // descriptions with a handle

	// Guarded by n.mu, as of the last refresh.
	size, blocks int64

	// Guarded by n.mu: what the inode's locks are outside.
	ranges, whole outerLock

	io   sync.RWMutex // see keepIn
	lost Errno        // what was written to a mapping could not be kept; guarded by n.mu
}

// ref is how the host is asked about the file.
func (h *treeNode) ref(f *file) (TreeRef, Errno) {
	if f != nil && f.handle != 0 {
		return TreeRef{Handle: f.handle}, 0
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.gone {
		return TreeRef{}, ENOENT
	}
	return TreeRef{Path: h.m.pathOf(h)}, 0
}

// learn stores what the host said.
func (h *treeNode) learn(a *TreeAttr) {
	dev := h.m.shownDev(a.Dev)
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stDev = dev
	n.perm, n.nlink, n.uid, n.gid = a.Mode&permBits, a.Nlink, a.UID, a.GID
	n.atime, n.mtime, n.ctime, n.btime = a.Atime, a.Mtime, a.Ctime, a.Ctime
	h.size, h.blocks = a.Size, a.Blocks
}

func (h *treeNode) fixed() Errno { return h.m.readOnly() }

// refresh asks the host. What has lost its name and is not open stays as it
// was: a directory that somebody is in, or what O_PATH led to.
func (h *treeNode) refresh(f *file) Errno {
	r, e := h.ref(f)
	var a TreeAttr
	if e == 0 {
		a, e = h.m.Files.Stat(r)
	}
	switch {
	case e == 0 && (r.Handle != 0 || h.is(&a)):
		h.learn(&a)
		return 0
	case e == 0 || e == ENOENT || e == ENOTDIR:
		h.n.mu.Lock()
		h.n.nlink = 0
		h.n.mu.Unlock()
		return 0
	}
	return e
}

// is tells whether attributes are of the same file.
func (h *treeNode) is(a *TreeAttr) bool {
	return h.identity() == treeID{a.Dev, a.Ino} && h.n.typ == a.Mode&S_IFMT
}

func (h *treeNode) identity() treeID {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.id
}

func (h *treeNode) extent() (size, blocks int64) { return h.size, h.blocks }

func (h *treeNode) readlink() (string, Errno) {
	r, e := h.ref(nil)
	if e != 0 {
		return "", e
	}
	return h.m.Files.Readlink(r.Path)
}

func (h *treeNode) statfs(f *file) (Statfs, Errno) {
	r, e := h.ref(f)
	if e != 0 {
		return Statfs{}, e
	}
	st, e := h.m.Files.Statfs(r)
	st.Type, st.Fsid, st.Flags = v9fsMagic, [2]int32{int32(h.m.dev)}, 0x20 // ST_VALID
	if !h.m.Writable {
		st.Flags |= 1 // ST_RDONLY
	}
	return st, e
}

// open opens the file unless the walk to it has.
func (h *treeNode) open(f *file, flags uint32) Errno {
	if !h.n.isReg() && !h.n.isDir() {
		return EACCES // devices and pipes of the host's are its own
	}
	if f.handle != 0 {
		return 0
	}
	r, e := h.ref(nil)
	if e != 0 {
		return e
	}
	handle, a, e := h.m.Files.Open(r.Path, int(flags&treeOpenFlags&^(O_CREAT|O_EXCL)), 0)
	if e != 0 {
		return e
	}
	f.handle, f.appends = handle, flags&O_APPEND != 0
	h.learn(&a)
	h.m.mu.Lock()
	h.use()
	h.m.mu.Unlock()
	return 0
}

// use and disuse keep files that are open to one inode each, for their locks.
// The caller holds m.mu.
func (h *treeNode) use() {
	h.users++
	if h.n.isReg() && h.m.open[h.id] == nil {
		h.m.open[h.id] = h.n
	}
}

func (h *treeNode) disuse() {
	h.users--
	if h.users == 0 && h.m.open[h.id] == h.n {
		delete(h.m.open, h.id)
	}
}

func (h *treeNode) close(f *file) {
	if f.handle == 0 {
		return
	}
	h.m.mu.Lock()
	h.disuse()
	h.m.mu.Unlock()
	if !h.keepForLocks(f.handle) {
		h.m.Files.Close(f.handle)
	}
	f.handle = 0
}

func (h *treeNode) readAt(f *file, b []byte, off int64) (int, Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	k, e := h.m.Files.Read(f.handle, b, off)
	h.look(b[:max(k, 0)], off)
	return k, e
}

// writeAt leaves it to the host to find the end where the file was opened to
// append, so that what others append meanwhile stays whole.
//
// O_SYNC and O_DSYNC are kept here: a tree has one way to sync.
func (h *treeNode) writeAt(f *file, b []byte, off int64) (int, int64, Errno) {
	switch {
	case f.appends:
		off = 0 // which is not looked at
	case f.has(O_APPEND):
		off = f.size()
	}
	n, e := h.write(f, b, off)
	if n > 0 && f.has(O_DSYNC) {
		if e := h.sync(f, !f.has(oSyncBit)); e != 0 {
			return 0, off, e
		}
	}
	if f.appends {
		return n, atEnd, e
	}
	return n, off + int64(n), e
}

// sparse knows no holes but the one at the end where the tree knows none.
func (h *treeNode) sparse(f *file, off int64, data bool) (int64, Errno) {
	if off < 0 {
		return 0, ENXIO
	}
	h.flushAll()
	if at, e := h.m.Files.Seek(f.handle, off, !data); e != ENOTSUP {
		return at, e
	}
	size := f.size()
	switch {
	case off >= size:
		return 0, ENXIO
	case data:
		return off, 0
	}
	return size, 0
}

func (h *treeNode) resize(f *file, size int64) Errno {
	if f != nil {
		return h.truncate(f.handle, size)
	}
	r, e := h.ref(nil)
	if e != 0 {
		return e
	}
	handle, _, e := h.m.Files.Open(r.Path, O_WRONLY, 0)
	if e != 0 {
		return e
	}
	defer h.m.Files.Close(handle)
	return h.truncate(handle, size)
}

func (h *treeNode) truncate(handle uint64, size int64) Errno {
	return h.change(func() Errno { return h.m.Files.Truncate(handle, size) }, func(d *blob) { d.truncate(size) })
}

func (h *treeNode) allocate(f *file, mode int, off, end int64) Errno {
	switch mode {
	case 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		return h.change(func() Errno { return h.m.Files.Allocate(f.handle, mode, off, end-off) }, func(d *blob) {
			if mode&(FALLOC_FL_PUNCH_HOLE|FALLOC_FL_ZERO_RANGE) != 0 {
				d.zeroKept(off, end)
			}
			if mode&FALLOC_FL_KEEP_SIZE == 0 {
				d.grow(end)
			}
		})
	}
	return ENOTSUP
}

func (h *treeNode) sync(f *file, dataOnly bool) Errno {
	// The handle of a directory that was read is closed.
	if e := h.open(f, O_RDONLY); e != 0 {
		return e
	}
	h.flushAll()
	if e := h.m.Files.Sync(f.handle, dataOnly); e != 0 {
		return e
	}
	return h.failed()
}

func (h *treeNode) setPerm(f *file, perm uint32) Errno {
	if e := h.fixed(); e != 0 {
		return e
	}
	r, e := h.ref(f)
	if e != 0 {
		return e
	}
	return h.m.Files.Chmod(r, perm)
}

// setOwner asks only for what changes: a folder of the host's refuses all.
func (h *treeNode) setOwner(f *file, uid, gid uint32) Errno {
	if e := h.fixed(); e != 0 {
		return e
	}
	const same = ^uint32(0)
	h.n.mu.Lock()
	stays := (uid == same || uid == h.n.uid) && (gid == same || gid == h.n.gid)
	h.n.mu.Unlock()
	if stays {
		return 0
	}
	r, e := h.ref(f)
	if e != 0 {
		return e
	}
	return h.m.Files.Chown(r, uid, gid)
}

func (h *treeNode) setTimes(f *file, ns [2]int64, set [2]bool) Errno {
	if e := h.fixed(); e != 0 {
		return e
	}
	r, e := h.ref(f)
	if e != 0 {
		return e
	}
	return h.m.Files.SetTimes(r, ns, set)
}

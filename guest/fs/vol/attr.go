package vol

import "github.com/pvrun/pvrun/guest/fs"

const (
	permBits   = 0o7777
	volumeType = 0x70767276 // what statfs says: pvrv
	sectors    = BlockSize / 512
)

// attr is what stat says.
func (n *inode) attr() fs.TreeAttr {
	return fs.TreeAttr{Size: n.size, Blocks: int64(n.blocks) * sectors, Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime,
		Ino: n.ino, Dev: 1, Mode: n.mode, Nlink: n.nlink, UID: n.uid, GID: n.gid}
}

// Open opens a file or folder.
func (v *FS) Open(path string, flags int, perm uint32) (uint64, fs.TreeAttr, fs.Errno) {
	v.lock()
	defer v.unlock()
	s, e := v.find(path)
	if e != 0 {
		return 0, fs.TreeAttr{}, e
	}
	if s.n == nil && flags&fs.O_CREAT != 0 {
		if s, e = v.vacancy(path); e == 0 {
			s.n, e = v.make(s, fs.S_IFREG|perm&permBits)
			flags &^= fs.O_TRUNC
		} else if e == fs.EEXIST && flags&fs.O_EXCL == 0 {
			e = v.mayOpen(s.n, flags) // somebody else was faster
		}
	} else {
		e = v.mayOpen(s.n, flags)
	}
	if e != 0 {
		return 0, fs.TreeAttr{}, e
	}
	s.n.opens++
	if flags&fs.O_TRUNC != 0 && s.n.size > 0 {
		if e := v.resize(s.n, 0); e != 0 {
			v.release(s.n)
			return 0, fs.TreeAttr{}, e
		}
	}
	v.lastHandle++
	v.handles[v.lastHandle] = &handle{s.n, flags}
	return v.lastHandle, s.n.attr(), 0
}

// mayOpen checks what is there already.
func (v *FS) mayOpen(n *inode, flags int) fs.Errno {
	changes := flags&fs.O_ACCMODE != fs.O_RDONLY || flags&fs.O_TRUNC != 0
	switch {
	case n == nil:
		return fs.ENOENT
	case flags&(fs.O_CREAT|fs.O_EXCL) == fs.O_CREAT|fs.O_EXCL:
		return fs.EEXIST
	case n.is(fs.S_IFLNK) && flags&fs.O_DIRECTORY != 0:
		return fs.ENOTDIR
	case n.is(fs.S_IFLNK):
		return fs.ELOOP
	case n.is(fs.S_IFDIR) && (changes || flags&fs.O_CREAT != 0):
		return fs.EISDIR
	case !n.is(fs.S_IFDIR) && flags&fs.O_DIRECTORY != 0:
		return fs.ENOTDIR
	case changes && v.readOnly:
		return fs.EROFS
	}
	return 0
}

// Close closes a handle.
func (v *FS) Close(id uint64) fs.Errno {
	v.lock()
	defer v.unlock()
	h := v.handles[id]
	if h == nil {
		return fs.EBADF
	}
	delete(v.handles, id)
	v.release(h.n)
	return 0
}

// List is every entry of a folder, in the order in which they are stored.
func (v *FS) List(id uint64) (list []fs.TreeEntry, e fs.Errno) {
	v.lock()
	defer v.unlock()
	h := v.handles[id]
	switch {
	case h == nil:
		return nil, fs.EBADF
	case !h.n.is(fs.S_IFDIR):
		return nil, fs.ENOTDIR
	}
	if _, e := v.folder(h.n); e != 0 {
		return nil, e
	}
	for i := range uint64(h.n.size / BlockSize) {
		b, e := v.load(&h.n.tree, 0, i)
		if b == nil {
			return nil, max(e, fs.EIO)
		}
		b.data.records(func(r record) {
			if r.ino != 0 {
				list = append(list, fs.TreeEntry{Name: string(r.name), Ino: r.ino, Type: r.typ})
			}
		})
		v.cache.trim()
	}
	return list, 0
}

// named is the inode that r names.
func (v *FS) named(r fs.TreeRef) (*inode, fs.Errno) {
	if r.Handle != 0 {
		h := v.handles[r.Handle]
		if h == nil {
			return nil, fs.EBADF
		}
		return h.n, 0
	}
	s, e := v.find(r.Path)
	if e == 0 && s.n == nil {
		e = fs.ENOENT
	}
	return s.n, e
}

// Stat describes a file.
func (v *FS) Stat(r fs.TreeRef) (fs.TreeAttr, fs.Errno) {
	v.lock()
	defer v.unlock()
	n, e := v.named(r)
	if e != 0 {
		return fs.TreeAttr{}, e
	}
	return n.attr(), 0
}

// Statfs describes the volume. What is kept for removing is not free.
func (v *FS) Statfs(fs.TreeRef) (fs.Statfs, fs.Errno) {
	v.lock()
	defer v.unlock()
	free := int64(v.sb.freeBlocks)
	if !v.readOnly {
		free = int64(v.sb.blocks-v.space.usedCount) - v.cache.fresh
	}
	free = max(free-int64(reserve(v.sb.blocks)), 0)
	st := fs.Statfs{Type: volumeType, Bsize: BlockSize, Frsize: BlockSize, Namelen: MaxName,
		Blocks: v.sb.blocks, Bfree: uint64(free), Bavail: uint64(free),
		Files: v.sb.inodes + uint64(free)*BlockInodes, Ffree: v.sb.freeInodes + uint64(free)*BlockInodes,
		Fsid: [2]int32{int32(get32(v.sb.uuid[:])), int32(get32(v.sb.uuid[4:]))}, Flags: 0x20} // ST_VALID
	if v.readOnly || v.broken {
		st.Flags |= 1 // ST_RDONLY
	}
	return st, 0
}

// alter changes attributes of a file.
func (v *FS) alter(r fs.TreeRef, f func(n *inode)) fs.Errno {
	v.lock()
	defer v.unlock()
	e := v.begin(0)
	if e != 0 {
		return e
	}
	n, e := v.named(r)
	if e == 0 {
		e = v.touch(n)
	}
	if e == 0 {
		n.ctime = v.now()
		f(n)
	}
	return e
}

// Chmod sets the permission bits.
func (v *FS) Chmod(r fs.TreeRef, perm uint32) fs.Errno {
	return v.alter(r, func(n *inode) { n.mode = n.mode&fs.S_IFMT | perm&permBits })
}

// Chown sets the owner and group.
func (v *FS) Chown(r fs.TreeRef, uid, gid uint32) fs.Errno {
	const same = ^uint32(0)
	return v.alter(r, func(n *inode) {
		if uid != same {
			n.uid = uid
		}
		if gid != same {
			n.gid = gid
		}
	})
}

// SetTimes sets the times of access and modification. Reading does not change
// the former.
func (v *FS) SetTimes(r fs.TreeRef, ns [2]int64, set [2]bool) fs.Errno {
	return v.alter(r, func(n *inode) {
		if set[0] {
			n.atime = ns[0]
		}
		if set[1] {
			n.mtime = ns[1]
		}
	})
}

package fs

// How is what openat2 asks for.
type How struct {
	Flags   uint64
	Mode    uint64
	Resolve uint64
}

// openFlags are the flags that openat2 accepts; open ignores unknown ones.
const openFlags = O_ACCMODE | O_CREAT | O_EXCL | 0x100 | O_TRUNC | O_APPEND | O_NONBLOCK |
	O_DSYNC | 0x2000 | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |
	O_CLOEXEC | oSyncBit | O_PATH | oTmpfileBit

// Open opens path for a new descriptor.
func (fs *FS) Open(dirfd int, path string, flags int, mode uint32) (int, Errno) {
	flags &= openFlags
	if flags&O_PATH != 0 {
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
	}
	return fs.open(dirfd, path, How{Flags: uint64(flags), Mode: uint64(mode & permBits)})
}

// Open2 is openat2: unknown flags are EINVAL, and Resolve bounds the walk.
func (fs *FS) Open2(dirfd int, path string, how How) (int, Errno) {
	creates := how.Flags&(O_CREAT|oTmpfileBit) != 0
	switch {
	case how.Flags&^openFlags != 0, how.Resolve&^resolveKnown != 0, how.Mode&^permBits != 0:
		return 0, EINVAL
	case how.Mode != 0 && !creates:
		return 0, EINVAL
	case how.Flags&O_PATH != 0 && how.Flags&^(O_PATH|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC) != 0:
		return 0, EINVAL
	case how.Resolve&RESOLVE_BENEATH != 0 && how.Resolve&RESOLVE_IN_ROOT != 0:
		return 0, EINVAL
	case how.Resolve&RESOLVE_CACHED != 0:
		return 0, EAGAIN // allowed by openat2(2); callers try again without it
	}
	return fs.open(dirfd, path, how)
}

func (fs *FS) open(dirfd int, path string, how How) (int, Errno) {
	flags := uint32(how.Flags)
	if flags&oTmpfileBit != 0 {
		if flags&O_TMPFILE != O_TMPFILE || flags&O_ACCMODE == 0 {
			return 0, EINVAL
		}
	} else if flags&(O_CREAT|O_DIRECTORY) == O_CREAT|O_DIRECTORY {
		return 0, EINVAL
	}
	p, made, e := fs.reach(dirfd, path, how)
	if e != 0 {
		return 0, e
	}
	defer p.node.release()
	if !made {
		if e := p.node.admits(flags); e != 0 {
			return 0, e
		}
	}
	f, e := fs.openNode(&p, flags)
	if e != 0 {
		return 0, e
	}
	f.dir, f.name = p.dir, p.name
	return fs.table.add(f, 0, flags&O_CLOEXEC != 0)
}

// reach finds or makes the inode to open and holds it; made is whether there
// is nothing left to check. Only what may make a name locks the tree alone.
func (fs *FS) reach(dirfd int, path string, how How) (p place, made bool, e Errno) {
	if how.Flags&(O_CREAT|oTmpfileBit) != 0 {
		fs.lockTree()
		defer fs.tree.Unlock()
	} else {
		fs.rlockTree()
		defer fs.tree.RUnlock()
	}
	p, e = fs.findFor(dirfd, path, how)
	if e != 0 {
		return p, false, e
	}
	switch {
	case p.handle != 0:
		made = true
	case how.Flags&oTmpfileBit != 0:
		e = fs.makeTmp(&p, how)
		made = true
	case how.Flags&O_CREAT != 0:
		made, e = fs.makeFor(&p, how)
	case p.node == nil:
		e = ENOENT
	}
	if e == 0 {
		p.node.hold()
	}
	return p, made, e
}

// findFor walks to what open names.
func (fs *FS) findFor(dirfd int, path string, how How) (place, Errno) {
	base, e := fs.base(dirfd, path)
	if e != 0 {
		return place{}, e
	}
	w := walker{fs: fs, top: fs.root, resolve: how.Resolve}
	w.opens = &opening{flags: uint32(how.Flags), perm: uint32(how.Mode) &^ fs.mask.Load()}
	if how.Resolve&(RESOLVE_IN_ROOT|RESOLVE_BENEATH) != 0 {
		if dirfd != AT_FDCWD {
			if base, e = fs.base(dirfd, "."); e != 0 {
				return place{}, e
			}
		} else {
			base = fs.cwd
		}
		w.top = base
	}
	const exclusive = O_CREAT | O_EXCL
	if how.Flags&O_NOFOLLOW == 0 && how.Flags&exclusive != exclusive {
		w.how = walkFollow
	}
	if how.Flags&O_CREAT != 0 {
		w.how |= walkCreate
	}
	return w.run(base, path)
}

// makeFor is the O_CREAT part of open. The caller holds the tree alone.
func (fs *FS) makeFor(p *place, how How) (made bool, e Errno) {
	switch {
	case p.node != nil && how.Flags&O_EXCL != 0:
		return false, EEXIST
	case p.slash || p.node != nil && p.node.isDir():
		return false, EISDIR
	case p.node != nil:
		return false, 0
	}
	if e := p.dir.allowsNew(); e != 0 {
		return false, e
	}
	p.node = fs.newInode(p.dir.dev, S_IFREG|uint32(how.Mode)&^fs.mask.Load())
	p.node.inherit(p.dir)
	return true, p.dir.make(p.name, p.node)
}

// makeTmp makes a file without a name in the directory p.
func (fs *FS) makeTmp(p *place, how How) Errno {
	switch {
	case p.node == nil:
		return ENOENT
	case !p.node.isDir():
		return ENOTDIR
	case p.node.allowsNew() != 0 || p.node.dir.source != nil:
		return ENOTSUP
	}
	n := fs.newInode(p.node.dev, S_IFREG|uint32(how.Mode)&^fs.mask.Load())
	n.nlink, n.tmp = 0, how.Flags&O_EXCL == 0
	*p = place{dir: p.node, name: "#" + decimal(n.ino), node: n}
	return 0
}

// admits checks flags against an inode that was there before.
func (n *inode) admits(flags uint32) Errno {
	write := flags&O_ACCMODE != O_RDONLY
	switch {
	case flags&O_DIRECTORY != 0 && !n.isDir():
		return ENOTDIR
	case flags&O_PATH != 0:
		return 0
	case n.isLink():
		return ELOOP
	case n.isDir() && (write || flags&O_TRUNC != 0):
		return EISDIR
	case (n.isReg() || n.isDir()) && (write || flags&O_TRUNC != 0) && n.body.fixed() != 0:
		return EROFS
	case n.text != nil && write:
		return EACCES
	case n.typ == S_IFSOCK:
		return ENXIO
	}
	return 0
}

// openNode makes the description. A FIFO waits here for its other end.
func (fs *FS) openNode(p *place, flags uint32) (*file, Errno) {
	n := p.node
	f := fs.newFile(n, flags)
	f.handle, f.appends = p.handle, p.handle != 0 && flags&O_APPEND != 0
	if flags&O_PATH != 0 {
		return f, 0
	}
	e := Errno(0)
	switch {
	case n.text != nil:
		f.text = []byte(n.text(fs))
	case n.stream != nil:
		f.stream = n.stream(f)
	default:
		e = n.body.open(f, flags)
	}
	if e != 0 {
		f.stream = nil
		fs.put(f)
		return nil, e
	}
	return f, 0
}

// allowsNew is whether the directory takes new names.
func (n *inode) allowsNew() Errno {
	switch {
	case n.dir.dead:
		return ENOENT
	case n.dev == devProc:
		return ENOENT
	}
	return n.body.fixed()
}

// inherit takes the group of a directory that has the set-group-id bit.
func (n *inode) inherit(parent *inode) {
	parent.mu.Lock()
	defer parent.mu.Unlock()
	if parent.perm&S_ISGID == 0 {
		return
	}
	n.gid = parent.gid
	if n.isDir() {
		n.perm |= S_ISGID
	}
}

// decimal is strconv for the one place that needs it often.
func decimal(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		n /= 10
		if n == 0 {
			return string(b[i:])
		}
	}
}

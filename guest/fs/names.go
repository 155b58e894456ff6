package fs

// newName walks to a name that is to be made. The caller holds the tree alone.
func (fs *FS) newName(dirfd int, path string) (place, Errno) {
	p, e := fs.at(dirfd, path, walkParent)
	switch {
	case e != 0:
		return p, e
	case p.long:
		return p, ENAMETOOLONG
	case p.node != nil:
		return p, EEXIST
	}
	return p, p.dir.allowsNew()
}

// Mkdir makes a directory.
func (fs *FS) Mkdir(dirfd int, path string, mode uint32) Errno {
	fs.lockTree()
	defer fs.tree.Unlock()
	p, e := fs.newName(dirfd, path)
	if e != 0 {
		return e
	}
	n := fs.newDir(p.dir.dev, mode&0o1777&^fs.mask.Load())
	n.inherit(p.dir)
	return p.dir.make(p.name, n)
}

// Mknod makes a file, FIFO, socket name or device.
func (fs *FS) Mknod(dirfd int, path string, mode uint32, rdev uint64) Errno {
	switch mode & S_IFMT {
	case 0:
		mode |= S_IFREG
	case S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK:
	case S_IFDIR:
		return EPERM
	default:
		return EINVAL
	}
	fs.lockTree()
	defer fs.tree.Unlock()
	p, e := fs.newName(dirfd, path)
	switch {
	case e != 0:
		return e
	case p.slash:
		return ENOENT
	}
	n := fs.newInode(p.dir.dev, mode&(S_IFMT|permBits&^fs.mask.Load()))
	n.inherit(p.dir)
	n.special(rdev)
	return p.dir.make(p.name, n)
}

// special completes an inode that is neither file nor directory nor link.
func (n *inode) special(rdev uint64) {
	switch n.typ {
	case S_IFIFO:
		n.pipe = newPipe()
	case S_IFCHR, S_IFBLK:
		n.rdev = rdev
	}
}

// Symlink makes a symbolic link.
func (fs *FS) Symlink(target string, dirfd int, path string) Errno {
	switch {
	case target == "":
		return ENOENT
	case len(target) >= PATH_MAX:
		return ENAMETOOLONG
	}
	fs.lockTree()
	defer fs.tree.Unlock()
	p, e := fs.newName(dirfd, path)
	switch {
	case e != 0:
		return e
	case p.slash:
		return ENOENT
	}
	n := fs.newLink(p.dir.dev, target)
	n.inherit(p.dir)
	return p.dir.make(p.name, n)
}

// Readlink stores a link's target in b. An empty path means dirfd itself.
func (fs *FS) Readlink(dirfd int, path string, b []byte) (int, Errno) {
	if len(b) == 0 {
		return 0, EINVAL
	}
	flags := AT_SYMLINK_NOFOLLOW
	if path == "" && dirfd != AT_FDCWD {
		flags |= AT_EMPTY_PATH
	}
	n, e := fs.node(dirfd, path, flags)
	if e != 0 {
		return 0, e
	}
	if !n.isLink() {
		if path == "" {
			return 0, ENOENT
		}
		return 0, EINVAL
	}
	target, e := n.body.readlink()
	return copy(b, target), e
}

// Link makes another name for a file.
func (fs *FS) Link(olddir int, oldpath string, newdir int, newpath string, flags int) Errno {
	if flags&^(AT_SYMLINK_FOLLOW|AT_EMPTY_PATH) != 0 {
		return EINVAL
	}
	fs.lockTree()
	defer fs.tree.Unlock()
	n, e := fs.linkSource(olddir, oldpath, flags)
	if e != 0 {
		return e
	}
	p, e := fs.newName(newdir, newpath)
	switch {
	case e != 0:
		return e
	case p.slash:
		return ENOENT
	case n.dev != p.dir.dev:
		return EXDEV
	case n.isDir():
		return EPERM
	case n.full():
		return EMLINK
	case n.gone():
		return ENOENT
	}
	if s := p.dir.dir.source; s != nil {
		return s.link(p.name, n)
	}
	n.links(1)
	p.dir.enter(p.name, n)
	return 0
}

// linkSource is the inode that Link gives a new name.
func (fs *FS) linkSource(dirfd int, path string, flags int) (*inode, Errno) {
	if path == "" && flags&AT_EMPTY_PATH != 0 {
		return fs.itself(dirfd)
	}
	how := 0
	if flags&AT_SYMLINK_FOLLOW != 0 {
		how = walkFollow
	}
	p, e := fs.at(dirfd, path, how)
	if e == 0 && p.node == nil {
		e = ENOENT
	}
	return p.node, e
}

// gone is whether the last name went, so that no new one can be made.
func (n *inode) gone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nlink == 0 && !n.tmp
}

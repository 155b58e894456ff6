package fs

// Unlink removes a name; with AT_REMOVEDIR that of an empty directory.
func (fs *FS) Unlink(dirfd int, path string, flags int) Errno {
	if flags&^AT_REMOVEDIR != 0 {
		return EINVAL
	}
	fs.lockTree()
	defer fs.tree.Unlock()
	p, e := fs.at(dirfd, path, walkParent)
	if e != 0 {
		return e
	}
	if flags&AT_REMOVEDIR != 0 {
		e = fs.mayRmdir(&p)
	} else {
		e = fs.mayUnlink(&p)
	}
	if e != 0 {
		return e
	}
	if s := p.dir.dir.source; s != nil {
		return s.remove(p.name, p.node)
	}
	fs.forget(&p)
	return 0
}

// forget takes a checked name out of a directory in memory.
func (fs *FS) forget(p *place) {
	n := p.node
	p.dir.leave(p.name)
	if n.isDir() {
		n.dir.dead = true
		n.links(-2)
		return
	}
	n.links(-1)
}

func (fs *FS) mayUnlink(p *place) Errno {
	switch {
	case !p.plain():
		return EISDIR
	case p.dir.body.fixed() != 0:
		return EROFS
	case p.long:
		return ENAMETOOLONG
	case p.node == nil:
		return ENOENT
	case p.slash && !p.node.isDir():
		return ENOTDIR
	case p.node.isDir():
		return EISDIR
	}
	return p.dir.mayLose(p.node)
}

func (fs *FS) mayRmdir(p *place) Errno {
	switch {
	case p.name == "":
		return EBUSY
	case p.name == ".":
		return EINVAL
	case p.name == "..":
		return ENOTEMPTY
	case p.dir.body.fixed() != 0:
		return EROFS
	case p.long:
		return ENAMETOOLONG
	case p.node == nil:
		return ENOENT
	case !p.node.isDir():
		return ENOTDIR
	}
	if e := p.dir.mayLose(p.node); e != 0 {
		return e
	}
	if !p.node.dir.empty() {
		return ENOTEMPTY
	}
	return 0
}

// mayLose protects the mounts and what /proc makes.
func (n *inode) mayLose(child *inode) Errno {
	switch {
	case n.dev == devProc:
		return EPERM
	case child.dev != n.dev:
		return EBUSY
	}
	return 0
}

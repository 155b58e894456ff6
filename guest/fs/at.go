package fs

// base is where a relative path starts. The caller holds FS.tree.
func (fs *FS) base(dirfd int, path string) (*inode, Errno) {
	if path != "" && path[0] == '/' {
		return fs.root, 0
	}
	if dirfd == AT_FDCWD {
		return fs.cwd, 0
	}
	f, e := fs.get(dirfd)
	if e != 0 {
		return nil, e
	}
	defer fs.put(f)
	if path != "" && !f.node.isDir() {
		return nil, ENOTDIR
	}
	return f.node, 0
}

// at resolves a path of an *at call. The caller holds FS.tree.
func (fs *FS) at(dirfd int, path string, how int) (place, Errno) {
	base, e := fs.base(dirfd, path)
	if e != 0 {
		return place{}, e
	}
	return fs.walk(base, path, how)
}

// node resolves a path that must exist, for the flags of an *at call. With
// AT_EMPTY_PATH an empty path means dirfd itself.
func (fs *FS) node(dirfd int, path string, flags int) (*inode, Errno) {
	fs.rlockTree()
	defer fs.tree.RUnlock()
	if path == "" && flags&AT_EMPTY_PATH != 0 {
		return fs.itself(dirfd)
	}
	how := walkFollow
	if flags&AT_SYMLINK_NOFOLLOW != 0 {
		how = 0
	}
	p, e := fs.at(dirfd, path, how)
	if e != 0 {
		return nil, e
	}
	if p.node == nil {
		return nil, ENOENT
	}
	return p.node, 0
}

// itself is a descriptor's inode, or the working directory.
func (fs *FS) itself(fd int) (*inode, Errno) {
	if fd == AT_FDCWD {
		return fs.cwd, fs.cwd.body.refresh(nil)
	}
	f, e := fs.get(fd)
	if e != 0 {
		return nil, e
	}
	defer fs.put(f)
	return f.node, f.node.body.refresh(f)
}

// makePath returns the directory of an absolute or root-relative path and
// makes what is missing; the root when something else is in the way.
func (fs *FS) makePath(path string) *inode {
	cur := fs.root
	for name, rest := cut(path); name != ""; name, rest = cut(rest) {
		p, e := fs.walk(cur, name, walkFollow)
		if e != 0 || !p.plain() && p.node == nil {
			return fs.root
		}
		if p.node == nil {
			p.node = fs.newDir(p.dir.ownDev(), 0o755)
			p.dir.cover(p.name, p.node)
		}
		if !p.node.isDir() {
			return fs.root
		}
		cur = p.node
	}
	return cur
}

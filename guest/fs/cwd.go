package fs

// Getcwd is the working directory's path.
func (fs *FS) Getcwd() (string, Errno) {
	fs.rlockTree()
	defer fs.tree.RUnlock()
	return fs.pathOf(fs.cwd)
}

// Chdir changes the working directory.
func (fs *FS) Chdir(path string) Errno {
	fs.lockTree()
	defer fs.tree.Unlock()
	p, e := fs.at(AT_FDCWD, path, walkFollow)
	switch {
	case e != 0:
		return e
	case p.node == nil:
		return ENOENT
	case !p.node.isDir():
		return ENOTDIR
	}
	fs.cwd = p.node
	return 0
}

// Fchdir changes the working directory to an open one.
func (fs *FS) Fchdir(fd int) Errno {
	fs.lockTree()
	defer fs.tree.Unlock()
	f, e := fs.get(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	if !f.node.isDir() {
		return ENOTDIR
	}
	fs.cwd = f.node
	return 0
}

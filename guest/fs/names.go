package fs

// newName walks to a name that is to be made. The caller holds the tree alone.
func (fs *FS) newName(dirfd int, path string) (place, Errno) {
	p, e := fs.at(dirfd, path, walkParent)
	switch {
	case e != 0:
		return p, e
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
	p.dir.enter(p.name, n)
	return 0
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
	p.dir.enter(p.name, n)
	return 0
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
	p.dir.enter(p.name, n)
	return 0
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
	return copy(b, n.target), 0
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
	n.links(1)
	p.dir.enter(p.name, n)
	return 0
}

// linkSource is the inode that Link gives a new name.
func (fs *FS) linkSource(dirfd int, path string, flags int) (*inode, Errno) {
	if path == "" && flags&AT_EMPTY_PATH != 0 {
		return fs.base(dirfd, "")
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
	fs.remove(&p)
	return 0
}

// remove takes a checked name away.
func (fs *FS) remove(p *place) {
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

// Rename moves a name, in the manner of renameat2.
func (fs *FS) Rename(olddir int, oldpath string, newdir int, newpath string, flags int) Errno {
	const both = RENAME_NOREPLACE | RENAME_EXCHANGE
	if flags&^both != 0 || flags == both {
		return EINVAL
	}
	fs.lockTree()
	defer fs.tree.Unlock()
	from, e := fs.at(olddir, oldpath, walkParent)
	if e != 0 {
		return e
	}
	to, e := fs.at(newdir, newpath, walkParent)
	if e != 0 {
		return e
	}
	if e := checkRename(&from, &to, flags); e != 0 {
		return e
	}
	if flags&RENAME_EXCHANGE != 0 {
		exchange(&from, &to)
	} else if from.node != to.node {
		fs.move(&from, &to)
	}
	return 0
}

// checkRename decides in the order in which Linux does (fs/namei.c,
// do_renameat2, vfs_rename).
func checkRename(from, to *place, flags int) Errno {
	swap := flags&RENAME_EXCHANGE != 0
	switch {
	case from.dir.dev != to.dir.dev:
		return EXDEV
	case !from.plain():
		return EBUSY
	case !to.plain():
		if flags&RENAME_NOREPLACE != 0 {
			return EEXIST
		}
		return EBUSY
	case from.node == nil:
		return ENOENT
	case flags&RENAME_NOREPLACE != 0 && to.node != nil:
		return EEXIST
	case swap && to.node == nil:
		return ENOENT
	case swap && to.slash && !to.node.isDir():
		return ENOTDIR
	case !from.node.isDir() && (from.slash || !swap && to.slash):
		return ENOTDIR
	case from.node.isDir() && to.dir.within(from.node):
		return EINVAL
	case to.node != nil && to.node.isDir() && from.dir.within(to.node):
		if swap {
			return EINVAL
		}
		return ENOTEMPTY
	case from.node == to.node:
		return 0
	}
	return checkReplace(from, to, swap)
}

// checkReplace checks what stands at the new name.
func checkReplace(from, to *place, swap bool) Errno {
	if e := from.dir.mayLose(from.node); e != 0 {
		return e
	}
	if to.node == nil {
		return to.dir.allowsNew()
	}
	if e := to.dir.mayLose(to.node); e != 0 || swap {
		return e
	}
	switch {
	case from.node.isDir() && !to.node.isDir():
		return ENOTDIR
	case !from.node.isDir() && to.node.isDir():
		return EISDIR
	case to.node.isDir() && !to.node.dir.empty():
		return ENOTEMPTY
	}
	return 0
}

// move does a checked rename.
func (fs *FS) move(from, to *place) {
	if to.node != nil {
		fs.remove(to)
	}
	n := from.node
	from.dir.leave(from.name)
	to.dir.enter(to.name, n)
	n.changed(false)
}

// exchange does a checked RENAME_EXCHANGE.
func exchange(from, to *place) {
	a, b := from.node, to.node
	from.dir.swap(from.name, b)
	to.dir.swap(to.name, a)
	a.changed(false)
	b.changed(false)
}

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

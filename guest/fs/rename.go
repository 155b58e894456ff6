package fs

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
	switch {
	case flags&RENAME_EXCHANGE != 0 && from.dir.dir.source != nil:
		return EINVAL // as file systems say that do not know it
	case flags&RENAME_EXCHANGE != 0:
		exchange(&from, &to)
	case from.node != to.node:
		return fs.move(&from, &to)
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
	case from.dir.body.fixed() != 0:
		return EROFS
	case from.long:
		return ENAMETOOLONG
	case from.node == nil:
		return ENOENT
	case to.long:
		return ENAMETOOLONG
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
func (fs *FS) move(from, to *place) Errno {
	if s := from.dir.dir.source; s != nil {
		return s.rename(from, to)
	}
	if to.node != nil {
		fs.forget(to)
	}
	n := from.node
	from.dir.leave(from.name)
	to.dir.enter(to.name, n)
	n.changed(false)
	return 0
}

// exchange does a checked RENAME_EXCHANGE.
func exchange(from, to *place) {
	a, b := from.node, to.node
	from.dir.swap(from.name, b)
	to.dir.swap(to.name, a)
	a.changed(false)
	b.changed(false)
}

package vol

import (
	"strings"

	"github.com/pvrun/pvrun/guest/fs"
)

// spot is a name in a folder, and what has it.
type spot struct {
	in   *inode // nil for the root itself
	name string
	n    *inode // nil for nothing
}

// find walks to what a path names.
func (v *FS) find(path string) (s spot, e fs.Errno) {
	if s.n, e = v.get(RootInode); e != 0 || path == "." {
		return s, e
	}
	for rest, more := path, true; more; {
		s.name, rest, more = strings.Cut(rest, "/")
		s.in = s.n
		switch {
		case s.in == nil:
			return s, fs.ENOENT
		case !s.in.is(fs.S_IFDIR):
			return s, fs.ENOTDIR
		case len(s.name) > MaxName:
			return s, fs.ENAMETOOLONG
		case !goodName(s.name):
			return s, fs.EINVAL
		}
		d, e := v.folder(s.in)
		if e != 0 {
			return s, e
		}
		s.n = nil
		if at, ok := d.names[s.name]; ok {
			if s.n, e = v.get(at.ino); e != 0 {
				return s, e
			}
		}
	}
	return s, 0
}

// locate begins an operation and finds what it is about, which must be there.
func (v *FS) locate(path string, grow int64) (s spot, e fs.Errno) {
	if e = v.begin(grow); e == 0 {
		s, e = v.find(path)
	}
	if e == 0 && s.n == nil {
		e = fs.ENOENT
	}
	return s, e
}

// vacancy begins an operation and finds a place for a new name.
func (v *FS) vacancy(path string) (s spot, e fs.Errno) {
	s, e = v.find(path)
	switch {
	case e != 0:
		return s, e
	case s.n != nil:
		return s, fs.EEXIST
	}
	if e = v.begin(opMost); e == 0 {
		s, e = v.find(path)
	}
	switch {
	case e != 0:
		return s, e
	case s.n != nil:
		return s, fs.EEXIST
	}
	return s, 0
}

// make makes a file, folder or link at a vacant spot.
func (v *FS) make(s spot, mode uint32) (*inode, fs.Errno) {
	if mode&fs.S_IFMT == fs.S_IFDIR && s.in.nlink >= MaxLinks {
		return nil, fs.EMLINK
	}
	if _, e := v.folder(s.in); e != 0 {
		return nil, e
	}
	n, e := v.create(mode)
	if e != 0 {
		return nil, e
	}
	if e := v.insert(s.in, s.name, n.ino, mode&fs.S_IFMT); e != 0 {
		v.erase(n)
		return nil, e
	}
	if n.is(fs.S_IFDIR) {
		s.in.nlink++
	}
	return n, 0
}

// Mkdir makes a folder.
func (v *FS) Mkdir(path string, perm uint32) fs.Errno {
	v.lock()
	defer v.unlock()
	s, e := v.vacancy(path)
	if e == 0 {
		_, e = v.make(s, fs.S_IFDIR|perm&permBits)
	}
	return e
}

// Symlink makes a symbolic link.
func (v *FS) Symlink(target, path string) fs.Errno {
	switch {
	case target == "":
		return fs.ENOENT
	case len(target) > MaxTarget:
		return fs.ENAMETOOLONG
	}
	v.lock()
	defer v.unlock()
	s, e := v.vacancy(path)
	if e != 0 {
		return e
	}
	n, e := v.make(s, fs.S_IFLNK|0o777)
	if e != 0 {
		return e
	}
	n.size = int64(len(target))
	if len(target) <= InlineTarget {
		n.target = target
		return 0
	}
	b, e := v.edit(&n.tree, 0, 0, true)
	if e == 0 {
		copy(b.data[:], target)
	}
	return e
}

// Readlink is what a symbolic link says.
func (v *FS) Readlink(path string) (string, fs.Errno) {
	v.lock()
	defer v.unlock()
	s, e := v.find(path)
	switch {
	case e != 0:
		return "", e
	case s.n == nil:
		return "", fs.ENOENT
	case !s.n.is(fs.S_IFLNK):
		return "", fs.EINVAL
	case s.n.target != "":
		return s.n.target, 0
	}
	b, e := v.load(&s.n.tree, 0, 0)
	if b == nil {
		return "", max(e, fs.EIO)
	}
	return string(b.data[:s.n.size]), 0
}

// Link gives a file one more name.
func (v *FS) Link(old, new string) fs.Errno {
	v.lock()
	defer v.unlock()
	if _, _, e := v.linking(old, new); e != 0 {
		return e
	}
	if e := v.begin(opMost); e != 0 {
		return e
	}
	from, to, e := v.linking(old, new)
	if e == 0 {
		e = v.touch(from.n)
	}
	if e == 0 {
		e = v.insert(to.in, to.name, from.n.ino, from.n.mode&fs.S_IFMT)
	}
	if e == 0 {
		from.n.nlink++
		from.n.ctime = v.now()
	}
	return e
}

// linking finds both names of a link and checks them.
func (v *FS) linking(old, new string) (from, to spot, e fs.Errno) {
	if from, e = v.find(old); e != 0 {
		return from, to, e
	}
	to, e = v.find(new)
	switch {
	case e != 0:
	case from.n == nil:
		e = fs.ENOENT
	case to.n != nil:
		e = fs.EEXIST
	case from.n.is(fs.S_IFDIR):
		e = fs.EPERM
	case from.n.nlink >= MaxLinks:
		e = fs.EMLINK
	}
	return from, to, e
}

// Remove removes a name, and a folder if it is empty.
func (v *FS) Remove(path string) fs.Errno {
	v.lock()
	defer v.unlock()
	s, e := v.locate(path, 0)
	if e != 0 {
		return e
	}
	if s.in == nil {
		return fs.EBUSY
	}
	if e := v.mayGo(s.n); e != 0 {
		return e
	}
	if e := v.touch(s.n); e != 0 {
		return e
	}
	if e := v.remove(s.in, s.name); e != 0 {
		return e
	}
	v.unname(s.in, s.n)
	return 0
}

// mayGo refuses folders that are not empty.
func (v *FS) mayGo(n *inode) fs.Errno {
	if !n.is(fs.S_IFDIR) {
		return 0
	}
	d, e := v.folder(n)
	if e == 0 && len(d.names) > 0 {
		e = fs.ENOTEMPTY
	}
	return e
}

// unname counts the links of an inode, touched, that has lost a name in a folder.
func (v *FS) unname(in, n *inode) {
	if n.is(fs.S_IFDIR) {
		in.nlink--
		n.nlink = 0
	} else if n.nlink > 0 {
		n.nlink--
	}
	v.unlinked(n)
}

// Rename moves a name, over what is there.
func (v *FS) Rename(old, new string) fs.Errno {
	v.lock()
	defer v.unlock()
	if e := v.begin(0); e != 0 {
		return e
	}
	from, to, e := v.renaming(old, new)
	if e != 0 || from.n == to.n {
		return e
	}
	if to.n == nil {
		if e := v.begin(opMost); e != 0 {
			return e
		}
		// begin may have let go of the lock.
		if from, to, e = v.renaming(old, new); e != 0 || from.n == to.n {
			return e
		}
	}
	return v.rename(from, to)
}

// renaming finds both names and checks them as Linux does.
func (v *FS) renaming(old, new string) (from, to spot, e fs.Errno) {
	if from, e = v.find(old); e != 0 {
		return from, to, e
	}
	if to, e = v.find(new); e != 0 {
		return from, to, e
	}
	switch {
	case from.in == nil || to.in == nil:
		e = fs.EBUSY
	case from.n == nil:
		e = fs.ENOENT
	case from.n.is(fs.S_IFDIR) && strings.HasPrefix(new, old+"/"):
		e = fs.EINVAL
	case from.n == to.n:
	case to.n == nil:
		if from.n.is(fs.S_IFDIR) && from.in != to.in && to.in.nlink >= MaxLinks {
			e = fs.EMLINK
		}
	case from.n.is(fs.S_IFDIR) && !to.n.is(fs.S_IFDIR):
		e = fs.ENOTDIR
	case !from.n.is(fs.S_IFDIR) && to.n.is(fs.S_IFDIR):
		e = fs.EISDIR
		if strings.HasPrefix(old, new+"/") {
			e = fs.ENOTEMPTY
		}
	default:
		e = v.mayGo(to.n)
	}
	return from, to, e
}

// rename does a checked rename.
func (v *FS) rename(from, to spot) fs.Errno {
	e := v.touch(from.n)
	if e == 0 && to.n == nil {
		e = v.insert(to.in, to.name, from.n.ino, from.n.mode&fs.S_IFMT)
	} else if e == 0 {
		if e = v.touch(to.n); e == 0 {
			e = v.redirect(to.in, to.name, from.n.ino, from.n.mode&fs.S_IFMT)
		}
	}
	if e == 0 {
		e = v.remove(from.in, from.name)
	}
	if e != 0 {
		return e
	}
	if from.n.is(fs.S_IFDIR) {
		from.in.nlink--
		to.in.nlink++
	}
	if to.n != nil {
		v.unname(to.in, to.n)
	}
	from.n.ctime = v.now()
	return 0
}

package fs

// treeDir is the source of a directory that is the host's.
type treeDir struct {
	n *inode
	h *treeNode
	m *mount

	known map[string]*inode // directories met in it; guarded by m.mu
	// over is what is mounted in it. FS.tree guards it.
	over map[string]*inode
}

// treeOpenFlags are the flags of open that the host does. Permissions of new
// files come separately.
const treeOpenFlags = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_DIRECTORY

// path is the path of a name in the directory, for the host.
func (d *treeDir) path(name string) (string, Errno) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.h.gone {
		return "", ENOENT
	}
	if d.h.parent == nil {
		return name, 0
	}
	return d.m.pathOf(d.h) + "/" + name, 0
}

func (d *treeDir) lookup(name string, last bool) (*inode, Errno) {
	if n := d.over[name]; n != nil {
		return n, 0
	}
	if !last {
		d.m.mu.Lock()
		n := d.known[name]
		d.m.mu.Unlock()
		if n != nil {
			return n, 0
		}
	}
	path, e := d.path(name)
	if e != 0 {
		return nil, 0
	}
	a, e := d.m.Files.Stat(TreeRef{Path: path})
	if e == 0 {
		return d.node(name, &a, false), 0
	}
	if e == ENOENT {
		d.forget(name)
		e = 0
	}
	return nil, e
}

// open opens a file in the same call that finds it. What the host would refuse
// for more than one reason is only found here, and refused by the caller.
func (d *treeDir) open(name string, o *opening) (*inode, Errno) {
	const changes = O_ACCMODE | O_CREAT | O_TRUNC
	if d.over[name] != nil || o.flags&(O_PATH|oTmpfileBit) != 0 ||
		o.flags&O_ACCMODE == O_ACCMODE || !d.m.Writable && o.flags&changes != 0 {
		return d.lookup(name, true)
	}
	path, e := d.path(name)
	if e != 0 {
		return nil, 0
	}
	handle, a, e := d.m.Files.Open(path, int(o.flags&treeOpenFlags), o.perm&0o777)
	switch {
	case e == 0:
		o.handle = handle
		return d.node(name, &a, true), 0
	case e == ELOOP:
		return d.lookup(name, true)
	case e == ENOENT && o.flags&O_CREAT == 0:
		d.forget(name)
		return nil, 0
	}
	return nil, e
}

// node is the inode for a name that the host has just told of. It is in use
// from now on when the file was opened.
func (d *treeDir) node(name string, a *TreeAttr, opened bool) *inode {
	n := d.meet(name, a, opened)
	n.body.(*treeNode).learn(a)
	return n
}

// meet finds the inode: a directory by its name, a file that is open by what it
// is. Another directory under a known name takes its place, unless something is
// mounted in that.
func (d *treeDir) meet(name string, a *TreeAttr, opened bool) *inode {
	fresh := d.m.newInode(*a)
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	n, id := fresh, treeID{a.Dev, a.Ino}
	if fresh.isDir() {
		old := d.known[name]
		if old != nil && (old.body.(*treeNode).id == id || len(old.dir.source.(*treeDir).over) > 0) {
			n = old
		} else {
			n.dir.parent, n.dir.name = d.n, name
			d.m.remember(d, name, n)
		}
	} else {
		d.m.dismiss(d, name)
		if old := d.m.open[id]; old != nil && old.typ == fresh.typ {
			n = old
		}
	}
	h := n.body.(*treeNode)
	h.id, h.parent, h.name, h.gone = id, d.h, name, false
	if opened {
		h.use()
	}
	return n
}

// forget drops a known directory.
func (d *treeDir) forget(name string) {
	d.m.mu.Lock()
	d.m.dismiss(d, name)
	d.m.mu.Unlock()
}

// list reads the whole directory, and closes the host's handle after it.
func (d *treeDir) list(f *file) ([]record, Errno) {
	if d.n.dir.dead {
		return nil, ENOENT
	}
	if e := d.h.open(f, O_RDONLY|O_DIRECTORY); e != 0 {
		return nil, e
	}
	entries, e := d.m.Files.List(f.handle)
	d.h.close(f)
	if e != 0 {
		return nil, e
	}
	list := make([]record, 0, len(entries)+len(d.over))
	for _, e := range entries {
		if d.over[e.Name] == nil {
			list = append(list, record{name: e.Name, ino: e.Ino, typ: direntType(e.Type)})
		}
	}
	for name, n := range d.over {
		list = append(list, record{name: name, ino: n.ino, typ: direntType(n.typ)})
	}
	return list, 0
}

// vacant leaves it to the host to look into the directory.
func (d *treeDir) vacant() bool { return len(d.over) == 0 }

func (d *treeDir) create(name string, n *inode) Errno {
	path, e := d.path(name)
	if e != 0 {
		return e
	}
	switch n.typ {
	case S_IFDIR:
		e = d.m.Files.Mkdir(path, n.perm&0o777)
		if sticky := n.perm & 0o1000; e == 0 && sticky != 0 {
			e = d.m.Files.Chmod(TreeRef{Path: path}, sticky|n.perm&0o777)
		}
		return e
	case S_IFLNK:
		return d.m.Files.Symlink(n.target, path)
	case S_IFREG:
		h, _, e := d.m.Files.Open(path, O_CREAT|O_EXCL|O_WRONLY, n.perm&0o777)
		if e == 0 {
			d.m.Files.Close(h)
		}
		return e
	}
	return EPERM
}

func (d *treeDir) cover(name string, n *inode) {
	if d.over == nil {
		d.over = make(map[string]*inode)
	}
	d.over[name] = n
	if n.isDir() {
		n.dir.parent, n.dir.name = d.n, name
	}
}

func (d *treeDir) link(name string, n *inode) Errno {
	r, e := n.body.(*treeNode).ref(nil)
	if e != 0 {
		return e
	}
	path, e := d.path(name)
	if e != 0 {
		return e
	}
	return d.m.Files.Link(r.Path, path)
}

func (d *treeDir) remove(name string, n *inode) Errno {
	path, e := d.path(name)
	if e != 0 {
		return e
	}
	if e := d.m.Files.Remove(path); e != 0 {
		return e
	}
	d.lost(name, n)
	return 0
}

// lost notes that a name went, and with it what was known by it.
func (d *treeDir) lost(name string, n *inode) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	d.m.dismiss(d, name)
	if h := n.body.(*treeNode); h.parent == d.h && h.name == name {
		h.gone = true
	}
	if n.isDir() {
		n.dir.dead = true
	}
}

func (d *treeDir) rename(from, to *place) Errno {
	other := to.dir.dir.source.(*treeDir)
	old, e := d.path(from.name)
	if e != 0 {
		return e
	}
	path, e := other.path(to.name)
	if e != 0 {
		return e
	}
	if e := d.m.Files.Rename(old, path); e != 0 {
		return e
	}
	h := from.node.body.(*treeNode)
	if to.node != nil {
		if to.node.same(from.node) {
			return 0 // two names of one file: nothing has happened
		}
		other.lost(to.name, to.node)
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	d.m.dismiss(d, from.name)
	h.parent, h.name = other.h, to.name
	if from.node.isDir() {
		from.node.dir.parent, from.node.dir.name = other.n, to.name
		d.m.remember(other, to.name, from.node)
	}
	return 0
}

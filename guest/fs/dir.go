package fs

import "slices"

// dir is a directory's entries. FS.tree guards it.
type dir struct {
	parent *inode
	name   string // its own name in parent
	dead   bool   // removed: nothing can be made in it

	byName map[string]*dirent
	// list has the entries in the order of their cookies, removed ones as
	// entries without node until compact takes them.
	list  []*dirent
	holes int
	last  int64 // last cookie given out

	source source // has the entries in place of this structure; or nil
}

// source is where the entries of a directory come from that are not held in
// memory. Changes come checked, as far as the file system can tell.
type source interface {
	// lookup is the inode of a name, or nil. One in the middle of a path may be
	// as it was known earlier.
	lookup(name string, last bool) (*inode, Errno)
	// open is lookup for a name that is to be opened; it may do that, too.
	open(name string, o *opening) (*inode, Errno)
	// list is all entries, for the description f of the directory.
	list(f *file) ([]record, Errno)
	// vacant is whether the directory may be removed as far as is known.
	vacant() bool

	// create makes the file that n describes; n is not used for it.
	create(name string, n *inode) Errno
	// cover shows n under a name, whatever the source has there.
	cover(name string, n *inode)
	link(name string, n *inode) Errno
	remove(name string, n *inode) Errno
	rename(from, to *place) Errno
}

// dirent is one name. Its cookie never changes, so that a reader of the
// directory can go on from it whatever else happens.
type dirent struct {
	name   string
	node   *inode // nil once removed
	cookie int64
}

// Cookies of the two entries that every directory has.
const (
	cookieDot    = 1
	cookieDotDot = 2
)

// look is the inode of a name in the directory, or nil. The last name of a
// path is what it is now.
func (n *inode) look(name string, last bool) (*inode, Errno) {
	if s := n.dir.source; s != nil {
		return s.lookup(name, last)
	}
	return n.find(name), 0
}

// find is look in a directory that is held in memory.
func (n *inode) find(name string) *inode {
	if e := n.dir.byName[name]; e != nil {
		return e.node
	}
	return nil
}

// make puts a new file under a name that is not there. Use of n itself ends
// here: only a directory in memory enters it.
func (n *inode) make(name string, child *inode) Errno {
	if s := n.dir.source; s != nil {
		return s.create(name, child)
	}
	n.enter(name, child)
	return 0
}

// cover puts an inode under a name, whatever is there.
func (n *inode) cover(name string, child *inode) {
	if s := n.dir.source; s != nil {
		s.cover(name, child)
		return
	}
	if n.find(name) != nil {
		n.leave(name)
	}
	n.enter(name, child)
}

// enter puts a new name into the directory; it must not be there.
func (n *inode) enter(name string, child *inode) {
	d := n.dir
	if d.byName == nil {
		d.byName = make(map[string]*dirent)
		d.last = cookieDotDot
	}
	d.last++
	e := &dirent{name: name, node: child, cookie: d.last}
	d.byName[name] = e
	d.list = append(d.list, e)
	if child.isDir() {
		child.dir.parent, child.dir.name = n, name
		n.links(1)
	}
	n.changed(true)
}

// leave takes a name out of the directory. The child's own count of links is
// the caller's business.
func (n *inode) leave(name string) {
	d := n.dir
	e := d.byName[name]
	delete(d.byName, name)
	if e.node.isDir() {
		n.links(-1)
	}
	e.node = nil
	d.holes++
	d.compact()
	n.changed(true)
}

// swap puts another inode under a name that is there.
func (n *inode) swap(name string, child *inode) {
	e := n.dir.byName[name]
	if e.node.isDir() != child.isDir() {
		if child.isDir() {
			n.links(1)
		} else {
			n.links(-1)
		}
	}
	e.node = child
	if child.isDir() {
		child.dir.parent, child.dir.name = n, name
	}
	n.changed(true)
}

// compact drops removed entries when they are most of the list.
func (d *dir) compact() {
	if d.holes < 16 || d.holes*2 < len(d.list) {
		return
	}
	kept := d.list[:0]
	for _, e := range d.list {
		if e.node != nil {
			kept = append(kept, e)
		}
	}
	clear(d.list[len(kept):])
	d.list, d.holes = kept, 0
}

// after is the first live entry whose cookie is greater, or nil.
func (d *dir) after(cookie int64) *dirent {
	i, _ := slices.BinarySearchFunc(d.list, cookie+1, func(e *dirent, c int64) int {
		return int(e.cookie - c)
	})
	for ; i < len(d.list); i++ {
		if d.list[i].node != nil {
			return d.list[i]
		}
	}
	return nil
}

func (d *dir) empty() bool {
	if d.source != nil {
		return d.source.vacant()
	}
	return len(d.byName) == 0
}

// same is whether two inodes are one file: a folder of the host's that was
// forgotten and met again has a second one.
func (n *inode) same(o *inode) bool {
	if n == o {
		return true
	}
	a, isTree := n.body.(*treeNode)
	b, both := o.body.(*treeNode)
	return isTree && both && a.m == b.m && a.identity() == b.identity()
}

// within is whether n is top or lies below it.
func (n *inode) within(top *inode) bool {
	for {
		if n.same(top) {
			return true
		}
		if n.dir.parent == n || n.dir.parent == nil {
			return false
		}
		n = n.dir.parent
	}
}

// pathOf is a directory's absolute path, or ENOENT when it was removed.
func (fs *FS) pathOf(n *inode) (string, Errno) {
	s := ""
	for n != fs.root {
		if n.dir.dead || n.dir.parent == nil {
			return "", ENOENT
		}
		s = "/" + n.dir.name + s
		n = n.dir.parent
	}
	if s == "" {
		s = "/"
	}
	return s, 0
}

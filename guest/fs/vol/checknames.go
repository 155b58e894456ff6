package vol

import (
	"slices"

	"github.com/pvrun/pvrun/guest/fs"
)

// visit is a folder to be looked into.
type visit struct {
	ino  uint64
	path string
}

// names walks the folders from the root on.
func (c *checker) names() {
	c.paths = map[uint64]string{}
	c.reach(visit{RootInode, ""})
}

// reach walks a folder and those below.
func (c *checker) reach(first visit) {
	c.of(first.ino).reached = true
	for queue := []visit{first}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = c.folder(at, queue[:len(queue)-1])
		c.v.cache.trim()
		c.v.forgetInodes()
	}
}

// of is what is known of an inode, nothing perhaps.
func (c *checker) of(ino uint64) *seen {
	if k := c.known[ino]; k != nil {
		return k
	}
	return &seen{}
}

// kept is an entry that is right.
type kept struct {
	name string
	ino  uint64
	typ  uint32
}

// folder checks one, and adds those in it to the queue. One in which something
// is wrong is written anew with what is right.
func (c *checker) folder(at visit, queue []visit) []visit {
	n, e := c.v.get(at.ino)
	if e != 0 {
		return queue
	}
	before := c.Damage
	list := c.entries(n, at.path)
	list = slices.DeleteFunc(list, func(k kept) bool { return !c.entry(n, at.path, k) })
	for _, k := range list {
		c.known[k.ino].reached = true
		c.known[k.ino].found++
		if c.known[k.ino].typ == fs.S_IFDIR {
			c.known[at.ino].folders++
			queue = append(queue, visit{k.ino, at.path + "/" + k.name})
		}
		if c.damaged[k.ino] != nil {
			c.paths[k.ino] = at.path + "/" + k.name
		}
	}
	if c.Repair && c.Damage != before {
		c.rewrite(n, list)
	}
	return queue
}

// entries reads a folder's names, as far as there is sense in it.
func (c *checker) entries(n *inode, path string) (list []kept) {
	blocks := uint64(n.size / BlockSize)
	if blocks > c.v.sb.blocks {
		c.wrong(path + "/: is longer than the volume")
		blocks = n.blocks
	}
	names := map[string]bool{}
	for i := range blocks {
		b, e := c.v.load(&n.tree, 0, i)
		if b == nil || e != 0 {
			c.wrong(path + "/: block " + number(i) + " is missing")
			continue
		}
		good := b.data.records(func(r record) {
			name := string(r.name)
			switch {
			case r.ino == 0:
			case !goodName(name) || names[name]:
				c.wrong(path + "/: a name that cannot be, or is there twice; it is removed")
			default:
				names[name] = true
				list = append(list, kept{name, r.ino, r.typ})
			}
		})
		if !good {
			c.wrong(path + "/: block " + number(i) + " makes no sense")
		}
		c.v.cache.trim()
	}
	return list
}

// entry is whether a name may stay.
func (c *checker) entry(in *inode, path string, k kept) bool {
	t := c.known[k.ino]
	switch {
	case t == nil:
		c.wrong(path + "/" + k.name + ": there is no inode " + number(k.ino) + "; the name is removed")
		return false
	case t.typ == fs.S_IFDIR && (t.reached || k.ino == in.ino):
		c.wrong(path + "/" + k.name + ": a folder that has another name already; this one is removed")
		return false
	case t.typ == fs.S_IFDIR:
		t.reached = true
	}
	if t.typ != k.typ {
		c.wrong(path + "/" + k.name + ": is not of the type that the folder says")
	}
	return true
}

// rewrite writes a folder anew.
func (c *checker) rewrite(n *inode, list []kept) {
	v := c.v
	if v.begin(0) != 0 || v.touch(n) != 0 || v.cut(&n.tree, 0, uint64(maxSize/BlockSize)) != 0 {
		return
	}
	n.size, n.dir = 0, newDir()
	for _, k := range list {
		n.opens++
		if v.begin(0) == 0 {
			v.insert(n, k.name, k.ino, c.known[k.ino].typ)
		}
		n.opens--
	}
}

// lost finds inodes that no name leads to. First those that nothing names at
// all, so that folders keep what is in them; what is left then are folders in
// each other.
func (c *checker) lost() {
	var inos []uint64
	for ino, k := range c.known {
		if !k.reached && ino != RootInode {
			inos = append(inos, ino)
		}
	}
	slices.Sort(inos)
	inside := c.inside(inos)
	for _, ino := range inos {
		if !inside[ino] {
			c.adopt(ino)
		}
	}
	for _, ino := range inos {
		if c.known[ino].typ == fs.S_IFDIR {
			c.adopt(ino)
		}
	}
	for _, ino := range inos {
		c.adopt(ino)
	}
}

// inside is the inodes that lost folders name.
func (c *checker) inside(inos []uint64) map[uint64]bool {
	inside := map[uint64]bool{}
	for _, ino := range inos {
		n, e := c.v.get(ino)
		if e != 0 || c.known[ino].typ != fs.S_IFDIR || c.known[ino].nlink == 0 {
			continue
		}
		for i := range min(uint64(n.size/BlockSize), c.v.sb.blocks, n.blocks) {
			if b, e := c.v.load(&n.tree, 0, i); b != nil && e == 0 {
				b.data.records(func(r record) { inside[r.ino] = inside[r.ino] || r.ino != 0 && r.ino != ino })
			}
		}
		c.v.cache.trim()
		c.v.forgetInodes()
	}
	return inside
}

// adopt gives a lost inode a name in lost+found. One that has no links was open
// when the volume was last used, and goes.
func (c *checker) adopt(ino uint64) {
	k := c.known[ino]
	if k.reached {
		return
	}
	k.reached = true
	n, e := c.v.get(ino)
	if e != 0 {
		return
	}
	if k.nlink == 0 && len(c.damaged[ino]) == 0 {
		c.orphan(n)
		return
	}
	name := "#" + number(ino)
	c.wrong("inode " + number(ino) + ": no name leads to it; it is now lost+found/" + name)
	c.paths[ino] = "/lost+found/" + name
	if c.Repair {
		if c.rescue(n, name) != 0 {
			c.wrong("inode " + number(ino) + ": lost+found cannot take it")
		}
	}
	k.found = 1
	if k.typ == fs.S_IFDIR {
		c.reach(visit{ino, "/lost+found/" + name})
	}
}

// orphan notes an inode that is only waiting to be removed, or does it.
func (c *checker) orphan(n *inode) {
	c.Orphans++
	if c.Repair && c.v.begin(0) == 0 && c.v.touch(n) == 0 {
		c.v.erase(n)
	}
	c.gone = append(c.gone, n.ino)
}

// rescue puts an inode into lost+found.
func (c *checker) rescue(n *inode, name string) fs.Errno {
	v := c.v
	n.opens++
	defer func() { n.opens-- }()
	s, e := v.locate("lost+found", opMost)
	if e == fs.ENOENT {
		if s.n, e = v.make(s, fs.S_IFDIR|0o700); e == 0 {
			c.known[s.n.ino] = &seen{typ: fs.S_IFDIR, nlink: 2, found: 1, reached: true}
			c.known[RootInode].folders++
		}
	}
	if e == 0 && !s.n.is(fs.S_IFDIR) {
		e = fs.ENOTDIR
	}
	if e == 0 {
		e = v.insert(s.n, name, n.ino, n.mode&fs.S_IFMT)
	}
	if e == 0 && n.is(fs.S_IFDIR) {
		c.known[s.n.ino].folders++
		s.n.nlink++
	}
	return e
}

// counts checks what is counted: links, and what the superblock says.
func (c *checker) counts() {
	for _, ino := range c.gone {
		delete(c.known, ino)
	}
	for ino, k := range c.known {
		want := k.found
		if k.typ == fs.S_IFDIR {
			c.Folders++
			want = 2 + k.folders
		} else {
			c.Files++
		}
		n, e := c.v.get(ino)
		if e == 0 && k.reached && n.nlink != want {
			if k.nlink == n.nlink {
				c.wrong("inode " + number(ino) + ": says " + number(uint64(n.nlink)) + " links and has " + number(uint64(want)))
			}
			if c.Repair && c.v.begin(0) == 0 && c.v.touch(n) == 0 {
				n.nlink = want
			}
		}
		c.v.forgetInodes()
	}
	c.supers()
}

// supers compares the superblock's counts, as they were read.
func (c *checker) supers() {
	sb := &c.v.sb
	free := sb.inodes - 1 - uint64(len(c.known))
	orphans := uint64(c.Orphans)
	if c.Repair {
		orphans = 0
	} else {
		free -= orphans
	}
	told := c.told
	if !c.Repair && (told.freeInodes != free || told.orphans != orphans || told.freeBlocks != told.blocks-c.Blocks) {
		c.wrong("the superblock's counts: " + number(told.freeInodes) + " free inodes, " + number(told.orphans) + " orphans and " +
			number(told.freeBlocks) + " free blocks; there are " + number(free) + ", " + number(orphans) + " and " +
			number(told.blocks-c.Blocks))
	}
	if c.Repair && (sb.freeInodes != free || sb.orphans != orphans || told.freeBlocks != told.blocks-c.Blocks) {
		if c.Damage == 0 && c.Orphans == 0 {
			c.wrong("the superblock's counts are wrong")
		}
		sb.freeInodes, sb.orphans = free, orphans
	}
}

// pathOf is a file's path, as far as it is known.
func (c *checker) pathOf(ino uint64) (string, bool) {
	path, ok := c.paths[ino]
	switch {
	case ino == RootInode:
		return "/", true
	case !ok:
		return "inode " + number(ino), false
	}
	return path, ok
}

package vol

import "github.com/pvrun/pvrun/guest/fs"

// key is which block of which tree something is: of the file with that inode
// number, or of the inode file, which is 0. Level 0 is data, and a node of level
// l has the pointers to NodePointers blocks of level l-1.
type key struct {
	ino   uint64
	level uint8
	index uint64
}

// buffer is a block in memory. One that is dirty has dirty ones above it, up to
// the root of the inode file, and stays until a commit has written it.
type buffer struct {
	key
	data   *block
	dirty  bool
	fresh  bool   // there is none on the device that it takes the place of
	flight *block // what a commit is just writing of it

	newer, older *buffer // in the order of use
}

// cache is the blocks in memory.
type cache struct {
	blocks map[key]*buffer
	ends   buffer // newer is the oldest, older the newest
	dirty  map[*buffer]struct{}
	fresh  int64 // of those that are dirty
	most   int   // clean ones, about
}

func (c *cache) init(most int) {
	c.blocks, c.dirty, c.most = map[key]*buffer{}, map[*buffer]struct{}{}, most
	c.ends.newer, c.ends.older = &c.ends, &c.ends
}

func (c *cache) enter(b *buffer) {
	c.blocks[b.key] = b
	b.older, b.newer = c.ends.older, &c.ends
	b.older.newer, b.newer.older = b, b
}

func (c *cache) leave(b *buffer) {
	delete(c.blocks, b.key)
	b.older.newer, b.newer.older = b.newer, b.older
}

// find is a block that is in memory.
func (c *cache) find(k key) *buffer {
	b := c.blocks[k]
	if b != nil {
		b.older.newer, b.newer.older = b.newer, b.older
		b.older, b.newer = c.ends.older, &c.ends
		b.older.newer, b.newer.older = b, b
	}
	return b
}

// trim forgets clean blocks that were not used for long. It is called between
// operations, which may hold on to what they found. Of those that must stay it looks
// at a few.
func (c *cache) trim() {
	looks := 64
	for b := c.ends.newer; b != &c.ends && looks > 0 && len(c.blocks)-len(c.dirty) > c.most; {
		next := b.newer
		if b.dirty || b.flight != nil {
			looks--
			c.find(b.key)
		} else {
			c.leave(b)
		}
		b = next
	}
}

// write says that a block will be changed.
func (c *cache) write(b *buffer) {
	if !b.dirty {
		b.dirty = true
		c.dirty[b] = struct{}{}
	}
	if b.flight == b.data {
		copied := *b.data
		b.data = &copied
	}
}

// drop forgets a block with its changes.
func (c *cache) drop(k key) {
	b := c.blocks[k]
	if b == nil {
		return
	}
	if b.dirty {
		delete(c.dirty, b)
		if b.fresh {
			c.fresh--
		}
	}
	c.leave(b)
}

// tree is a file's blocks. Height is how many levels of nodes there are above
// the data; root is a pointer to the one block of that level.
type tree struct {
	ino    uint64
	root   pointer
	height uint8
	blocks uint64 // that it has, nodes too
}

// pointer is the pointer to a block of the tree.
func (v *FS) pointer(t *tree, level uint8, index uint64) (pointer, fs.Errno) {
	if level == t.height && index == 0 {
		return t.root, 0
	}
	if level >= t.height {
		return pointer{}, 0
	}
	b, e := v.load(t, level+1, index>>nodeShift)
	if b == nil {
		return pointer{}, e
	}
	return getPointer(b.data.slot(index)), 0
}

// load finds a block, and reads it if need be; nil is a hole.
func (v *FS) load(t *tree, level uint8, index uint64) (*buffer, fs.Errno) {
	k := key{t.ino, level, index}
	if b := v.cache.find(k); b != nil {
		return b, 0
	}
	p, e := v.pointer(t, level, index)
	if e != 0 || p.block == 0 {
		return nil, e
	}
	b := &buffer{key: k, data: new(block)}
	if e := v.read(p, b.data); e != 0 {
		return nil, e
	}
	v.cache.enter(b)
	return b, 0
}

// read reads what a pointer leads to.
func (v *FS) read(p pointer, b *block) fs.Errno {
	if !v.sb.valid(p) || v.dev.ReadAt(b[:], int64(p.block)*BlockSize) != nil || Checksum(b[:]) != p.sum {
		return fs.EIO
	}
	return 0
}

// edit finds a block that is to be changed, and makes it where there is none.
// What was in it need not be read when all of it is.
func (v *FS) edit(t *tree, level uint8, index uint64, whole bool) (*buffer, fs.Errno) {
	if e := v.deepen(t, level, index); e != 0 {
		return nil, e
	}
	p, e := v.pointer(t, level, index)
	if e != 0 {
		return nil, e
	}
	k := key{t.ino, level, index}
	b := v.cache.find(k)
	if b != nil && b.dirty {
		v.cache.write(b) // the same may be in flight
		return b, 0
	}
	if b == nil && (whole || p.block == 0) {
		b = &buffer{key: k, data: new(block), fresh: p.block == 0}
	} else if b == nil {
		if b, e = v.load(t, level, index); e != 0 {
			return nil, e
		}
	}
	if e := v.editAbove(t, level, index, b.fresh); e != 0 {
		return nil, e
	}
	if v.cache.blocks[k] == nil {
		v.cache.enter(b)
	}
	if b.fresh {
		v.cache.fresh++
		t.blocks++
	}
	v.cache.write(b)
	return b, 0
}

// editAbove makes what leads to a block dirty, and has it lead to a new one.
func (v *FS) editAbove(t *tree, level uint8, index uint64, fresh bool) fs.Errno {
	if level < t.height {
		parent, e := v.edit(t, level+1, index>>nodeShift, false)
		if e == 0 && fresh {
			pointer{block: pending}.put(parent.data.slot(index))
		}
		return e
	}
	if e := v.touchTree(t); e != 0 {
		return e
	}
	if fresh {
		t.root = pointer{block: pending}
	}
	return 0
}

// touchTree has a commit write where the tree's root is.
func (v *FS) touchTree(t *tree) fs.Errno {
	if t.ino == 0 {
		return 0
	}
	return v.touch(v.inodes[t.ino])
}

// deepen puts nodes above the root until the tree reaches to a block.
func (v *FS) deepen(t *tree, level uint8, index uint64) fs.Errno {
	for level > t.height || index>>(nodeShift*(t.height-level)) != 0 {
		if t.height == MaxHeight {
			return fs.EFBIG
		}
		if e := v.touchTree(t); e != 0 {
			return e
		}
		if t.root.block != 0 {
			b := &buffer{key: key{t.ino, t.height + 1, 0}, data: new(block), fresh: true}
			t.root.put(b.data.slot(0))
			t.root = pointer{block: pending}
			t.blocks++
			v.cache.fresh++
			v.cache.enter(b)
			v.cache.write(b)
		}
		t.height++
	}
	return 0
}

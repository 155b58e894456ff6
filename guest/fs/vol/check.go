package vol

import (
	"slices"
	"strconv"

	"github.com/pvrun/pvrun/guest/fs"
)

// Result is what Check found.
type Result struct {
	Files, Folders int
	Blocks         uint64 // in use
	Damage         int    // what is or was wrong
	Orphans        int    // files without a name that were open: no damage
	Repaired       bool   // nothing is wrong any more, as far as it could be
}

// CheckOptions say what Check does.
type CheckOptions struct {
	Repair bool
	Now    func() int64 // ns since 1970
	// Report is called with a line for each thing that is wrong.
	Report func(line string)
}

// checker is one run of Check.
type checker struct {
	CheckOptions
	Result
	v       *FS
	seen    bitmap           // blocks that trees have
	table   []uint64         // blocks of the inode file that can be read
	known   map[uint64]*seen // inodes in use
	damaged map[uint64][]span
	paths   map[uint64]string // of the damaged
	gone    []uint64
	told    super // as it was found
	data    block // the last one read
}

// seen is what is known of an inode.
type seen struct {
	typ     uint32
	nlink   uint32
	found   uint32 // names
	folders uint32 // in it
	reached bool
}

// span is a part of a file that cannot be read.
type span struct{ off, end int64 }

// spansMost is how many of them are told for each file.
const spansMost = 100

// Check looks at everything on a volume, and repairs what it can if it is to.
// An error is a device without a volume, or one that cannot be written.
func Check(dev Device, o CheckOptions) (Result, error) {
	c := &checker{CheckOptions: o, known: map[uint64]*seen{}, damaged: map[uint64][]span{}}
	c.v = newFS(dev, Options{ReadOnly: !o.Repair, Now: o.Now})
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	list := readSupers(dev)
	best := newest(list)
	if best < 0 {
		return c.Result, &opError{"check the volume", worst(list)}
	}
	for i, s := range list {
		if s.description != nil {
			c.wrong("superblock " + strconv.Itoa(i) + ": " + s.description.Error() + "; the other one is of generation " +
				number(list[best].generation))
		}
	}
	c.v.use(list[best])
	c.told = list[best]
	c.trees()
	c.bitmap()
	c.names()
	c.lost()
	c.counts()
	c.tellDamaged()
	return c.Result, c.finish()
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// wrong counts and reports something.
func (c *checker) wrong(line string) {
	c.Damage++
	if c.Report != nil {
		c.Report(line)
	}
}

// finish writes the repairs.
func (c *checker) finish() error {
	if !c.Repair || c.Damage == 0 && c.Orphans == 0 {
		return nil
	}
	c.v.touchSuper()
	if c.v.commit() != 0 {
		return &opError{"repair the volume", ErrBroken}
	}
	// The other superblock must not stay damaged, and not be gone back to.
	c.v.touchSuper()
	if c.v.commit() != 0 {
		return &opError{"repair the volume", ErrBroken}
	}
	c.Repaired = true
	return nil
}

// touchSuper has a commit write a superblock whatever has changed.
func (v *FS) touchSuper() { v.edit(&v.table, 0, 0, false) }

// trees walks all trees: the inode file's and those of the inodes in it.
func (c *checker) trees() {
	c.seen = newBitmap(c.v.sb.blocks)
	for i := range dataStart(c.v.sb.blocks) {
		c.seen.set(i)
	}
	t := &c.v.table
	c.walk(t, t.height, 0)
	for _, i := range c.table {
		for k := range uint64(BlockInodes) {
			c.inode(i*BlockInodes + k)
		}
		c.v.cache.trim()
		c.v.forgetInodes()
	}
	if k := c.known[RootInode]; k == nil || k.typ != fs.S_IFDIR {
		c.wrong("the root folder is lost")
		c.newRoot()
	}
}

// inode checks an inode and its blocks.
func (c *checker) inode(ino uint64) {
	b, e := c.v.load(&c.v.table, 0, ino/BlockInodes)
	if e != 0 || b == nil || isFree(b.data.record(ino)) || ino >= c.v.sb.inodes {
		return
	}
	n := decodeInode(ino, b.data.record(ino))
	if ino == 0 || n == nil {
		c.wrong("inode " + number(ino) + ": its fields make no sense; it is removed")
		if c.Repair {
			if b, e := c.v.edit(&c.v.table, 0, ino/BlockInodes, false); e == 0 {
				clear(b.data.record(ino))
			}
		}
		return
	}
	c.v.inodes[ino] = n
	c.known[ino] = &seen{typ: n.mode & fs.S_IFMT, nlink: n.nlink}
	told := n.blocks
	n.blocks = 0
	c.walk(&n.tree, n.height, 0)
	if n.blocks != told {
		c.wrong("inode " + number(ino) + ": says " + number(told) + " blocks and has " + number(n.blocks))
		c.fix(n)
	}
	if c.v.changed[ino] == nil {
		delete(c.v.inodes, ino)
	}
}

// fix has the inode written.
func (c *checker) fix(n *inode) {
	if c.Repair {
		c.v.touch(n)
	}
}

// walk checks a block of a tree and those below it, and cuts off what is bad.
func (c *checker) walk(t *tree, level uint8, index uint64) {
	p, e := c.v.pointer(t, level, index)
	if e != 0 || p.block == 0 {
		return
	}
	why := c.bad(p)
	if why != "" {
		c.cut(t, level, index, why)
		return
	}
	c.seen.set(p.block)
	t.blocks++
	switch {
	case level == 0 && t.ino == 0:
		c.table = append(c.table, index)
	case level > 0:
		for i := range uint64(NodePointers) {
			c.walk(t, level-1, index<<nodeShift|i)
		}
		c.v.cache.trim()
	}
}

// bad is what is wrong with what a pointer leads to.
func (c *checker) bad(p pointer) string {
	switch {
	case !c.v.sb.valid(p):
		return "a pointer leads outside of the volume"
	case c.seen.has(p.block):
		return "block " + number(p.block) + " is used twice"
	case c.v.read(p, &c.data) != 0:
		return "block " + number(p.block) + " cannot be read or has a wrong checksum"
	}
	return ""
}

// cut takes a bad block out of its tree.
func (c *checker) cut(t *tree, level uint8, index uint64, why string) {
	length := int64(BlockSize) << (nodeShift * level)
	s := span{int64(index) * length, int64(index+1) * length}
	if t.ino == 0 {
		const per = BlockSize / BlockInodes
		c.wrong("inodes " + number(uint64(s.off)/per) + " to " + number(uint64(s.end)/per-1) + ": " + why)
	} else {
		c.wrong("inode " + number(t.ino) + ", bytes " + number(uint64(s.off)) + " to " + number(uint64(s.end)-1) + ": " + why)
		if list := c.damaged[t.ino]; len(list) < spansMost {
			c.damaged[t.ino] = append(list, s)
		}
	}
	if c.Repair && c.v.editAbove(t, level, index, false) == 0 {
		c.v.setPointer(t, level, index, pointer{})
		c.v.cache.drop(key{t.ino, level, index})
	}
}

// newRoot makes an empty root folder.
func (c *checker) newRoot() {
	if !c.Repair {
		return
	}
	now := c.v.now()
	n := &inode{tree: tree{ino: RootInode}, mode: fs.S_IFDIR | 0o755, nlink: 2, atime: now, mtime: now, ctime: now, btime: now}
	c.v.inodes[RootInode] = n
	delete(c.v.changed, RootInode)
	c.v.touch(n)
	c.known[RootInode] = &seen{typ: fs.S_IFDIR, nlink: 2}
}

// bitmap compares what the bitmap says with what trees have.
func (c *checker) bitmap() {
	v := c.v
	v.space = newSpace(v.sb.blocks)
	pair := make([]byte, 2*BlockSize)
	for n := range bitmapBlocks(v.sb.blocks) {
		at := int64(slotPlace(n, 0)) * BlockSize
		if v.dev.ReadAt(pair, at) != nil || !v.readSlots(n, (*block)(pair[:BlockSize]), (*block)(pair[BlockSize:])) {
			c.wrong("bitmap block " + number(n) + ": neither slot can be read and has a good checksum")
			copy(v.space.used.part(n), c.seen.part(n))
		}
	}
	c.compare("marked as used and are not", v.space.used, c.seen)
	c.compare("used and not marked so", c.seen, v.space.used)
	c.Blocks = c.seen.count()
	copy(v.space.used, c.seen)
	copy(v.space.busy, c.seen)
	v.recount()
	for n := range bitmapBlocks(v.sb.blocks) {
		v.space.touch(n * SlotBits)
	}
}

// compare reports the blocks that a has and b has not.
func (c *checker) compare(what string, a, b bitmap) {
	var total, first uint64
	for i := range a {
		if extra := a[i] &^ b[i]; extra != 0 {
			if total == 0 {
				first = uint64(i) * 64
			}
			total += bitmap{extra}.count()
		}
	}
	if total > 0 {
		c.wrong(number(total) + " blocks, the first at or after " + number(first) + ", are " + what)
	}
}

// tellDamaged says which files have parts that are lost.
func (c *checker) tellDamaged() {
	inos := make([]uint64, 0, len(c.damaged))
	for ino := range c.damaged {
		inos = append(inos, ino)
	}
	slices.Sort(inos)
	for _, ino := range inos {
		name, _ := c.pathOf(ino)
		for _, s := range c.damaged[ino] {
			end := "cannot be read"
			if c.Repair {
				end = "are lost and read as zeros now"
			}
			if c.Report != nil {
				c.Report(name + ": bytes " + number(uint64(s.off)) + " to " + number(uint64(s.end)-1) + " " + end)
			}
		}
	}
}

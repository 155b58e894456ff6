package vol

import "github.com/pvrun/pvrun/guest/fs"

// inode is a file, folder or link in memory.
type inode struct {
	tree
	mode, nlink, uid, gid      uint32
	size                       int64
	atime, mtime, ctime, btime int64
	target                     string // of a link, when it is short

	opens int
	dir   *dir // of a folder, once it was looked into
}

func (n *inode) is(typ uint32) bool { return n.mode&fs.S_IFMT == typ }

// free is whether an inode's record is one of nothing.
func isFree(b []byte) bool { return get32(b[inodeMode:]) == 0 }

func (n *inode) encode(b []byte) {
	clear(b)
	put32(b[inodeMode:], n.mode)
	put32(b[inodeNlink:], n.nlink)
	put32(b[inodeUID:], n.uid)
	put32(b[inodeGID:], n.gid)
	put64(b[inodeSize:], uint64(n.size))
	put64(b[inodeBlocks:], n.blocks)
	put64(b[inodeAtime:], uint64(n.atime))
	put64(b[inodeMtime:], uint64(n.mtime))
	put64(b[inodeCtime:], uint64(n.ctime))
	put64(b[inodeBtime:], uint64(n.btime))
	n.root.put(b[inodeRoot:])
	put32(b[inodeHeight:], uint32(n.height))
	copy(b[inodeTarget:], n.target)
}

// decodeInode is nil for a record that cannot be one.
func decodeInode(ino uint64, b []byte) *inode {
	n := &inode{mode: get32(b[inodeMode:]), nlink: get32(b[inodeNlink:]), uid: get32(b[inodeUID:]), gid: get32(b[inodeGID:])}
	n.size = int64(get64(b[inodeSize:]))
	n.tree = tree{ino, getPointer(b[inodeRoot:]), uint8(min(get32(b[inodeHeight:]), 255)), get64(b[inodeBlocks:])}
	n.atime, n.mtime = int64(get64(b[inodeAtime:])), int64(get64(b[inodeMtime:]))
	n.ctime, n.btime = int64(get64(b[inodeCtime:])), int64(get64(b[inodeBtime:]))
	typ := n.mode & fs.S_IFMT
	switch {
	case typ != fs.S_IFREG && typ != fs.S_IFDIR && typ != fs.S_IFLNK, n.mode>>16 != 0,
		n.size < 0, n.size > maxSize, n.height > MaxHeight, n.nlink > MaxLinks && typ != fs.S_IFDIR,
		typ == fs.S_IFDIR && n.size%BlockSize != 0,
		typ == fs.S_IFLNK && (n.size == 0 || n.size > MaxTarget):
		return nil
	}
	if typ == fs.S_IFLNK && n.size <= InlineTarget {
		n.target = string(b[inodeTarget:][:n.size])
	}
	return n
}

// record is the bytes of an inode in its block of the inode file.
func (b *block) record(ino uint64) []byte { return b[ino%BlockInodes*InodeSize:][:InodeSize] }

// get finds an inode that a folder or a handle names.
func (v *FS) get(ino uint64) (*inode, fs.Errno) {
	if n := v.inodes[ino]; n != nil {
		return n, 0
	}
	if ino == 0 || ino >= v.sb.inodes {
		return nil, fs.EIO
	}
	b, e := v.load(&v.table, 0, ino/BlockInodes)
	if e != 0 {
		return nil, e
	}
	if b == nil || isFree(b.data.record(ino)) {
		return nil, fs.EIO
	}
	n := decodeInode(ino, b.data.record(ino))
	if n == nil {
		return nil, fs.EIO
	}
	v.inodes[ino] = n
	return n, 0
}

// touch has the next commit write the inode.
func (v *FS) touch(n *inode) fs.Errno {
	if v.changed[n.ino] == n {
		return 0
	}
	if _, e := v.edit(&v.table, 0, n.ino/BlockInodes, false); e != 0 {
		return e
	}
	v.changed[n.ino] = n
	return 0
}

// store writes the inode's record into its block, which is dirty.
func (v *FS) store(n *inode) {
	b := v.cache.blocks[key{0, 0, n.ino / BlockInodes}]
	n.encode(b.data.record(n.ino))
}

// create makes an inode without a name.
func (v *FS) create(mode uint32) (*inode, fs.Errno) {
	ino, e := v.freeInode()
	if e != 0 {
		return nil, e
	}
	now := v.now()
	n := &inode{tree: tree{ino: ino}, mode: mode, nlink: 1, atime: now, mtime: now, ctime: now, btime: now}
	if mode&fs.S_IFMT == fs.S_IFDIR {
		n.nlink = 2
		n.dir = newDir()
	}
	if e := v.touch(n); e != 0 {
		return nil, e
	}
	v.store(n)
	v.sb.freeInodes--
	v.inodes[ino] = n
	return n, 0
}

// freeInode finds a number, or adds a block of them.
func (v *FS) freeInode() (uint64, fs.Errno) {
	blocks := v.sb.inodes / BlockInodes
	for range blocks + 1 { // the first one from its middle on
		if v.sb.freeInodes == 0 {
			break
		}
		if ino := v.freeInBlock(); ino != 0 {
			return ino, 0
		}
		v.inodeCursor = (v.inodeCursor/BlockInodes + 1) * BlockInodes % v.sb.inodes
	}
	v.sb.freeInodes = 0
	if blocks >= v.sb.blocks || blocks >= maxInodeBlocks {
		return 0, fs.ENOSPC
	}
	if _, e := v.edit(&v.table, 0, blocks, true); e != 0 {
		return 0, e
	}
	v.inodeCursor = v.sb.inodes
	v.sb.inodes += BlockInodes
	v.sb.freeInodes += BlockInodes
	return v.inodeCursor, 0
}

// freeInBlock finds a number from the cursor on in its block; 0 is none.
func (v *FS) freeInBlock() uint64 {
	b, e := v.load(&v.table, 0, v.inodeCursor/BlockInodes)
	if e != 0 {
		return 0
	}
	for {
		if ino := v.inodeCursor; ino != 0 && (b == nil || isFree(b.data.record(ino))) {
			return ino
		}
		if (v.inodeCursor+1)%BlockInodes == 0 {
			return 0
		}
		v.inodeCursor++
	}
}

// unlinked is told that the inode has lost a name. What is open stays until it is
// closed, or the volume is mounted again.
func (v *FS) unlinked(n *inode) {
	n.ctime = v.now()
	if n.nlink > 0 {
		return
	}
	if n.opens > 0 {
		v.sb.orphans++
		return
	}
	v.erase(n)
}

// erase gives back an inode that is touched, and its blocks.
func (v *FS) erase(n *inode) {
	if n.root.block != 0 {
		v.drop(&n.tree, n.height, 0, n.root)
	}
	b := v.cache.blocks[key{0, 0, n.ino / BlockInodes}]
	clear(b.data.record(n.ino))
	delete(v.changed, n.ino)
	delete(v.inodes, n.ino)
	v.sb.freeInodes++
}

// forgetInodes keeps the table of inodes in memory small. Those of folders that
// are known stay longer: to know a folder again takes reading it.
func (v *FS) forgetInodes() {
	if len(v.inodes) < v.inodeLimit {
		return
	}
	for ino, n := range v.inodes {
		if n.opens == 0 && v.changed[ino] == nil && (n.dir == nil || v.names > mostNames) {
			if n.dir != nil {
				v.names -= len(n.dir.names)
			}
			delete(v.inodes, ino)
		}
	}
	v.inodeLimit = max(mostInodes, 2*len(v.inodes))
}

const (
	mostInodes = 4096    // in memory, about
	mostNames  = 1 << 18 // of folders in memory, about
)

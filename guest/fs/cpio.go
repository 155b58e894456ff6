package fs

import "strings"

// The newc format: cpio(5), "New ASCII Format"; Linux's
// Documentation/driver-api/early-userspace/buffer-format.rst.
const (
	newcMagic   = "070701"
	newcHeader  = 110
	newcTrailer = "TRAILER!!!"
)

// cpioEntry is one entry of an archive. Name and data point into it.
type cpioEntry struct {
	ino, mode, uid, gid, nlink, mtime uint32
	devMajor, devMinor                uint32
	rdevMajor, rdevMinor              uint32
	name                              string
	data                              []byte
}

// cpioNext reads the entry at the start of b and returns what follows it. It
// is false at the trailer, at the end and where the archive is damaged.
func cpioNext(b []byte) (e cpioEntry, rest []byte, ok bool) {
	if len(b) < newcHeader || string(b[:6]) != newcMagic {
		return e, nil, false
	}
	var field [13]uint32
	for i := range field {
		v, good := hex8(b[6+8*i:])
		if !good {
			return e, nil, false
		}
		field[i] = v
	}
	e = cpioEntry{
		ino: field[0], mode: field[1], uid: field[2], gid: field[3], nlink: field[4], mtime: field[5],
		devMajor: field[7], devMinor: field[8], rdevMajor: field[9], rdevMinor: field[10],
	}
	name, b, ok := span(b, newcHeader, uint64(field[11]))
	if !ok || len(name) == 0 || name[len(name)-1] != 0 {
		return e, nil, false
	}
	e.name = string(name[:len(name)-1])
	if e.data, b, ok = span(b, 0, uint64(field[6])); !ok {
		return e, nil, false
	}
	return e, b, e.name != newcTrailer
}

// span cuts n bytes at offset from out of b; rest begins at the next multiple
// of 4 after them, or at the end.
func span(b []byte, from, n uint64) (part, rest []byte, ok bool) {
	if from > uint64(len(b)) || n > uint64(len(b))-from {
		return nil, nil, false
	}
	next := min((from+n+3)&^3, uint64(len(b)))
	return b[from : from+n : from+n], b[next:], true
}

// hex8 reads eight hexadecimal digits.
func hex8(b []byte) (v uint32, ok bool) {
	for _, c := range b[:8] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint32(c)
	}
	return v, true
}

// linkID tells which names of an archive are one file.
type linkID struct{ major, minor, ino uint32 }

// unpack enters an archive's files into the tree. File data stays where it
// is, and is copied page by page at the first write.
func (fs *FS) unpack(b []byte) {
	linked := make(map[linkID]*inode)
	for {
		e, rest, ok := cpioNext(b)
		if !ok {
			return
		}
		fs.unpackEntry(&e, linked)
		b = rest
	}
}

// unpackEntry enters one file. Entries that make no sense (a name with "..",
// a file in the place of a directory) are left out.
func (fs *FS) unpackEntry(e *cpioEntry, linked map[linkID]*inode) {
	dir, name := fs.unpackDir(e.name)
	if dir == nil {
		return
	}
	old := dir.find(name)
	if e.mode&S_IFMT == S_IFDIR {
		fs.unpackInto(e, dir, name, old)
		return
	}
	if old != nil {
		if old.isDir() {
			return
		}
		dir.leave(name)
		old.links(-1)
	}
	id := linkID{e.devMajor, e.devMinor, e.ino}
	if e.nlink > 1 && e.mode&S_IFMT == S_IFREG {
		if n := linked[id]; n != nil {
			n.links(1)
			n.unpackData(e)
			dir.enter(name, n)
			return
		}
	}
	n := fs.unpackNew(e)
	if n == nil {
		return
	}
	if e.nlink > 1 {
		linked[id] = n
	}
	dir.enter(name, n)
}

// unpackDir splits a name and makes the directories that it lies in; nil for
// a name that is none.
func (fs *FS) unpackDir(path string) (*inode, string) {
	path = strings.Trim(path, "/")
	cur := fs.root
	for {
		name, rest := cut(path)
		if name == "." && rest != "" {
			path = rest
			continue
		}
		if name == "" || name == ".." || len(name) > NAME_MAX {
			return nil, ""
		}
		if rest == "" {
			return cur, name
		}
		next := cur.find(name)
		if next == nil {
			next = fs.newDir(devRoot, 0o755)
			cur.enter(name, next)
		}
		if !next.isDir() {
			return nil, ""
		}
		cur, path = next, rest
	}
}

// unpackInto enters a directory, or gives one that is there its attributes.
func (fs *FS) unpackInto(e *cpioEntry, dir *inode, name string, old *inode) {
	switch {
	case name == ".":
		old = fs.root
	case old == nil:
		old = fs.newDir(devRoot, 0)
		dir.enter(name, old)
	case !old.isDir():
		return
	}
	old.unpackAttr(e)
}

// unpackNew makes the inode of an entry that is not a directory, or nil.
func (fs *FS) unpackNew(e *cpioEntry) *inode {
	var n *inode
	switch e.mode & S_IFMT {
	case S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO:
		n = fs.newInode(devRoot, e.mode)
		n.special(makedev(e.rdevMajor, e.rdevMinor))
		n.unpackData(e)
	case S_IFLNK:
		if len(e.data) == 0 || len(e.data) >= PATH_MAX {
			return nil
		}
		n = fs.newLink(devRoot, string(e.data))
	default:
		return nil
	}
	n.unpackAttr(e)
	return n
}

// unpackData gives a regular file its content; of several names for one file
// only one carries it.
func (n *inode) unpackData(e *cpioEntry) {
	if n.isReg() && len(e.data) > 0 {
		n.data.base, n.data.size = e.data, int64(len(e.data))
	}
}

func (n *inode) unpackAttr(e *cpioEntry) {
	n.perm, n.uid, n.gid = e.mode&permBits, e.uid, e.gid
	n.mtime = int64(e.mtime) * 1e9
	n.atime, n.ctime = n.mtime, n.mtime
}

package vol

import "github.com/pvrun/pvrun/guest/fs"

// dir is what is known of a folder once it was read: where each name is, and how
// much room its blocks have for more.
type dir struct {
	names  map[string]entry
	room   []uint16 // bytes of the longest entry that fits, by block
	cursor int      // blocks below it are full, as far as is known
}

// entry is a name's record in a folder.
type entry struct {
	ino uint64
	typ uint32 // S_IFMT bits
	at  uint64 // in bytes from the folder's beginning
}

func newDir() *dir { return &dir{names: map[string]entry{}} }

// entrySize is how long a record for a name of n bytes is at least.
func entrySize(n int) int { return (EntryHeader + n + EntryAlign - 1) &^ (EntryAlign - 1) }

// record is an entry as it is in a block.
type record struct {
	off, length int
	ino         uint64
	typ         uint32
	name        []byte // in the block
}

// spare is how many bytes of it are free.
func (r *record) spare() int {
	if r.ino == 0 {
		return r.length
	}
	return r.length - entrySize(len(r.name))
}

// records calls f for each record of a folder's block, free ones too. False is a
// block that is none.
func (b *block) records(f func(r record)) bool {
	for off := 0; off < BlockSize; {
		if BlockSize-off < EntryHeader {
			return false
		}
		h := b[off:]
		r := record{off: off, length: int(get16(h[entryLength:])), ino: get64(h[entryInode:]),
			typ: uint32(h[entryType]) << entryTypeShift}
		n := int(h[entryNameLength])
		if r.length%EntryAlign != 0 || r.length < entrySize(n) || off+r.length > BlockSize || r.ino != 0 && n == 0 {
			return false
		}
		r.name = h[EntryHeader:][:n]
		f(r)
		off += r.length
	}
	return true
}

// putRecord writes a record's header and name.
func (b *block) putRecord(r record) {
	h := b[r.off:]
	put64(h[entryInode:], r.ino)
	put16(h[entryLength:], uint16(r.length))
	h[entryNameLength] = byte(len(r.name))
	h[entryType] = byte(r.typ >> entryTypeShift)
	copy(h[EntryHeader:], r.name)
}

// goodName is whether a folder may have the name.
func goodName(name string) bool {
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return name != "" && name != "." && name != ".."
}

// folder reads a folder when it is first needed.
func (v *FS) folder(n *inode) (*dir, fs.Errno) {
	if n.dir != nil {
		return n.dir, 0
	}
	blocks := uint64(n.size / BlockSize)
	if blocks > v.sb.blocks {
		return nil, fs.EIO
	}
	d := newDir()
	for i := range blocks {
		b, e := v.load(&n.tree, 0, i)
		if e != 0 {
			return nil, e
		}
		if b == nil || !d.learn(b.data, i, v.sb.inodes) {
			return nil, fs.EIO
		}
		if i%64 == 63 {
			v.cache.trim()
		}
	}
	n.dir = d
	v.names += len(d.names)
	return d, 0
}

// learn notes the names of a block.
func (d *dir) learn(b *block, i, inodes uint64) bool {
	good, room := true, 0
	ok := b.records(func(r record) {
		room = max(room, r.spare())
		if r.ino == 0 {
			return
		}
		name := string(r.name)
		_, twice := d.names[name]
		good = good && !twice && r.ino < inodes && goodName(name)
		d.names[name] = entry{r.ino, r.typ, i*BlockSize + uint64(r.off)}
	})
	d.room = append(d.room, uint16(room))
	return good && ok
}

// insert adds a name that the folder does not have.
func (v *FS) insert(n *inode, name string, ino uint64, typ uint32) fs.Errno {
	d, e := v.folder(n)
	if e != 0 {
		return e
	}
	i, need := d.cursor, entrySize(len(name))
	for i < len(d.room) && int(d.room[i]) < need {
		i++
	}
	if e := v.touch(n); e != 0 {
		return e
	}
	b, e := v.edit(&n.tree, 0, uint64(i), i == len(d.room))
	if e != 0 {
		return e
	}
	if i == len(d.room) {
		b.data.putRecord(record{length: BlockSize})
		d.room = append(d.room, BlockSize)
		n.size += BlockSize
	}
	off := b.data.place(record{ino: ino, typ: typ, name: []byte(name)})
	d.names[name] = entry{ino, typ, uint64(i*BlockSize + off)}
	v.names++
	d.measure(b.data, i)
	if need <= entrySize(8) {
		d.cursor = i // those before have no room even for the shortest names
	}
	v.modified(n)
	return 0
}

// place puts a record where the block has room for it.
func (b *block) place(fresh record) (off int) {
	var into record
	b.records(func(r record) {
		if into.length == 0 && r.spare() >= entrySize(len(fresh.name)) {
			into = r
		}
	})
	fresh.off, fresh.length = into.off, into.length
	if into.ino != 0 {
		into.length -= into.spare()
		b.putRecord(into)
		fresh.off += into.length
		fresh.length -= into.length
	}
	b.putRecord(fresh)
	return fresh.off
}

func (d *dir) measure(b *block, i int) {
	room := 0
	b.records(func(r record) { room = max(room, r.spare()) })
	d.room[i] = uint16(room)
}

// remove takes a name away that the folder has.
func (v *FS) remove(n *inode, name string) fs.Errno {
	d := n.dir
	at := d.names[name].at
	i := int(at / BlockSize)
	if e := v.touch(n); e != 0 {
		return e
	}
	b, e := v.edit(&n.tree, 0, uint64(i), false)
	if e != 0 {
		return e
	}
	b.data.remove(int(at % BlockSize))
	delete(d.names, name)
	v.names--
	d.measure(b.data, i)
	d.cursor = min(d.cursor, i)
	v.modified(n)
	if len(d.names) == 0 {
		return v.empty(n)
	}
	return 0
}

// remove joins the record at off with the one before it.
func (b *block) remove(off int) {
	var before, gone record
	b.records(func(r record) {
		if r.off < off {
			before = r
		} else if r.off == off {
			gone = r
		}
	})
	if before.length == 0 {
		b.putRecord(record{off: off, length: gone.length})
		return
	}
	before.length += gone.length
	b.putRecord(before)
}

// empty gives back the blocks of a folder without names.
func (v *FS) empty(n *inode) fs.Errno {
	e := v.cut(&n.tree, 0, uint64(len(n.dir.room)))
	if e == 0 {
		n.size, n.dir.room, n.dir.cursor = 0, nil, 0
	}
	return e
}

// redirect has a name mean another inode.
func (v *FS) redirect(n *inode, name string, ino uint64, typ uint32) fs.Errno {
	at := n.dir.names[name].at
	b, e := v.edit(&n.tree, 0, at/BlockSize, false)
	if e == 0 {
		e = v.touch(n)
	}
	if e != 0 {
		return e
	}
	put64(b.data[at%BlockSize+entryInode:], ino)
	b.data[at%BlockSize+entryType] = byte(typ >> entryTypeShift)
	n.dir.names[name] = entry{ino, typ, at}
	v.modified(n)
	return 0
}

package vol

import "github.com/pvrun/pvrun/guest/fs"

// missing is a part of a read that is not in memory.
type missing struct {
	index uint64
	p     pointer
	skip  int
	dst   []byte
	data  []byte // the block, once it was read
}

const (
	// readMost is how many blocks are looked up at once.
	readMost = 256
	// readKept is how long a read is, in blocks, at the most, of which memory
	// keeps a copy. Longer ones would only drive out what is needed again.
	readKept = 16
)

// Read reads at off.
func (v *FS) Read(id uint64, b []byte, off int64) (done int, e fs.Errno) {
	v.lock()
	defer v.unlock()
	h, e := v.file(id)
	switch {
	case e != 0:
		return 0, e
	case !h.reads():
		return 0, fs.EBADF
	case off < 0:
		return 0, fs.EINVAL
	}
	h.n.opens++
	defer v.release(h.n)
	for done < len(b) && e == 0 {
		size := h.n.size
		if off >= size {
			break
		}
		part := b[done:][:min(int64(len(b)-done), size-off, readMost*BlockSize-off%BlockSize)]
		if e = v.readPart(h.n, part, off); e == 0 {
			done, off = done+len(part), off+int64(len(part))
		}
	}
	return done, e
}

// readPart fills b, in which it first looks up all blocks and then reads those
// that are not in memory, without the lock.
func (v *FS) readPart(n *inode, b []byte, off int64) fs.Errno {
	list, e := v.lookUp(n, b, off)
	if e != 0 || len(list) == 0 {
		return e
	}
	buf := v.takeBuffer(len(list))
	v.mu.Unlock()
	good := true
	for rest := list; len(rest) > 0 && good; {
		var k int
		k, good = v.readRun(rest, buf)
		buf, rest = buf[k*BlockSize:], rest[k:]
	}
	v.mu.Lock()
	if !good { // perhaps only because the blocks were used anew meanwhile
		return v.readLocked(n, b, off)
	}
	if len(list) <= readKept {
		v.keep(n, list)
	}
	return 0
}

// lookUp copies what is in memory and lists what is not.
func (v *FS) lookUp(n *inode, b []byte, off int64) (list []missing, e fs.Errno) {
	for len(b) > 0 {
		index, skip := uint64(off/BlockSize), int(off%BlockSize)
		part := b[:min(len(b), BlockSize-skip)]
		b, off = b[len(part):], off+int64(len(part))
		if buf := v.cache.find(key{n.ino, 0, index}); buf != nil {
			copy(part, buf.data[skip:])
			continue
		}
		p, e := v.pointer(&n.tree, 0, index)
		switch {
		case e != 0:
			return nil, e
		case p.block == 0:
			clear(part)
		case !v.sb.valid(p):
			return nil, fs.EIO
		default:
			list = append(list, missing{index, p, skip, part, nil})
		}
	}
	return list, 0
}

// takeBuffer is memory of the heap, which devices may need, for n blocks.
func (v *FS) takeBuffer(n int) []byte { return make([]byte, n*BlockSize) }

// readRun reads the first blocks of a list that lie side by side.
func (v *FS) readRun(list []missing, buf []byte) (int, bool) {
	k := 1
	for k < len(list) && list[k].p.block == list[0].p.block+uint64(k) {
		k++
	}
	if v.dev.ReadAt(buf[:k*BlockSize], int64(list[0].p.block)*BlockSize) != nil {
		return k, false
	}
	for i, w := range list[:k] {
		b := buf[i*BlockSize:][:BlockSize]
		if Checksum(b) != w.p.sum {
			return k, false
		}
		copy(w.dst, b[w.skip:])
		list[i].data = b
	}
	return k, true
}

// readLocked reads block by block with the lock held.
func (v *FS) readLocked(n *inode, b []byte, off int64) fs.Errno {
	for len(b) > 0 {
		skip := int(off % BlockSize)
		part := b[:min(len(b), BlockSize-skip)]
		buf, e := v.load(&n.tree, 0, uint64(off/BlockSize))
		if e != 0 {
			return e
		}
		if buf == nil {
			clear(part)
		} else {
			copy(part, buf.data[skip:])
		}
		b, off = b[len(part):], off+int64(len(part))
	}
	return 0
}

// keep remembers blocks that were read, unless they have changed since: as they
// are on the device, and not in the caller's buffer, which others may write to.
func (v *FS) keep(n *inode, list []missing) {
	for _, w := range list {
		k := key{n.ino, 0, w.index}
		if v.cache.blocks[k] != nil {
			continue
		}
		if p, e := v.pointer(&n.tree, 0, w.index); e == 0 && p == w.p {
			b := &buffer{key: k, data: new(block)}
			copy(b.data[:], w.data)
			v.cache.enter(b)
		}
	}
}

package vol

import "github.com/pvrun/pvrun/guest/fs"

// handle is an open file.
type handle struct {
	n     *inode
	flags int
}

func (h *handle) writes() bool { return h.flags&fs.O_ACCMODE != fs.O_RDONLY }
func (h *handle) reads() bool  { return h.flags&fs.O_ACCMODE != fs.O_WRONLY }

// lock and unlock surround every operation.
func (v *FS) lock() { v.mu.Lock() }

func (v *FS) unlock() {
	v.cache.trim()
	v.forgetInodes()
	v.mu.Unlock()
}

// file is the regular file of a handle.
func (v *FS) file(id uint64) (*handle, fs.Errno) {
	h := v.handles[id]
	switch {
	case h == nil:
		return nil, fs.EBADF
	case h.n.is(fs.S_IFDIR):
		return nil, fs.EISDIR
	}
	return h, 0
}

// writable is the file of a handle that may change it, held: what an operation
// lets go of the lock for may close the handle.
func (v *FS) writable(id uint64) (*inode, fs.Errno) {
	h := v.handles[id]
	switch {
	case h == nil || !h.writes():
		return nil, fs.EBADF
	case h.n.is(fs.S_IFDIR):
		return nil, fs.EISDIR
	}
	h.n.opens++
	return h.n, 0
}

// release is the end of a use of an inode.
func (v *FS) release(n *inode) {
	gone := n.opens == 1 && n.nlink == 0 && v.begin(0) == 0 && v.touch(n) == 0
	n.opens--
	if gone && n.opens == 0 {
		v.sb.orphans--
		v.erase(n)
	}
}

// Write writes at off, or at the end of a file that was opened to append.
func (v *FS) Write(id uint64, b []byte, off int64) (done int, e fs.Errno) {
	v.lock()
	defer v.unlock()
	n, e := v.writable(id)
	if e != 0 {
		return 0, e
	}
	defer v.release(n)
	if off < 0 {
		return 0, fs.EINVAL
	}
	appends := v.handles[id].flags&fs.O_APPEND != 0
	for done < len(b) && e == 0 {
		var k int
		if e = v.beginWrite(n, &off, appends); e == 0 {
			k, e = v.writeBlock(n, b[done:], off)
		}
		done, off = done+k, off+int64(k)
	}
	if done > 0 && e != fs.EIO {
		e = 0
	}
	return done, e
}

// beginWrite begins the operation that writes into one block: which is a new one
// unless there is one already, and that can change until it has begun.
func (v *FS) beginWrite(n *inode, off *int64, appends bool) fs.Errno {
	const unknown = -1
	v.cache.trim() // one call may write more than memory has room for
	for grow := int64(unknown); ; {
		if appends {
			*off = n.size
		}
		if *off >= maxSize {
			return fs.EFBIG
		}
		p, e := v.pointer(&n.tree, 0, uint64(*off/BlockSize))
		if e != 0 {
			return e
		}
		need := int64(0)
		if p.block == 0 {
			need = opMost
		}
		if grow >= need {
			return 0
		}
		grow = need
		if e := v.begin(grow); e != 0 {
			return e
		}
	}
}

// writeBlock writes as much as lies in one block.
func (v *FS) writeBlock(n *inode, b []byte, off int64) (int, fs.Errno) {
	skip := int(off % BlockSize)
	b = b[:min(len(b), BlockSize-skip)]
	if e := v.touch(n); e != 0 {
		return 0, e
	}
	end := off + int64(len(b))
	buf, e := v.edit(&n.tree, 0, uint64(off/BlockSize), skip == 0 && (len(b) == BlockSize || end >= n.size))
	if e != 0 {
		return 0, e
	}
	copy(buf.data[skip:], b)
	n.size = max(n.size, end)
	v.modified(n)
	return len(b), 0
}

// modified sets the times of what was just changed.
func (v *FS) modified(n *inode) {
	n.mtime = v.now()
	n.ctime = n.mtime
}

// Truncate makes a file shorter, or longer with a hole.
func (v *FS) Truncate(id uint64, size int64) fs.Errno {
	v.lock()
	defer v.unlock()
	n, e := v.writable(id)
	if e != 0 {
		return e
	}
	defer v.release(n)
	switch {
	case size < 0:
		return fs.EINVAL
	case size > maxSize:
		return fs.EFBIG
	}
	return v.resize(n, size)
}

// resize is Truncate for an inode that is held.
func (v *FS) resize(n *inode, size int64) fs.Errno {
	e := v.begin(0)
	if e == 0 {
		e = v.touch(n)
	}
	if e == 0 && size < n.size {
		e = v.shorten(n, size)
	}
	if e != 0 {
		return e
	}
	n.size = size
	v.modified(n)
	return 0
}

// shorten takes away what is behind size, the rest of its block too.
func (v *FS) shorten(n *inode, size int64) fs.Errno {
	if e := v.zeroPart(n, size, BlockSize-size%BlockSize); e != 0 {
		return e
	}
	return v.cut(&n.tree, uint64(size+BlockSize-1)/BlockSize, uint64(maxSize/BlockSize))
}

// zeroPart clears bytes of a block that is there, but not all of them.
func (v *FS) zeroPart(n *inode, off, length int64) fs.Errno {
	if length <= 0 || length >= BlockSize {
		return 0
	}
	p, e := v.pointer(&n.tree, 0, uint64(off/BlockSize))
	if e != 0 || p.block == 0 {
		return e
	}
	b, e := v.edit(&n.tree, 0, uint64(off/BlockSize), false)
	if e == 0 {
		clear(b.data[off%BlockSize:][:length])
	}
	return e
}

// Allocate grows a file, or makes a hole or zeros, which are holes. Since every
// write goes to a new place, space that is there now is no promise.
func (v *FS) Allocate(id uint64, mode int, off, length int64) fs.Errno {
	v.lock()
	defer v.unlock()
	n, e := v.writable(id)
	if e != 0 {
		return e
	}
	defer v.release(n)
	switch {
	case off < 0 || length <= 0:
		return fs.EINVAL
	case off > maxSize || length > maxSize-off:
		return fs.EFBIG
	}
	return v.allocate(n, mode, off, off+length)
}

func (v *FS) allocate(n *inode, mode int, off, end int64) (e fs.Errno) {
	const keep = fs.FALLOC_FL_KEEP_SIZE
	switch mode {
	case 0, keep:
		e = v.begin((end-off)/BlockSize + 1)
	case fs.FALLOC_FL_PUNCH_HOLE | keep, fs.FALLOC_FL_ZERO_RANGE, fs.FALLOC_FL_ZERO_RANGE | keep:
		if e = v.begin(0); e == 0 {
			e = v.zero(n, off, min(end, n.size))
		}
	default:
		return fs.ENOTSUP
	}
	if e == 0 && mode&keep == 0 && end > n.size {
		return v.resize(n, end)
	}
	return e
}

// zero makes [off, end) zero, with holes where it takes whole blocks, in an
// operation that has begun.
func (v *FS) zero(n *inode, off, end int64) fs.Errno {
	if off >= end {
		return 0
	}
	if e := v.touch(n); e != 0 {
		return e
	}
	first, last := (off+BlockSize-1)/BlockSize, end/BlockSize
	v.modified(n)
	if first > last {
		return v.zeroPart(n, off, end-off)
	}
	e := v.zeroPart(n, off, first*BlockSize-off)
	if e == 0 {
		e = v.zeroPart(n, last*BlockSize, end-last*BlockSize)
	}
	if e == 0 && first < last {
		e = v.cut(&n.tree, uint64(first), uint64(last))
	}
	return e
}

// Seek finds data, or a hole.
func (v *FS) Seek(id uint64, off int64, hole bool) (int64, fs.Errno) {
	v.lock()
	defer v.unlock()
	h, e := v.file(id)
	switch {
	case e != 0:
		return 0, e
	case off < 0 || off >= h.n.size:
		return 0, fs.ENXIO
	}
	index, e := v.seek(&h.n.tree, uint64(off/BlockSize), hole)
	at := max(off, int64(index)*BlockSize)
	switch {
	case e != 0 && e != fs.ENXIO:
		return 0, e
	case e == 0 && at < h.n.size:
		return at, 0
	case hole:
		return h.n.size, 0
	}
	return 0, fs.ENXIO
}

// Sync makes a file durable, and with it all else.
func (v *FS) Sync(id uint64, _ bool) fs.Errno {
	v.lock()
	defer v.unlock()
	if v.handles[id] == nil {
		return fs.EBADF
	}
	return v.commit()
}

// Lock is always given: nobody else has the volume.
func (v *FS) Lock(uint64, fs.TreeLock) fs.Errno { return 0 }

// Map leaves pages to the caller.
func (v *FS) Map(uint64, uintptr, uint64, int64, int) fs.Errno { return fs.ENODEV }

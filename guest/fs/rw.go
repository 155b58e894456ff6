package fs

// Read reads from a descriptor at its offset.
func (fs *FS) Read(fd int, b []byte) (int, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	return f.read(b)
}

// Write writes to a descriptor at its offset, or at the end with O_APPEND.
func (fs *FS) Write(fd int, b []byte) (int, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	return f.write(b)
}

// Pread reads at an offset of the caller's.
func (fs *FS) Pread(fd int, b []byte, off int64) (int, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	if off < 0 {
		return 0, EINVAL
	}
	if f.stream != nil && !f.seekable() {
		return 0, ESPIPE
	}
	return f.readAt(b, off)
}

// Pwrite writes at an offset of the caller's; with O_APPEND at the end, as on
// Linux.
func (fs *FS) Pwrite(fd int, b []byte, off int64) (int, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	if off < 0 {
		return 0, EINVAL
	}
	if f.stream != nil && !f.seekable() {
		return 0, ESPIPE
	}
	n, _, e := f.writeAt(b, off)
	return n, e
}

// clip bounds one transfer.
func clip(b []byte) []byte { return b[:min(len(b), maxRW)] }

func (f *file) read(b []byte) (int, Errno) {
	b = clip(b)
	if f.stream != nil {
		if !f.readable() {
			return 0, EBADF
		}
		return f.stream.read(f, b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, e := f.readAt(b, f.position())
	f.off += int64(n)
	return n, e
}

// readAt reads without moving the offset.
func (f *file) readAt(b []byte, off int64) (int, Errno) {
	switch {
	case !f.readable():
		return 0, EBADF
	case f.node.isDir():
		return 0, EISDIR
	case f.stream != nil:
		return f.stream.read(f, b)
	case f.node.text != nil:
		return copy(b, f.text[min(off, int64(len(f.text))):]), 0
	}
	return f.node.body.readAt(f, clip(b), off)
}

func (f *file) write(b []byte) (int, Errno) {
	b = clip(b)
	if f.stream != nil {
		if !f.writable() {
			return 0, EBADF
		}
		return f.stream.write(f, b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	off := f.off
	if !f.has(O_APPEND) {
		off = f.position()
	}
	n, end, e := f.writeAt(b, off)
	if n > 0 {
		f.off = end
	}
	return n, e
}

// writeAt writes without moving the offset and returns where it ended.
func (f *file) writeAt(b []byte, off int64) (n int, end int64, e Errno) {
	if !f.writable() {
		return 0, 0, EBADF
	}
	if f.stream != nil {
		n, e = f.stream.write(f, clip(b))
		return n, off, e
	}
	if b = clip(b); len(b) == 0 {
		return 0, off, 0
	}
	return f.node.body.writeAt(f, b, off)
}

// seekable is whether pread and lseek work on a stream: devices without
// position take any offset.
func (f *file) seekable() bool {
	_, ok := f.stream.(device)
	return ok
}

// Seek moves a descriptor's offset.
func (fs *FS) Seek(fd int, off int64, whence int) (int64, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	if f.stream != nil {
		if f.seekable() {
			return 0, 0
		}
		return 0, ESPIPE
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	to, e := f.target(off, whence)
	if e != 0 {
		return 0, e
	}
	f.off = to
	return to, 0
}

// target is where a seek leads. The caller holds f.mu.
func (f *file) target(off int64, whence int) (int64, Errno) {
	var from int64
	switch whence {
	case SEEK_SET:
	case SEEK_CUR:
		from = f.position()
	case SEEK_END:
		from = f.size()
	case SEEK_DATA, SEEK_HOLE:
		return f.sparse(off, whence == SEEK_DATA)
	default:
		return 0, EINVAL
	}
	to := from + off
	if off > 0 && to < from {
		return 0, EOVERFLOW
	}
	if to < 0 || to > MaxFile && f.node.isReg() || f.node.typ == S_IFBLK && to > f.size() {
		return 0, EINVAL
	}
	return to, 0
}

// atEnd is the offset after a write to the end, wherever that is.
const atEnd = -1

// position is the offset. The caller holds f.mu.
func (f *file) position() int64 {
	if f.off == atEnd {
		f.off = f.size()
	}
	return f.off
}

// size is what SEEK_END counts from.
func (f *file) size() int64 {
	if f.node.text != nil {
		return int64(len(f.text))
	}
	// What cannot be asked for is as it was.
	_ = f.node.body.refresh(f)
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	size, _ := f.node.body.extent()
	return size
}

// sparse finds data or a hole from off on; the end of a file is a hole.
func (f *file) sparse(off int64, data bool) (int64, Errno) {
	if f.node.isDir() {
		return 0, EINVAL
	}
	return f.node.body.sparse(f, off, data)
}

// Fsync sees to it that what was written stays; dataOnly is fdatasync.
func (fs *FS) Fsync(fd int, dataOnly bool) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	if f.stream != nil {
		return EINVAL
	}
	return f.node.body.sync(f, dataOnly)
}

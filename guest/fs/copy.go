package fs

// copyStep is how much a copy between descriptors moves at once, in bytes.
const copyStep = 64 << 10

// CopyRange is copy_file_range. A nil offset means the descriptor's own.
func (fs *FS) CopyRange(in int, inOff *int64, out int, outOff *int64, n int) (int, Errno) {
	src, e := fs.getIO(in)
	if e != 0 {
		return 0, e
	}
	defer fs.put(src)
	dst, e := fs.getIO(out)
	if e != 0 {
		return 0, e
	}
	defer fs.put(dst)
	if e := checkCopy(src, dst); e != 0 {
		return 0, e
	}
	from, to := src.offset(inOff), dst.offset(outOff)
	if from < 0 || to < 0 {
		return 0, EINVAL
	}
	n = int(max(0, min(int64(n), maxRW, src.size()-from)))
	if n > 0 && src.node == dst.node && from < to+int64(n) && to < from+int64(n) {
		return 0, EINVAL
	}
	done, e := copyData(src, from, dst, to, n)
	src.moved(inOff, from+int64(done))
	dst.moved(outOff, to+int64(done))
	return done, e
}

// checkCopy checks the two ends in the order of Linux's fs/read_write.c.
func checkCopy(src, dst *file) Errno {
	switch {
	case src.node.isDir() || dst.node.isDir():
		return EISDIR
	case !src.node.isReg() || !dst.node.isReg():
		return EINVAL
	case !src.readable() || !dst.writable() || dst.has(O_APPEND):
		return EBADF
	case src.node.text != nil:
		return EXDEV // callers fall back to read and write
	}
	return 0
}

// copyData moves n bytes between regular files, fewer at the end.
func copyData(src *file, from int64, dst *file, to int64, n int) (int, Errno) {
	buf := make([]byte, min(n, copyStep))
	done := 0
	for done < n {
		got, e := src.readAt(buf[:min(len(buf), n-done)], from+int64(done))
		if got == 0 || e != 0 {
			return done, e
		}
		put, _, e := dst.writeAt(buf[:got], to+int64(done))
		done += put
		if e != 0 && done == 0 {
			return 0, e
		}
		if put < got {
			break
		}
	}
	return done, 0
}

// offset is where a copy starts: the caller's offset or the description's.
func (f *file) offset(own *int64) int64 {
	if own != nil {
		return *own
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position()
}

// moved stores where a copy ended.
func (f *file) moved(own *int64, off int64) {
	if own != nil {
		*own = off
		return
	}
	f.mu.Lock()
	f.off = off
	f.mu.Unlock()
}

// Sendfile copies from a file to any descriptor.
func (fs *FS) Sendfile(out, in int, off *int64, n int) (int, Errno) {
	src, e := fs.getIO(in)
	if e != 0 {
		return 0, e
	}
	defer fs.put(src)
	dst, e := fs.getIO(out)
	if e != 0 {
		return 0, e
	}
	defer fs.put(dst)
	switch {
	case !src.readable() || !dst.writable():
		return 0, EBADF
	case !src.node.isReg() || dst.has(O_APPEND) || dst.node.isDir():
		return 0, EINVAL
	case off != nil && *off < 0:
		return 0, EINVAL
	}
	from := src.offset(off)
	done, e := pump(src, from, dst, min(n, maxRW))
	src.moved(off, from+int64(done))
	return done, e
}

// pump writes n bytes of src to dst.
func pump(src *file, from int64, dst *file, n int) (int, Errno) {
	buf := make([]byte, min(n, copyStep))
	done := 0
	for done < n {
		got, e := src.readAt(buf[:min(len(buf), n-done)], from+int64(done))
		if got == 0 || e != 0 {
			return done, e
		}
		put, e := dst.write(buf[:got])
		done += put
		if e != 0 {
			if done > 0 {
				e = 0
			}
			return done, e
		}
		if put < got {
			break
		}
	}
	return done, 0
}

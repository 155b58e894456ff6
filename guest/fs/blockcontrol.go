package fs

// BlockFacts is what ioctl tells of a block device.
type BlockFacts struct {
	Size     int64 // bytes
	Sector   int   // bytes
	ReadOnly bool
}

// blockOf is the disk behind a descriptor: ENOTTY for other files.
func (fs *FS) blockOf(fd int) (*block, *file, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return nil, nil, e
	}
	d, ok := f.node.body.(*block)
	if !ok {
		fs.put(f)
		return nil, nil, ENOTTY
	}
	return d, f, 0
}

// BlockFacts tells of the disk behind a descriptor.
func (fs *FS) BlockFacts(fd int) (BlockFacts, Errno) {
	d, f, e := fs.blockOf(fd)
	if e != 0 {
		return BlockFacts{}, e
	}
	defer fs.put(f)
	return BlockFacts{d.size, int(d.sector), d.disk.ReadOnly()}, 0
}

// BlockFlush is the ioctl BLKFLSBUF.
func (fs *FS) BlockFlush(fd int) Errno {
	d, f, e := fs.blockOf(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	return d.sync(f, false)
}

// BlockDiscard is the ioctl BLKDISCARD, or with zeroes BLKZEROOUT (Linux,
// block/ioctl.c).
func (fs *FS) BlockDiscard(fd int, off, n uint64, zeroes bool) Errno {
	d, f, e := fs.blockOf(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	switch end := off + n; {
	case !f.writable():
		return EBADF
	case end < off || end > uint64(d.size) || n == 0 || !d.whole(int64(off), int64(n)):
		return EINVAL
	case d.disk.ReadOnly():
		return EPERM
	case zeroes:
		return d.alone(int64(off), int64(end), d.zero)
	default:
		return d.alone(int64(off), int64(end), d.discard)
	}
}

package fs

// BlockDevice is a disk with Go's errors, at any offset: what package vol works on.
// Its writes and those to the disk's device file know of each other.
type BlockDevice struct{ block *block }

// NewBlockDevice is d, which has no device file.
func NewBlockDevice(d Disk) BlockDevice { return BlockDevice{newBlock(d)} }

// device is the disk behind a device file.
func (d *block) device() BlockDevice { return BlockDevice{d} }

// DiskError is a disk's error.
type DiskError struct {
	Op    string
	Errno Errno
}

func (e *DiskError) Error() string { return e.Op + " disk: errno " + decimal(uint64(e.Errno)) }

// failed is an errno as an error.
func failed(op string, e Errno) error {
	if e == 0 {
		return nil
	}
	return &DiskError{op, e}
}

// Size is in bytes.
func (d BlockDevice) Size() int64 { return d.block.size }

// ReadAt fills b, or fails.
func (d BlockDevice) ReadAt(b []byte, off int64) error {
	return d.all("read", d.block.readAll, b, off)
}

// WriteAt writes all of b, or fails.
func (d BlockDevice) WriteAt(b []byte, off int64) error {
	if d.block.disk.ReadOnly() {
		return failed("write", EROFS)
	}
	return d.all("write", d.block.writeAll, b, off)
}

// all moves b as a whole.
func (d BlockDevice) all(op string, move func([]byte, int64) (int, Errno), b []byte, off int64) error {
	if off < 0 || off > d.block.size-int64(len(b)) {
		return failed(op, EINVAL)
	}
	for len(b) > 0 {
		n, e := move(b, off)
		if e != 0 {
			return failed(op, e)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// Flush has the disk keep what was written.
func (d BlockDevice) Flush() error { return failed("flush", d.block.sync(nil, false)) }

// Discard says that nobody wants the contents any more. It is a hint: of a range
// the whole sectors, on a disk that can.
func (d BlockDevice) Discard(off, n int64) error {
	sector := d.block.sector
	end := (off + n) &^ (sector - 1)
	off = (off + sector - 1) &^ (sector - 1)
	if off >= end {
		return nil
	}
	if e := d.block.alone(off, end, d.block.discard); e != ENOTSUP {
		return failed("discard", e)
	}
	return nil
}

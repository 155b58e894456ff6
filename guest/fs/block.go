package fs

// Disk is a block device. Its functions may be called from several goroutines at
// once, and return when it is done; none keeps b.
type Disk interface {
	Size() int64 // bytes, a multiple of SectorSize
	SectorSize() int
	ReadOnly() bool
	// ReadAt and WriteAt move whole sectors, and tell how many bytes went well
	// before an error.
	ReadAt(b []byte, off int64) (int, Errno)
	WriteAt(b []byte, off int64) (int, Errno)
	// Flush has the disk keep what it was given.
	Flush() Errno
	// Discard says that nobody wants the contents of whole sectors any more,
	// WriteZeroes makes them zero; ENOTSUP where the disk cannot.
	Discard(off, n int64) Errno
	WriteZeroes(off, n int64) Errno
}

// MachineDisk is a disk of the machine's.
type MachineDisk struct {
	Disk
	Path string // the mount point of the volume on it, "" if it has none
}

// Device numbers of disks, as Linux gives them to virtio_blk as the first one that
// asks for a major number.
const (
	diskMajor  = 254
	diskMinors = 16 // of each: itself and its partitions
)

// block is the body of a disk's device file. What is read and written goes to the
// disk at once, to and from the caller's memory as far as it is whole sectors.
type block struct {
	*inMemory
	disk   Disk
	size   int64 // bytes
	sector int64 // bytes
	writes writeRanges
}

func newBlock(d Disk) *block {
	b := &block{disk: d, size: d.Size(), sector: int64(d.SectorSize())}
	b.writes.left.L = &b.writes.mu
	return b
}

// openDisks learns of the machine's disks, and mounts the volumes on them.
func (fs *FS) openDisks() {
	if fs.host.Disks == nil {
		return
	}
	for _, d := range fs.host.Disks() {
		b := newBlock(d)
		fs.disks = append(fs.disks, b)
		if d.Path != "" && fs.host.Mount != nil {
			fs.host.Shares = append(fs.host.Shares, fs.host.Mount(b.device(), d.Path, d.ReadOnly()))
		}
	}
}

// mountDisks puts the disks into /dev: vda, vdb and so on.
func (fs *FS) mountDisks(dev *inode) {
	for i, b := range fs.disks {
		n := fs.newInode(devDev, S_IFBLK|0o660)
		n.rdev = makedev(diskMajor, uint32(i*diskMinors))
		b.inMemory = (*inMemory)(n)
		n.body = b
		dev.enter("vd"+string(rune('a'+i)), n)
	}
}

// extent is the size that seeks know; stat says 0 of a device.
func (d *block) extent() (size, blocks int64) { return d.size, 0 }

// open has nothing to do. A read-only disk can be opened to be written, as on
// Linux: the writes are refused.
func (d *block) open(*file, uint32) Errno { return 0 }

// sparse is for files with holes.
func (d *block) sparse(*file, int64, bool) (int64, Errno) { return 0, EINVAL }

func (d *block) resize(*file, int64) Errno { return EINVAL }

func (d *block) sync(*file, bool) Errno {
	if d.disk.ReadOnly() {
		return 0
	}
	return d.disk.Flush()
}

// allocate is what Linux's block devices make of fallocate (block/fops.c,
// blkdev_fallocate). There a hole reads as zero like any.
func (d *block) allocate(_ *file, mode int, off, end int64) Errno {
	const hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
	switch {
	case mode&^(hole|FALLOC_FL_ZERO_RANGE) != 0 || mode&hole == FALLOC_FL_PUNCH_HOLE:
		return ENOTSUP
	case off >= d.size, end > d.size && mode&FALLOC_FL_KEEP_SIZE == 0, !d.whole(off, end-off):
		return EINVAL
	case mode != hole && mode&^FALLOC_FL_KEEP_SIZE != FALLOC_FL_ZERO_RANGE:
		return ENOTSUP
	case d.disk.ReadOnly():
		return EPERM
	case mode == hole:
		return d.alone(off, min(end, d.size), d.punch)
	}
	return d.alone(off, min(end, d.size), d.zero)
}

package fs

import "sync"

// Disk is a block device of whole sectors. Buffers are the file system's, and
// one call comes at a time.
type Disk interface {
	Sectors() uint64
	// Read and Write move at most DiskMost sectors from first on.
	Read(b []byte, first uint64) bool
	Write(b []byte, first uint64) bool
	// Flush has the disk keep what it was given.
	Flush() bool
}

const (
	sectorSize = 512
	// DiskMost is how many sectors one transfer has at the most.
	DiskMost = 256

	ideMajor = 3
)

// block is the body of a disk's device file. What is read and written goes to the
// disk at once.
type block struct {
	*inMemory
	disk Disk
	size int64 // bytes

	mu  sync.Mutex
	buf []byte // DiskMost sectors, once needed
}

// mountDisk puts the disk into /dev, if the machine has one.
func (fs *FS) mountDisk(dev *inode) {
	if fs.host.Disk == nil {
		return
	}
	d := fs.host.Disk()
	if d == nil {
		return
	}
	n := fs.newInode(devDev, S_IFBLK|0o660)
	n.rdev = makedev(ideMajor, 0)
	n.body = &block{inMemory: (*inMemory)(n), disk: d, size: int64(d.Sectors()) * sectorSize}
	dev.enter("hda", n)
}

// extent is the size that seeks know; stat says 0 of a device.
func (d *block) extent() (size, blocks int64) { return d.size, 0 }

func (d *block) open(*file, uint32) Errno { return 0 }

// transfer is the sectors of the range from off on that go through the buffer at
// once, and how many of its bytes that is.
func transfer(off int64, n int) (first, sectors int64, bytes int) {
	first = off / sectorSize
	skip := int(off % sectorSize)
	bytes = min(n, DiskMost*sectorSize-skip)
	return first, int64(skip+bytes+sectorSize-1) / sectorSize, bytes
}

// part is the buffer of some sectors. The caller holds d.mu.
func (d *block) part(sectors int64) []byte {
	if d.buf == nil {
		d.buf = make([]byte, DiskMost*sectorSize)
	}
	return d.buf[:sectors*sectorSize]
}

func (d *block) readAt(_ *file, b []byte, off int64) (done int, e Errno) {
	if off >= d.size {
		return 0, 0
	}
	b = b[:min(int64(len(b)), d.size-off)]
	d.mu.Lock()
	defer d.mu.Unlock()
	for done < len(b) {
		first, sectors, n := transfer(off, len(b)-done)
		buf := d.part(sectors)
		if !d.disk.Read(buf, uint64(first)) {
			return done, failedAfter(done)
		}
		copy(b[done:done+n], buf[off%sectorSize:])
		done, off = done+n, off+int64(n)
	}
	return done, 0
}

// failedAfter is EIO unless something was done before.
func failedAfter(done int) Errno {
	if done > 0 {
		return 0
	}
	return EIO
}

func (d *block) writeAt(f *file, b []byte, off int64) (done int, end int64, e Errno) {
	if f.has(O_APPEND) || off >= d.size {
		return 0, off, ENOSPC
	}
	b = b[:min(int64(len(b)), d.size-off)]
	d.mu.Lock()
	defer d.mu.Unlock()
	for done < len(b) {
		first, sectors, n := transfer(off, len(b)-done)
		buf := d.part(sectors)
		skip := int(off % sectorSize)
		if !d.keepEdges(buf, first, skip, skip+n) {
			return done, off, failedAfter(done)
		}
		copy(buf[skip:], b[done:done+n])
		if !d.disk.Write(buf, uint64(first)) {
			return done, off, failedAfter(done)
		}
		done, off = done+n, off+int64(n)
	}
	return done, off, 0
}

// keepEdges reads the sectors of which only a part is written: the first and the
// last of the buffer.
func (d *block) keepEdges(buf []byte, first int64, from, to int) bool {
	last := len(buf) - sectorSize
	if (from > 0 || to < sectorSize) && !d.disk.Read(buf[:sectorSize], uint64(first)) {
		return false
	}
	return last == 0 || to == len(buf) || d.disk.Read(buf[last:], uint64(first)+uint64(last/sectorSize))
}

func (d *block) sparse(_ *file, off int64, data bool) (int64, Errno) {
	switch {
	case off < 0 || off >= d.size:
		return 0, ENXIO
	case data:
		return off, 0
	}
	return d.size, 0
}

func (d *block) resize(*file, int64) Errno { return EINVAL }

func (d *block) allocate(*file, int, int64, int64) Errno { return ENODEV }

func (d *block) sync(*file) Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.disk.Flush() {
		return EIO
	}
	return 0
}

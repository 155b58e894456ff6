package fs

// device is a character device whose reads and writes have no position.
type device uint32

// Minor numbers of the memory devices, major 1. Linux's
// Documentation/admin-guide/devices.txt.
const (
	memMajor      = 1
	ttyMajor      = 5
	functionMajor = 240 // the first one for local use

	devNull    device = 3
	devZero    device = 5
	devFull    device = 7
	devRandom  device = 8
	devURandom device = 9
)

// openDevice finds the driver for a device inode.
func (fs *FS) openDevice(f *file) (stream, Errno) {
	n := f.node
	if n.typ != S_IFCHR {
		return nil, ENXIO
	}
	ma, mi := major(n.rdev), minor(n.rdev)
	switch {
	case ma == ttyMajor && mi <= 2:
		return fs.openTTY(f)
	case ma == functionMajor && mi == 0:
		return fs.openFunction(f)
	case ma != memMajor:
		return nil, ENXIO
	}
	switch d := device(mi); d {
	case devNull, devZero, devFull, devRandom, devURandom:
		return d, 0
	}
	return nil, ENXIO
}

func (d device) read(f *file, b []byte) (int, Errno) {
	switch d {
	case devZero, devFull:
		clear(b)
	case devRandom, devURandom:
		f.fs.host.Entropy(b)
	default:
		return 0, 0
	}
	return len(b), 0
}

func (d device) write(_ *file, b []byte) (int, Errno) {
	if d == devFull {
		return 0, ENOSPC
	}
	return len(b), 0
}

func (d device) ready(*file) uint32 { return EPOLLIN | EPOLLOUT }

func (d device) close(*file) {}

// mountDev puts the devices at /dev, over whatever the archive has there.
func (fs *FS) mountDev() {
	dev := fs.mount("dev", devDev)
	for _, d := range []struct {
		name  string
		major uint32
		minor device
	}{
		{"null", memMajor, devNull}, {"zero", memMajor, devZero}, {"full", memMajor, devFull},
		{"random", memMajor, devRandom}, {"urandom", memMajor, devURandom},
		{"tty", ttyMajor, 0}, {"console", ttyMajor, 1},
		{"function", functionMajor, 0},
	} {
		n := fs.newInode(devDev, S_IFCHR|0o666)
		n.rdev = makedev(d.major, uint32(d.minor))
		dev.enter(d.name, n)
	}
	fs.mountDisks(dev)
	dev.enter("fd", fs.newLink(devDev, "/proc/self/fd"))
	dev.enter("stdin", fs.newLink(devDev, "/proc/self/fd/0"))
	dev.enter("stdout", fs.newLink(devDev, "/proc/self/fd/1"))
	dev.enter("stderr", fs.newLink(devDev, "/proc/self/fd/2"))
	dev.enter("shm", fs.newDir(devDev, 0o1777))
}

// mount puts a fresh directory at a name in the root.
func (fs *FS) mount(name string, dev uint64) *inode {
	n := fs.newDir(dev, 0o755)
	fs.root.cover(name, n)
	return n
}

// mountTmp sees to it that /tmp is there and open to all. Over a share it is in
// memory.
func (fs *FS) mountTmp() {
	if fs.root.dir.source != nil {
		fs.mount("tmp", devRoot).perm = 0o1777
		return
	}
	if n := fs.makePath("tmp"); n != fs.root {
		n.perm = 0o1777
	}
}

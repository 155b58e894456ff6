package fs

// Timespec is Linux's struct timespec.
type Timespec struct{ Sec, Nsec int64 }

// Stat is Linux's struct stat for x86-64 (arch/x86/include/uapi/asm/stat.h).
type Stat struct {
	Dev, Ino, Nlink uint64
	Mode, UID, GID  uint32
	Pad             uint32
	Rdev            uint64
	Size, Blksize   int64
	Blocks          int64
	Atim, Mtim      Timespec
	Ctim            Timespec
	Unused          [3]int64
}

// StatxTime is Linux's struct statx_timestamp.
type StatxTime struct {
	Sec  int64
	Nsec uint32
	Pad  int32
}

// Statx is Linux's struct statx (include/uapi/linux/stat.h).
type Statx struct {
	Mask, Blksize              uint32
	Attributes                 uint64
	Nlink, UID, GID            uint32
	Mode, Pad1                 uint16
	Ino, Size, Blocks          uint64
	AttributesMask             uint64
	Atime, Btime, Ctime, Mtime StatxTime
	RdevMajor, RdevMinor       uint32
	DevMajor, DevMinor         uint32
	MntID                      uint64
	Spare                      [13]uint64
}

// Statfs is Linux's struct statfs.
type Statfs struct {
	Type, Bsize           int64
	Blocks, Bfree, Bavail uint64
	Files, Ffree          uint64
	Fsid                  [2]int32
	Namelen, Frsize       int64
	Flags                 int64
	Spare                 [4]int64
}

func timespec(ns int64) Timespec {
	t := Timespec{ns / 1e9, ns % 1e9}
	if t.Nsec < 0 {
		t.Sec, t.Nsec = t.Sec-1, t.Nsec+1e9
	}
	return t
}

// stat describes the inode as it was when it was last refreshed.
func (n *inode) stat() Stat {
	n.mu.Lock()
	defer n.mu.Unlock()
	size, blocks := n.body.extent()
	if n.typ == S_IFBLK {
		size = 0 // as Linux has it; seeks know better
	}
	return Stat{
		Dev: n.stDev, Ino: n.ino, Nlink: uint64(n.nlink),
		Mode: n.typ | n.perm, UID: n.uid, GID: n.gid, Rdev: n.rdev,
		Size: size, Blksize: pageSize, Blocks: blocks,
		Atim: timespec(n.atime), Mtim: timespec(n.mtime), Ctim: timespec(n.ctime),
	}
}

// Fstat describes an open file.
func (fs *FS) Fstat(fd int) (Stat, Errno) {
	f, e := fs.get(fd)
	if e != 0 {
		return Stat{}, e
	}
	defer fs.put(f)
	if e := f.node.body.refresh(f); e != 0 {
		return Stat{}, e
	}
	return f.node.stat(), 0
}

// Fstatat describes a path.
func (fs *FS) Fstatat(dirfd int, path string, flags int) (Stat, Errno) {
	if flags&^(AT_SYMLINK_NOFOLLOW|AT_NO_AUTOMOUNT|AT_EMPTY_PATH) != 0 {
		return Stat{}, EINVAL
	}
	n, e := fs.node(dirfd, path, flags)
	if e != 0 {
		return Stat{}, e
	}
	fs.look(n)
	return n.stat(), 0
}

// Fields that Statx fills: STATX_BASIC_STATS and STATX_BTIME.
const statxFilled = 0x7ff | 0x800

// StatxAt is statx; it fills every field whatever mask asks for.
func (fs *FS) StatxAt(dirfd int, path string, flags int, mask uint32) (Statx, Errno) {
	known := AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | atStatxSync
	if flags&^known != 0 || flags&atStatxSync == atStatxSync || mask>>31 != 0 {
		return Statx{}, EINVAL
	}
	n, e := fs.node(dirfd, path, flags)
	if e != 0 {
		return Statx{}, e
	}
	fs.look(n)
	st := n.stat()
	n.mu.Lock()
	born := timespec(n.btime)
	n.mu.Unlock()
	return st.extend(born), 0
}

// extend turns a stat into a statx.
func (st *Stat) extend(born Timespec) Statx {
	return Statx{
		Mask: statxFilled, Blksize: uint32(st.Blksize), Nlink: uint32(st.Nlink),
		UID: st.UID, GID: st.GID, Mode: uint16(st.Mode),
		Ino: st.Ino, Size: uint64(st.Size), Blocks: uint64(st.Blocks),
		Atime: st.Atim.x(), Btime: born.x(), Ctime: st.Ctim.x(), Mtime: st.Mtim.x(),
		RdevMajor: major(st.Rdev), RdevMinor: minor(st.Rdev),
		DevMajor: major(st.Dev), DevMinor: minor(st.Dev),
	}
}

func (t Timespec) x() StatxTime { return StatxTime{Sec: t.Sec, Nsec: uint32(t.Nsec)} }

// major, minor and makedev follow glibc's 64-bit layout of dev_t.
func major(dev uint64) uint32 { return uint32(dev>>8&0xfff | dev>>32&^0xfff) }

func minor(dev uint64) uint32 { return uint32(dev&0xff | dev>>12&^0xff) }

func makedev(major, minor uint32) uint64 {
	ma, mi := uint64(major), uint64(minor)
	return ma&0xfff<<8 | ma&^0xfff<<32 | mi&0xff | mi&^0xff<<12
}

// Types of file systems. Linux's include/uapi/linux/magic.h.
const (
	tmpfsMagic = 0x01021994
	v9fsMagic  = 0x01021997
)

// StatfsAt describes the file system of a path.
func (fs *FS) StatfsAt(path string) (Statfs, Errno) {
	n, e := fs.node(AT_FDCWD, path, 0)
	if e != 0 {
		return Statfs{}, e
	}
	return n.body.statfs(nil)
}

// Fstatfs describes the file system of an open file.
func (fs *FS) Fstatfs(fd int) (Statfs, Errno) {
	f, e := fs.get(fd)
	if e != 0 {
		return Statfs{}, e
	}
	defer fs.put(f)
	return f.node.body.statfs(f)
}

// Access checks permissions: for root everything but the execution of a file
// that nobody may execute.
func (fs *FS) Access(dirfd int, path string, mode uint32, flags int) Errno {
	if mode&^7 != 0 || flags&^(AT_EACCESS|AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH) != 0 {
		return EINVAL
	}
	n, e := fs.node(dirfd, path, flags)
	if e != 0 {
		return e
	}
	if mode&2 != 0 && (n.isReg() || n.isDir()) && n.body.fixed() != 0 {
		return EROFS
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if mode&1 != 0 && !n.isDir() && n.perm&0o111 == 0 {
		return EACCES
	}
	return 0
}

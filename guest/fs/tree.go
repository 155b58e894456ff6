package fs

// Share is a tree of files that another file system has, and where it is shown.
type Share struct {
	Path     string // where it is shown: absolute and clean; "/" is the root file system
	Writable bool
	Files    Tree
}

// Tree is the files of another file system: a folder of the host's, or the volume
// on a disk. Paths are relative to its root, "." is that itself; what they end in is
// never a symbolic link that is to be followed. Strings and what is returned may be
// kept, buffers may not. Methods are called from any number of goroutines, and may
// park them.
type Tree interface {
	// Open opens a file or folder with the O_ flags of open and says what it is.
	// A symbolic link is ELOOP. The permissions of a new file are perm.
	Open(path string, flags int, perm uint32) (handle uint64, a TreeAttr, e Errno)
	Close(handle uint64) Errno
	// Read and Write do less than all only at the end of the file, or when
	// something fails in the middle. With O_APPEND off is not looked at.
	Read(handle uint64, b []byte, off int64) (int, Errno)
	Write(handle uint64, b []byte, off int64) (int, Errno)
	Truncate(handle uint64, size int64) Errno
	// Sync has what was written stay whatever happens; dataOnly is fdatasync.
	Sync(handle uint64, dataOnly bool) Errno
	// Allocate is fallocate with its FALLOC_FL_ mode.
	Allocate(handle uint64, mode int, off, n int64) Errno
	// Seek finds data, or a hole, from off on; the end of the file is a hole.
	Seek(handle uint64, off int64, hole bool) (int64, Errno)
	// Lock takes, changes or gives back a lock that others outside see, and never
	// waits: EAGAIN. It is the handle's.
	Lock(handle uint64, l TreeLock) Errno
	// Map shows [off, off+n) of the file at addr, shared, for prot. ENODEV: the file
	// system has to keep the file's pages itself.
	Map(handle uint64, addr uintptr, n uint64, off int64, prot int) Errno
	// List is every entry of a folder, once for each handle.
	List(handle uint64) ([]TreeEntry, Errno)

	Stat(r TreeRef) (TreeAttr, Errno)
	Statfs(r TreeRef) (Statfs, Errno)
	Chmod(r TreeRef, perm uint32) Errno
	// Chown is chown of the file itself, a link too; minus one leaves an id alone.
	Chown(r TreeRef, uid, gid uint32) Errno
	// SetTimes sets access and modification time, of a link its own, ns since 1970,
	// as far as set says.
	SetTimes(r TreeRef, ns [2]int64, set [2]bool) Errno

	Mkdir(path string, perm uint32) Errno
	// Remove removes a file or an empty folder.
	Remove(path string) Errno
	Rename(old, new string) Errno
	Link(old, new string) Errno
	Symlink(target, path string) Errno
	Readlink(path string) (string, Errno)
}

// TreeLock is a lock on a file.
type TreeLock struct {
	Type   int   // F_RDLCK, F_WRLCK or F_UNLCK
	Whole  bool  // as flock does; else [Off, Off+N) as fcntl does, N 0 to any end
	Off, N int64 // bytes
}

// TreeRef is a file of a tree: an open one when Handle is not 0.
type TreeRef struct {
	Handle uint64
	Path   string
}

// TreeAttr is what stat says of a file of a tree. Times are ns since 1970.
type TreeAttr struct {
	Size, Blocks        int64
	Atime, Mtime, Ctime int64
	Ino, Dev, Rdev      uint64
	Mode, Nlink         uint32
	UID, GID            uint32
}

// TreeEntry is one name in a folder.
type TreeEntry struct {
	Name string
	Ino  uint64
	Type uint32 // S_IFMT part of the mode
}

package fs

import "sync/atomic"

// Host is everything that the file system needs from outside. Functions are
// called from any goroutine and must not call back into the FS, unless said.
type Host struct {
	// Now is the wall clock, ns since 1970.
	Now func() int64
	// Mono is the monotonic clock, ns since the machine started.
	Mono func() int64
	// Sleep parks the goroutine for ns.
	Sleep func(ns int64)
	// Entropy fills b with random bytes.
	Entropy func(b []byte)

	// ConsoleRead reads standard input: 0 bytes at its end, EAGAIN only when
	// nonblock. It owns b only until it returns.
	ConsoleRead func(b []byte, nonblock bool) (int, Errno)
	// ConsoleWrite writes to standard output (1) or error (2).
	ConsoleWrite func(fd int, b []byte, nonblock bool) (int, Errno)
	// ConsoleReady is the readiness of stream 0, 1 or 2 as EPOLL bits. When it
	// returns 0 it sees to it that [FS.ConsoleChanged] is called later.
	ConsoleReady func(fd int) uint32
	// ConsoleBuffered is how many bytes a ConsoleRead would find at once.
	ConsoleBuffered func() int

	// PollRegister and PollUnregister tell of the life of pollable
	// descriptors, PollNotify of their becoming ready.
	PollRegister   func(fd int32)
	PollUnregister func(fd int32)
	PollNotify     func(fd int32, events uint32)

	// Umask is the mask of permission bits, where someone else sets it too; nil
	// is one of the file system's own, 022.
	Umask *atomic.Uint32

	// Pages is the memory behind MAP_SHARED; nil refuses such mappings.
	Pages Pages

	// Disk is the machine's disk, nil for none. It is called once.
	Disk func() Disk

	// Areas are the parts of the address space but for what [FS.Map] shows; nil
	// for none known.
	Areas func() []Area

	// NextThread is the first live thread whose number is id or above, ThreadID
	// the calling one's number; nil for a single thread.
	NextThread func(id int) (Thread, bool)
	ThreadID   func() int

	// Shares are the folders of the host's that the tree shows.
	Shares []Share

	Facts
}

// Facts are the fixed things that files under /proc and /etc tell.
type Facts struct {
	Archive  []byte // the root file system, newc; never written, lives for ever
	Args     []string
	Env      []string
	Dir      string // first working directory; "" is "/"
	Hostname string
	PID      int
	CPUs     int
	MemBytes uint64
	TTY      uint32   // bit n: stream n is a terminal
	BootID   [16]byte // identity of this machine
}

// Area is a part of the address space, for /proc/self/maps.
type Area struct {
	Start, End uintptr
	Prot       int    // PROT_ bits
	Program    bool   // it is the program's file, from Offset on
	Offset     uint64 // in bytes
	Name       string // such as [stack]; "" for memory
}

// Thread is a thread, for /proc/self/task.
type Thread struct {
	ID       int
	Live     int // how many threads there are
	Name     string
	UID, GID [4]uint32 // real, effective, saved, of files
	Groups   []uint32
	CapInh   uint64
	CapPrm   uint64
	CapEff   uint64
	CapBnd   uint64
}

// Share is a folder of the host's.
type Share struct {
	Path     string // where it is shown: absolute, clean and not "/"
	Writable bool
	Files    HostFiles
}

// HostFiles are the files of a shared folder. Paths are relative to it, "." is
// the folder itself; what they end in is never a symbolic link that is to be
// followed. Strings and what is returned may be kept, buffers may not.
type HostFiles interface {
	// Open opens a file or folder with the O_ flags of open and says what it is.
	// A symbolic link is ELOOP. The permissions of a new file are perm.
	Open(path string, flags int, perm uint32) (handle uint64, a HostAttr, e Errno)
	Close(handle uint64) Errno
	// Read and Write do less than all only at the end of the file, or when
	// something fails in the middle. With O_APPEND off is not looked at.
	Read(handle uint64, b []byte, off int64) (int, Errno)
	Write(handle uint64, b []byte, off int64) (int, Errno)
	Truncate(handle uint64, size int64) Errno
	Sync(handle uint64) Errno
	// List is every entry of a folder, once for each handle.
	List(handle uint64) ([]HostEntry, Errno)

	Stat(r HostRef) (HostAttr, Errno)
	Chmod(r HostRef, perm uint32) Errno
	// SetTimes sets access and modification time, ns since 1970, as far as set
	// says.
	SetTimes(r HostRef, ns [2]int64, set [2]bool) Errno

	Mkdir(path string, perm uint32) Errno
	// Remove removes a file or an empty folder.
	Remove(path string) Errno
	Rename(old, new string) Errno
	Link(old, new string) Errno
	Symlink(target, path string) Errno
	Readlink(path string) (string, Errno)
}

// HostRef is one of the host's files: an open one when Handle is not 0.
type HostRef struct {
	Handle uint64
	Path   string
}

// HostAttr is what stat says of one of the host's files. Times are ns since
// 1970.
type HostAttr struct {
	Size, Blocks        int64
	Atime, Mtime, Ctime int64
	Ino, Dev, Rdev      uint64
	Mode, Nlink         uint32
	UID, GID            uint32
}

// HostEntry is one name in a folder.
type HostEntry struct {
	Name string
	Ino  uint64
	Type uint32 // S_IFMT part of the mode
}

// Pages gives out page-aligned memory that can be mapped more than once.
// Addresses are plain numbers, since none of it is Go's.
type Pages interface {
	// Alloc returns n zeroed pages, writable, or 0.
	Alloc(n int) uintptr
	// Free gives them back.
	Free(addr uintptr, n int)
	// Alias maps the n pages at src once more at dst, for prot.
	Alias(dst, src uintptr, n, prot int) Errno
	// Protect changes what n pages at dst allow, as far as they are mapped.
	Protect(dst uintptr, n, prot int) Errno
	// Hide makes n pages at dst inaccessible and keeps the range reserved.
	Hide(dst uintptr, n int) Errno
}

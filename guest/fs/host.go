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

	// Hostname, Generation and InstanceID are of the machine's present life: it may
	// go on more than once from where it came to rest.
	Hostname   func() string
	Generation func() uint64
	InstanceID func() [16]byte
	// AwaitGeneration waits until the generation is another than old, and gives it.
	AwaitGeneration func(old uint64) uint64

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

	// Resolving is called before an /etc/resolv.conf, hosts or hostname that was made is
	// opened or described; it may call [FS.SetResolver] and [FS.SetNetwork]. It is nil where there is nothing to wait for.
	Resolving func()

	// Stacked is whether a buffer lies on the calling goroutine's stack; nil for
	// never.
	Stacked func(b []byte) bool

	// Pages is the memory behind MAP_SHARED; nil refuses such mappings.
	Pages Pages

	// Disks lists the machine's disks, nil for none. It is called once.
	Disks func() []MachineDisk
	// Mount mounts the volume on a disk for the tree; nil where there can be none.
	// It does not return without one. It is called once for each disk with a Path,
	// before the tree is there.
	Mount func(dev BlockDevice, path string, readOnly bool) Share

	// Areas are the parts of the address space but for what [FS.Map] shows; nil
	// for none known.
	Areas func() []Area

	// NextThread is the first live thread whose number is id or above, ThreadID
	// the calling one's number; nil for a single thread.
	NextThread func(id int) (Thread, bool)
	ThreadID   func() int

	// Messages is what the host asks the program; nil where it asks nothing.
	Messages Messages
	// Ready passes on that the program says that it is ready; nil where nobody wants
	// to know.
	Ready func()

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
	PID      int
	CPUs     int
	MemBytes uint64
	Address  string   // the machine's own for /etc/hosts; "" for none that is known
	DNS      []string // name servers' addresses, for /etc/resolv.conf
	Search   []string // the domains that names are looked up in
	TTY      uint32   // bit n: stream n is a terminal
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

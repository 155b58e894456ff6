package fs

import (
	"sync"
	"sync/atomic"
)

// FS is one file system with its descriptor table, as one process sees it.
type FS struct {
	host Host

	// tree guards every directory's entries, the working directory and the
	// root. Read paths share it, changes of names hold it alone.
	tree  sync.RWMutex
	built sync.Once
	root  *inode
	cwd   *inode

	disks  []*block // set by build
	mounts []*mount // of the shares, outer ones first; set by build

	table table
	mask  *atomic.Uint32 // umask
	inos  atomic.Uint64  // last inode number given out
	space space
	polls waitRoom

	inFlight atomic.Int32 // descriptions on their way through sockets
	names    names        // set by build

	functions functionFiles
	maps      mapped

	hostname atomic.Pointer[givenName]
}

// New makes a file system with descriptors 0, 1 and 2 open on the console.
// The tree is built at the first call that takes a path.
func New(h Host) *FS {
	fs := &FS{host: h, mask: h.Umask}
	if fs.mask == nil {
		fs.mask = new(atomic.Uint32)
		fs.mask.Store(0o022)
	}
	fs.space.limit = int64(h.MemBytes / 2)
	fs.polls.init()
	fs.functions.changed.L = &fs.functions.mu
	fs.table.fs = fs
	for i := 0; i < 3; i++ {
		fs.table.fds = append(fs.table.fds, slot{file: fs.newConsole(i)})
	}
	return fs
}

// build makes the tree: the root's files, then what must be there anyway.
func (fs *FS) build() {
	fs.openDisks()
	fs.newRoot()
	fs.mountDev()
	fs.mountProc()
	fs.mountTmp()
	fs.defaultEtc()
	fs.mountShares()
	fs.cwd = fs.firstDir()
}

// firstDir finds the first working directory, making it when it is missing:
// a program started in a folder expects to be somewhere.
func (fs *FS) firstDir() *inode {
	if fs.host.Dir == "" {
		return fs.root
	}
	return fs.makePath(fs.host.Dir)
}

// lockTree and rlockTree build the tree on first use and lock it.
func (fs *FS) lockTree() {
	fs.built.Do(fs.build)
	fs.tree.Lock()
}

func (fs *FS) rlockTree() {
	fs.built.Do(fs.build)
	fs.tree.RLock()
}

// Umask sets the mask of permission bits and returns the old one.
func (fs *FS) Umask(mask uint32) uint32 {
	return fs.mask.Swap(mask & 0o777)
}

// givenName is a name that the program has given the machine in one life.
type givenName struct {
	name       string
	generation uint64
}

// Hostname is the machine's name: the host's, unless the program has changed it.
func (fs *FS) Hostname() string {
	if n := fs.hostname.Load(); n != nil && n.generation == fs.host.Generation() {
		return n.name
	}
	return fs.host.Hostname()
}

// SetHostname changes it for this life.
func (fs *FS) SetHostname(s string) {
	fs.hostname.Store(&givenName{s, fs.host.Generation()})
}

// space counts the pages that files hold, so that a program that fills the
// disk gets ENOSPC and not an end by lack of memory.
type space struct {
	limit int64 // bytes; 0 for no limit
	pages atomic.Int64
}

// take books n pages, or says that there are none.
func (s *space) take(n int64) bool {
	if s.pages.Add(n)*pageSize > s.limit && s.limit != 0 {
		s.pages.Add(-n)
		return false
	}
	return true
}

func (s *space) give(n int64) { s.pages.Add(-n) }

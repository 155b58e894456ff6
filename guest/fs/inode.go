package fs

import "sync"

// Device numbers of the mounts, as st_dev shows them.
const (
	devRoot = 0x15
	devDev  = 0x16
	devProc = 0x17
	devAnon = 0x18 // pipes, event counters, memory files
)

// inode is a file of any type. What is set once at creation needs no lock.
type inode struct {
	fs   *FS
	ino  uint64
	dev  uint64 // of the mount
	rdev uint64
	body body
	typ  uint32 // S_IFMT part of the mode

	dir    *dir                 // directories; guarded by FS.tree
	target string               // symbolic links
	magic  func() *inode        // links of /proc that lead straight to an inode
	text   func(fs *FS) string  // generated files and links: their content now
	pipe   *pipe                // FIFOs
	socket Socket               // what is bound to the name of a socket; or nil
	stream func(f *file) stream // anonymous files that can be opened again
	tmp    bool                 // made by O_TMPFILE: may be linked though nlink is 0

	mu    sync.Mutex
	stDev uint64 // st_dev: dev, or one of several that a share spans
	perm  uint32
	nlink uint32
	uid   uint32
	gid   uint32
	opens int // descriptions and mappings that use data
	atime int64
	mtime int64
	ctime int64
	btime int64
	data  blob  // regular files
	locks locks // record locks and flock
}

// newInode makes an inode without a name.
func (fs *FS) newInode(dev uint64, mode uint32) *inode {
	now := fs.host.Now()
	n := &inode{
		fs: fs, ino: fs.inos.Add(1), dev: dev, stDev: dev,
		typ: mode & S_IFMT, perm: mode & permBits, nlink: 1,
		atime: now, mtime: now, ctime: now, btime: now,
	}
	n.data.space = &fs.space
	n.body = (*inMemory)(n)
	return n
}

func (fs *FS) newDir(dev uint64, perm uint32) *inode {
	n := fs.newInode(dev, S_IFDIR|perm)
	n.nlink = 2
	n.dir = &dir{}
	return n
}

func (fs *FS) newLink(dev uint64, target string) *inode {
	n := fs.newInode(dev, S_IFLNK|0o777)
	n.target = target
	return n
}

func (n *inode) isDir() bool  { return n.typ == S_IFDIR }
func (n *inode) isLink() bool { return n.typ == S_IFLNK }
func (n *inode) isReg() bool  { return n.typ == S_IFREG }

// changed stamps ctime, and mtime too when content changed.
func (n *inode) changed(content bool) {
	now := n.fs.host.Now()
	n.mu.Lock()
	n.ctime = now
	if content {
		n.mtime = now
	}
	n.mu.Unlock()
}

// links changes the link count by d and frees the data of the last one gone.
func (n *inode) links(d int) {
	now := n.fs.host.Now()
	n.mu.Lock()
	n.nlink = uint32(int(n.nlink) + d)
	n.ctime = now
	n.reap()
	n.mu.Unlock()
}

// hold and release count the users of the data.
func (n *inode) hold() {
	n.mu.Lock()
	n.opens++
	n.mu.Unlock()
}

func (n *inode) release() {
	n.mu.Lock()
	n.opens--
	n.reap()
	n.mu.Unlock()
}

// reap gives the data back when neither a name nor a user is left. The caller
// holds n.mu.
func (n *inode) reap() {
	if n.nlink == 0 && n.opens == 0 && n.isReg() {
		n.data.free()
	}
}

// full is whether another hard link would be one too many.
func (n *inode) full() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nlink >= maxLinks
}

// touchAtime follows relatime: atime moves when it is not after mtime, or is
// a day old. The caller holds n.mu.
func (n *inode) touchAtime() {
	now := n.fs.host.Now()
	if n.atime <= n.mtime || now-n.atime > 86400e9 {
		n.atime = now
	}
}

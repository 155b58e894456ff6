package fs

import "strconv"

// procFile is one generated file: its path and what makes its content.
type procFile struct {
	path string
	text func(fs *FS) string
}

// mountProc puts the files of /proc that Go programs read over whatever the
// archive has there. Their content is made when they are opened.
func (fs *FS) mountProc() {
	proc := fs.mount("proc", devProc)
	proc.perm = 0o555
	pid := strconv.Itoa(fs.host.PID)
	proc.procLink("self", pid)
	proc.procLink("thread-self", "").text = threadSelf
	proc.procLink("mounts", "self/mounts")
	for _, f := range systemFiles() {
		proc.procText(f.path, f.text)
	}
	self := proc.procDir(pid)
	fs.procSelf(self, fs.host.PID)
	tasks := self.procDir("task")
	tasks.dir.source = &taskDir{fs: fs, self: tasks, known: make(map[int]*inode)}
}

// procSelf fills the directory of the process, or of one of its threads.
func (fs *FS) procSelf(self *inode, thread int) {
	for _, f := range selfFiles(thread) {
		self.procText(f.path, f.text)
	}
	self.procLink("exe", fs.exePath())
	self.procLink("root", "/")
	cwd := self.procLink("cwd", "/")
	cwd.magic = func() *inode { return fs.cwd }
	fds := self.procDir("fd")
	fds.dir.source = &fdDir{fs: fs, self: fds}
	fds.perm = 0o500
}

// procText adds a generated file and the directories that it lies in.
func (n *inode) procText(path string, text func(fs *FS) string) {
	name, rest := cut(path)
	for rest != "" {
		next := n.find(name)
		if next == nil {
			next = n.procDir(name)
		}
		n = next
		name, rest = cut(rest)
	}
	f := n.fs.newInode(devProc, S_IFREG|0o444)
	f.text = text
	n.enter(name, f)
}

func (n *inode) procLink(name, target string) *inode {
	l := n.fs.newLink(devProc, target)
	n.enter(name, l)
	return l
}

func (n *inode) procDir(name string) *inode {
	d := n.fs.newDir(devProc, 0o555)
	n.enter(name, d)
	return d
}

// exePath is where the program would lie: its own name made absolute.
func (fs *FS) exePath() string {
	if len(fs.host.Args) == 0 || fs.host.Args[0] == "" {
		return "/program"
	}
	name := fs.host.Args[0]
	if name[0] == '/' {
		return name
	}
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			name = name[i+1:]
			break
		}
	}
	return "/" + name
}

// fixedDir is a directory of /proc in which nothing can be changed.
type fixedDir struct{}

func (fixedDir) vacant() bool                { return false }
func (fixedDir) cover(string, *inode)        {}
func (fixedDir) create(string, *inode) Errno { return ENOENT }
func (fixedDir) link(string, *inode) Errno   { return ENOENT }
func (fixedDir) remove(string, *inode) Errno { return EPERM }
func (fixedDir) rename(_, _ *place) Errno    { return EPERM }

// fdDir is /proc/self/fd.
type fdDir struct {
	fixedDir
	fs   *FS
	self *inode
}

func (d *fdDir) list(*file) ([]record, Errno) {
	var list []record
	for _, fd := range d.fs.table.open() {
		list = append(list, record{name: strconv.Itoa(fd), ino: d.ino(fd), typ: direntType(S_IFLNK)})
	}
	return list, 0
}

func (d *fdDir) ino(fd int) uint64 { return d.self.ino<<32 | uint64(fd)<<1 | 1 }

func (d *fdDir) open(name string, _ *opening) (*inode, Errno) { return d.lookup(name, true) }

// lookup makes the link of one descriptor: its text is a path, but following
// it leads to the open file itself, named or not.
func (d *fdDir) lookup(name string, _ bool) (*inode, Errno) {
	fd, err := strconv.Atoi(name)
	if err != nil || strconv.Itoa(fd) != name {
		return nil, 0
	}
	f, e := d.fs.get(fd)
	if e != 0 {
		return nil, 0
	}
	defer d.fs.put(f)
	node := f.node
	l := &inode{
		fs: d.fs, ino: d.ino(fd), dev: devProc, stDev: devProc, typ: S_IFLNK, perm: 0o700, nlink: 1,
		target: f.path(), magic: func() *inode { return node },
	}
	l.body = (*inMemory)(l)
	l.btime = d.fs.host.Now()
	l.atime, l.mtime, l.ctime = l.btime, l.btime, l.btime
	return l, 0
}

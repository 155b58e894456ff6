package fs

// console is one of the program's three standard streams.
type console struct {
	fs *FS
	fd int // 0, 1 or 2
}

// newConsole opens standard stream fd. What is not a terminal shows as a pipe:
// that is what programs treat with the fewest assumptions.
func (fs *FS) newConsole(fd int) *file {
	flags := uint32(O_WRONLY)
	if fd == 0 {
		flags = O_RDONLY
	}
	n := fs.newInode(devAnon, S_IFIFO|0o600)
	name := "pipe:[" + decimal(n.ino) + "]"
	if fs.host.TTY&(1<<fd) != 0 {
		flags = O_RDWR
		n.typ, n.perm, n.rdev, name = S_IFCHR, 0o620, makedev(ttyMajor, 1), "/dev/console"
	}
	c := &console{fs, fd}
	n.stream = func(f *file) stream { return c }
	f := fs.newFile(n, flags)
	f.name = name
	f.stream = c
	f.poll.nums = []int32{int32(fd)}
	return f
}

// openTTY opens the terminal by name; without one there is no such device.
func (fs *FS) openTTY(f *file) (stream, Errno) {
	for fd := 0; fd < 3; fd++ {
		if fs.host.TTY&(1<<fd) != 0 {
			return &console{fs, fd}, 0
		}
	}
	return nil, ENXIO
}

func (c *console) read(f *file, b []byte) (int, Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	return c.fs.host.ConsoleRead(b, f.nonblock())
}

func (c *console) write(f *file, b []byte) (int, Errno) {
	return c.fs.host.ConsoleWrite(c.out(), b, f.nonblock())
}

// out is the stream that a write goes to: a terminal on 0 shows it on 1.
func (c *console) out() int { return max(c.fd, 1) }

func (c *console) ready(f *file) uint32 {
	if !f.writable() {
		return c.fs.host.ConsoleReady(0)
	}
	events := c.fs.host.ConsoleReady(c.out()) & EPOLLOUT
	if f.readable() {
		events |= c.fs.host.ConsoleReady(0) & EPOLLIN
	}
	return events
}

func (c *console) close(*file) {}

// ConsoleChanged tells that a standard stream became ready: the host calls it
// after its ConsoleReady returned 0, or a call with nonblock EAGAIN.
func (fs *FS) ConsoleChanged() {
	fs.table.mu.RLock()
	var files []*file
	for _, s := range fs.table.fds {
		if s.file == nil {
			continue
		}
		if _, ok := s.file.stream.(*console); ok {
			s.file.refs.Add(1)
			files = append(files, s.file)
		}
	}
	fs.table.mu.RUnlock()
	for _, f := range files {
		f.tell()
		fs.put(f)
	}
}

// Console is the stream, 1 or 2, that a write to a descriptor goes to, or 0 when
// it is not the console's.
func (fs *FS) Console(fd int) int {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0
	}
	defer fs.put(f)
	if c, ok := f.stream.(*console); ok && f.writable() {
		return c.out()
	}
	return 0
}

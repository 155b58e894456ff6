package fs

import "sync"

// counterMax is the greatest value of an event counter (eventfd(2)).
const counterMax = ^uint64(0) - 1

// counter is an eventfd.
type counter struct {
	mu        sync.Mutex
	changed   sync.Cond
	value     uint64
	semaphore bool
	file      *file // the one description
}

// Eventfd makes an event counter.
func (fs *FS) Eventfd(value uint64, flags int) (int, Errno) {
	if flags&^(EFD_SEMAPHORE|O_NONBLOCK|O_CLOEXEC) != 0 {
		return 0, EINVAL
	}
	c := &counter{value: value, semaphore: flags&EFD_SEMAPHORE != 0}
	c.changed.L = &c.mu
	f := fs.newAnon("anon_inode:[eventfd]", O_RDWR|uint32(flags&O_NONBLOCK))
	f.stream = c
	c.file = f
	return fs.table.add(f, 0, flags&O_CLOEXEC != 0)
}

// newAnon makes a description of an inode without a place in the tree.
func (fs *FS) newAnon(name string, flags uint32) *file {
	f := fs.newFile(fs.newInode(devAnon, 0o600), flags)
	f.name = name
	return f
}

func (c *counter) close(*file) {}

func (c *counter) ready(*file) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state()
}

func (c *counter) state() (events uint32) {
	if c.value > 0 {
		events |= EPOLLIN
	}
	if c.value < counterMax {
		events |= EPOLLOUT
	}
	return events
}

func (c *counter) read(f *file, b []byte) (int, Errno) {
	if len(b) < 8 {
		return 0, EINVAL
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.value == 0 {
		if f.nonblock() {
			return 0, EAGAIN
		}
		c.changed.Wait()
	}
	v := c.value
	if c.semaphore {
		v = 1
	}
	c.add(-v)
	putUint(b[:8], v)
	return 8, 0
}

func (c *counter) write(f *file, b []byte) (int, Errno) {
	if len(b) < 8 {
		return 0, EINVAL
	}
	v := getUint(b[:8])
	if v > counterMax {
		return 0, EINVAL
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.value > counterMax-v {
		if f.nonblock() {
			return 0, EAGAIN
		}
		c.changed.Wait()
	}
	c.add(v)
	return 8, 0
}

// add changes the value, modulo 2^64, and tells whoever waits.
func (c *counter) add(v uint64) {
	c.value += v
	c.changed.Broadcast()
	c.file.notify(c.state())
}

// Memfd makes a file without a name.
func (fs *FS) Memfd(name string, flags int) (int, Errno) {
	const known = MFD_CLOEXEC | 2 /* sealing */ | 8 /* noexec */ | 16 /* exec */
	if flags&^known != 0 || len(name) > NAME_MAX-6 {
		return 0, EINVAL
	}
	n := fs.newInode(devAnon, S_IFREG|0o777)
	n.nlink = 0
	f := fs.newFile(n, O_RDWR)
	f.name = "/memfd:" + name + " (deleted)"
	return fs.table.add(f, 0, flags&MFD_CLOEXEC != 0)
}

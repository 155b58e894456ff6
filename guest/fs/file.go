package fs

import (
	"slices"
	"sync"
	"sync/atomic"
)

// file is an open file description: what descriptors share after dup.
type file struct {
	fs     *FS
	node   *inode
	refs   atomic.Int32  // descriptors and calls under way
	flags  atomic.Uint32 // O_ flags; F_SETFL changes some
	stream stream        // nil for regular files and directories
	text   []byte        // a generated file's content, as it was at open
	handle uint64        // the host's, for an open file of a share

	appends bool // the handle was opened to append

	// dir and name are how it was opened, for /proc/self/fd.
	dir  *inode
	name string

	mu  sync.Mutex
	off int64 // guarded by mu
	// listing is the entries of a directory with a source, as they were when
	// the directory was read from its start. mu guards it.
	listing []record

	notices atomic.Uint64 // how often notify was called
	poll    struct {
		mu    sync.Mutex
		nums  []int32 // descriptors of this description
		known bool    // they are registered with the host
	}
}

// stream is a file without offset: a pipe, a counter, a device.
type stream interface {
	read(f *file, b []byte) (int, Errno)
	write(f *file, b []byte) (int, Errno)
	// ready is the readiness now, as EPOLL bits.
	ready(f *file) uint32
	// close is called once, when the description ends.
	close(f *file)
}

// newFile makes a description with one reference.
func (fs *FS) newFile(n *inode, flags uint32) *file {
	f := &file{fs: fs, node: n}
	f.refs.Store(1)
	f.flags.Store(flags & oKept)
	n.hold()
	return f
}

// finish ends a description that nobody refers to.
func (f *file) finish() {
	if f.stream != nil {
		f.stream.close(f)
	}
	f.dropLocks()
	f.node.body.close(f)
	f.node.release()
}

func (f *file) has(flag uint32) bool { return f.flags.Load()&flag != 0 }

func (f *file) nonblock() bool { return f.has(O_NONBLOCK) }

func (f *file) readable() bool { return f.flags.Load()&O_ACCMODE != O_WRONLY }

func (f *file) writable() bool {
	mode := f.flags.Load() & O_ACCMODE
	return mode == O_WRONLY || mode == O_RDWR
}

// pollable is whether the host's event poll shall know the description. A
// console or an exchange is only when the program asked for O_NONBLOCK:
// blocking readers park elsewhere.
func (f *file) pollable() bool {
	switch f.stream.(type) {
	case *pipe, *counter, *endpoint:
		return true
	case *console, *functionFile:
		return f.nonblock()
	}
	return false
}

// named and unnamed keep the numbers that the description goes by.
func (f *file) named(fd int) {
	f.poll.mu.Lock()
	f.poll.nums = append(f.poll.nums, int32(fd))
	if f.pollable() {
		f.poll.known = true
		f.fs.host.PollRegister(int32(fd))
	}
	known := f.poll.known
	f.poll.mu.Unlock()
	if known {
		f.tell()
	}
}

func (f *file) unnamed(fd int) {
	f.poll.mu.Lock()
	if i := slices.Index(f.poll.nums, int32(fd)); i >= 0 {
		f.poll.nums = slices.Delete(f.poll.nums, i, i+1)
	}
	if f.poll.known {
		f.fs.host.PollUnregister(int32(fd))
	}
	last := len(f.poll.nums) == 0
	f.poll.mu.Unlock()
	if x, ok := f.stream.(*functionFile); ok && last {
		x.unnamed()
	}
}

// unheld is whether no descriptor leads to the description any more.
func (f *file) unheld() bool {
	f.poll.mu.Lock()
	defer f.poll.mu.Unlock()
	return len(f.poll.nums) == 0
}

// learn registers a description that has just become pollable.
func (f *file) learn() {
	f.poll.mu.Lock()
	fresh := !f.poll.known && f.pollable()
	if fresh {
		f.poll.known = true
		for _, fd := range f.poll.nums {
			f.fs.host.PollRegister(fd)
		}
	}
	f.poll.mu.Unlock()
	if fresh {
		f.tell()
	}
}

// tell passes the readiness of now on.
func (f *file) tell() {
	if events := f.stream.ready(f); events != 0 {
		f.notify(events)
	}
}

// notify tells the host that the description became ready for events.
func (f *file) notify(events uint32) {
	f.notices.Add(1)
	f.poll.mu.Lock()
	if f.poll.known {
		for _, fd := range f.poll.nums {
			f.fs.host.PollNotify(fd, events)
		}
	}
	f.poll.mu.Unlock()
	f.fs.polls.wake()
}

// path is the name to show for the description.
func (f *file) path() string {
	switch {
	case f.dir == nil:
		return f.name
	case f.node.isDir():
		if s, e := f.fs.pathOf(f.node); e == 0 {
			return s
		}
		return "/" + f.name + " (deleted)"
	}
	s, e := f.fs.pathOf(f.dir)
	if s != "/" {
		s += "/"
	}
	if e == 0 {
		var n *inode
		n, e = f.dir.look(f.name, true)
		if n == f.node && e == 0 {
			return s + f.name
		}
	}
	return s + f.name + " (deleted)"
}

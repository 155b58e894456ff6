package fs

import "sync"

// epoll is the program's own event poll.
type epoll struct {
	mu      sync.Mutex
	watched map[int]*watch
	order   []int // descriptors in the order of their reports
}

// watch is one interest.
type watch struct {
	file   *file
	events uint32
	data   uint64
	seen   uint64 // the file's notices at the last report, plus one
	off    bool   // a fired EPOLLONESHOT
}

// EpollEvent is one report, in Go's layout; Linux's is packed.
type EpollEvent struct {
	Events uint32
	Data   uint64
}

// EpollCreate makes an event poll.
func (fs *FS) EpollCreate(flags int) (int, Errno) {
	if flags&^O_CLOEXEC != 0 {
		return 0, EINVAL
	}
	f := fs.newAnon("anon_inode:[eventpoll]", O_RDWR)
	f.stream = &epoll{watched: map[int]*watch{}}
	return fs.table.add(f, 0, flags != 0)
}

// EpollCtl changes the interest in fd.
func (fs *FS) EpollCtl(epfd, op, fd int, ev EpollEvent) Errno {
	ep, put, e := fs.getEpoll(epfd)
	if e != 0 {
		return e
	}
	defer put()
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	if f.stream == nil {
		return EPERM
	}
	if s, ok := f.stream.(*epoll); ok {
		if s == ep {
			return EINVAL
		}
		return ELOOP // no nesting
	}
	ep.mu.Lock()
	e = ep.control(op, fd, f, ev)
	ep.mu.Unlock()
	fs.polls.wake()
	return e
}

// getEpoll is the event poll behind a descriptor.
func (fs *FS) getEpoll(fd int) (*epoll, func(), Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return nil, nil, e
	}
	ep, ok := f.stream.(*epoll)
	if !ok {
		fs.put(f)
		return nil, nil, EINVAL
	}
	return ep, func() { fs.put(f) }, 0
}

// control does EpollCtl. The caller holds mu.
func (ep *epoll) control(op, fd int, f *file, ev EpollEvent) Errno {
	w := ep.watched[fd]
	if w != nil && w.file != f {
		ep.forget(fd) // the number means another file by now
		w = nil
	}
	switch {
	case op == EPOLL_CTL_ADD && w != nil:
		return EEXIST
	case op == EPOLL_CTL_ADD:
		ep.watched[fd] = &watch{file: f, events: ev.Events, data: ev.Data}
		ep.order = append(ep.order, fd)
	case w == nil:
		return ENOENT
	case op == EPOLL_CTL_MOD:
		*w = watch{file: f, events: ev.Events, data: ev.Data}
	case op == EPOLL_CTL_DEL:
		ep.forget(fd)
	default:
		return EINVAL
	}
	return 0
}

// forget ends an interest.
func (ep *epoll) forget(fd int) {
	delete(ep.watched, fd)
	for i, o := range ep.order {
		if o == fd {
			ep.order = append(ep.order[:i], ep.order[i+1:]...)
			return
		}
	}
}

// EpollWait fills out with what is ready, waiting ns at most; negative is for
// ever. The slice must not lie on a stack.
func (fs *FS) EpollWait(epfd int, out []EpollEvent, ns int64) (int, Errno) {
	ep, put, e := fs.getEpoll(epfd)
	if e != 0 {
		return 0, e
	}
	defer put()
	if len(out) == 0 {
		return 0, EINVAL
	}
	return fs.pollUntil(ns, func() int { return ep.collect(fs, out) }), 0
}

// collect reports what is ready now and moves it to the back of the order, so
// that a short out starves nobody.
func (ep *epoll) collect(fs *FS, out []EpollEvent) int {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	n := 0
	for _, fd := range append([]int(nil), ep.order...) {
		if n == len(out) {
			break
		}
		w := ep.watched[fd]
		f, e := fs.get(fd)
		if e != 0 || f != w.file {
			ep.forget(fd)
			if e == 0 {
				fs.put(f)
			}
			continue
		}
		if events := w.fire(f.state(), f.notices.Load()); events != 0 {
			out[n] = EpollEvent{events, w.data}
			n++
			data := *w
			ep.forget(fd)
			ep.watched[fd] = &data
			ep.order = append(ep.order, fd)
		}
		fs.put(f)
	}
	return n
}

// fire is what to report of a readiness. With EPOLLET a state is reported
// again only after a new notice, which may be one too many, never too few.
func (w *watch) fire(state uint32, notices uint64) uint32 {
	events := state & (w.events | EPOLLERR | EPOLLHUP)
	if events == 0 || w.off || w.events&EPOLLET != 0 && w.seen == notices+1 {
		return 0
	}
	w.seen = notices + 1
	w.off = w.events&EPOLLONESHOT != 0
	return events
}

func (ep *epoll) read(*file, []byte) (int, Errno)  { return 0, EINVAL }
func (ep *epoll) write(*file, []byte) (int, Errno) { return 0, EINVAL }
func (ep *epoll) ready(*file) uint32               { return 0 }
func (ep *epoll) close(*file)                      {}

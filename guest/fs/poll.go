package fs

import "sync"

// waitRoom is where polls wait for any descriptor to change. One room for
// all is enough: the runtime's own event poll does not come here.
type waitRoom struct {
	mu      sync.Mutex
	changed sync.Cond
	turn    uint64 // grows with every change
	waiting int
}

func (r *waitRoom) init() { r.changed.L = &r.mu }

// wake lets everybody look again.
func (r *waitRoom) wake() {
	r.mu.Lock()
	r.turn++
	if r.waiting > 0 {
		r.changed.Broadcast()
	}
	r.mu.Unlock()
}

func (r *waitRoom) now() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.turn
}

// wait parks until something changed after turn.
func (r *waitRoom) wait(turn uint64) {
	r.mu.Lock()
	r.waiting++
	for r.turn == turn {
		r.changed.Wait()
	}
	r.waiting--
	r.mu.Unlock()
}

// pollUntil calls look until it finds something or ns have passed; a negative
// ns waits for ever.
func (fs *FS) pollUntil(ns int64, look func() int) int {
	deadline := fs.host.Mono() + ns
	alarm := false
	for {
		turn := fs.polls.now()
		n := look()
		if n != 0 || ns == 0 {
			return n
		}
		left := deadline - fs.host.Mono()
		if ns > 0 && left <= 0 {
			return 0
		}
		if ns > 0 && !alarm {
			alarm = true
			go func() {
				fs.host.Sleep(left)
				fs.polls.wake()
			}()
		}
		fs.polls.wait(turn)
	}
}

// PollFD is Linux's struct pollfd.
type PollFD struct {
	FD      int32
	Events  int16
	Revents int16
}

// Poll waits until one of fds is ready, ns at most; negative is for ever. It
// returns how many are. The slice must not lie on a stack.
func (fs *FS) Poll(fds []PollFD, ns int64) int {
	return fs.pollUntil(ns, func() int {
		n := 0
		for i := range fds {
			p := &fds[i]
			p.Revents = 0
			if p.FD >= 0 {
				p.Revents = int16(fs.readiness(int(p.FD)) & (uint32(uint16(p.Events)) | EPOLLERR | EPOLLHUP | EPOLLNVAL))
			}
			if p.Revents != 0 {
				n++
			}
		}
		return n
	})
}

// readiness is a descriptor's state now. Files are always ready.
func (fs *FS) readiness(fd int) uint32 {
	f, e := fs.getIO(fd)
	if e != 0 {
		return EPOLLNVAL
	}
	defer fs.put(f)
	return f.state()
}

func (f *file) state() uint32 {
	if f.stream == nil {
		return EPOLLIN | EPOLLOUT
	}
	if x, ok := f.stream.(*functionFile); ok {
		return x.asked(f)
	}
	return f.stream.ready(f)
}

// Buffered is the FIONREAD ioctl: what a read would find at once.
func (fs *FS) Buffered(fd int) (int, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return 0, e
	}
	defer fs.put(f)
	switch s := f.stream.(type) {
	case *pipe:
		return s.buffered(), 0
	case *console:
		return fs.host.ConsoleBuffered(), 0
	case *endpoint:
		return s.sock.Buffered(), 0
	case nil:
		if f.node.isReg() {
			f.mu.Lock()
			defer f.mu.Unlock()
			return int(max(0, f.size()-f.off)), 0
		}
	}
	return 0, ENOTTY
}

// Terminal is whether a descriptor is a terminal, EBADF when it is nothing.
func (fs *FS) Terminal(fd int) (bool, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return false, e
	}
	defer fs.put(f)
	c, ok := f.stream.(*console)
	return ok && fs.host.TTY&(1<<c.fd) != 0, 0
}

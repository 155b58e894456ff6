package fs

import (
	"sync"
	"sync/atomic"
)

// endpoint is a socket as a stream. It does the waiting that the socket does not.
type endpoint struct {
	sock        Socket
	domain, typ int
	// How long a call waits, in ns, 0 for ever: SO_RCVTIMEO and SO_SNDTIMEO.
	receives, sends atomic.Int64
	in, out         lane
}

// lane is the message of one direction, kept so that calls with one buffer need
// no memory. mu is never held while somebody waits.
type lane struct {
	mu   sync.Mutex
	m    Message
	one  [1][]byte
	addr [MaxSockaddr]byte
}

// receive does one Receive into b, which is on no stack. What of the address from has
// room for goes there; fromLen is how long it is.
func (x *lane) receive(s Socket, b []byte, flags int, from []byte) (n, fromLen int, e Errno) {
	x.mu.Lock()
	x.one[0] = b
	x.m = Message{Data: x.one[:], Addr: x.addr[:0]}
	n, e = s.Receive(&x.m, flags)
	fromLen = len(x.m.Addr)
	copy(from, x.m.Addr)
	rights := x.m.Rights
	x.one[0], x.m = nil, Message{}
	x.mu.Unlock()
	for _, r := range rights {
		r.Close()
	}
	return n, fromLen, e
}

// send does one Send of b, which is on no stack.
func (x *lane) send(s Socket, b []byte, flags int, addr []byte, to Socket, missing Errno) (int, Errno) {
	x.mu.Lock()
	x.one[0] = b
	x.m = Message{Data: x.one[:], To: to, Missing: missing}
	if len(addr) > 0 {
		x.m.Addr = x.addr[:copy(x.addr[:], addr)]
	}
	n, e := s.Send(&x.m, flags)
	x.one[0], x.m = nil, Message{}
	x.mu.Unlock()
	return n, e
}

// Socket gives a socket a descriptor; flags are SOCK_NONBLOCK and SOCK_CLOEXEC. The
// socket is closed when that fails.
func (fs *FS) Socket(s Socket, flags int) (int, Errno) {
	n := fs.newInode(devAnon, S_IFSOCK|0o777)
	f := fs.newFile(n, O_RDWR|uint32(flags&SOCK_NONBLOCK))
	f.name = "socket:[" + decimal(n.ino) + "]"
	p := &endpoint{sock: s}
	p.domain, p.typ, _ = s.Kind()
	f.stream = p
	s.Watch(f.notify)
	return fs.table.add(f, 0, flags&SOCK_CLOEXEC != 0)
}

// SocketPair is Socket for two.
func (fs *FS) SocketPair(a, b Socket, flags int) (fds [2]int, e Errno) {
	fds[0], e = fs.Socket(a, flags)
	if e != 0 {
		b.Close()
		return fds, e
	}
	fds[1], e = fs.Socket(b, flags)
	if e != 0 {
		fs.Close(fds[0])
	}
	return fds, e
}

// getSocket is getIO for calls that only sockets answer.
func (fs *FS) getSocket(fd int) (*file, *endpoint, Errno) {
	f, e := fs.getIO(fd)
	if e != 0 {
		return nil, nil, e
	}
	s, ok := f.stream.(*endpoint)
	if !ok {
		fs.put(f)
		return nil, nil, ENOTSOCK
	}
	return f, s, 0
}

// CheckSocket is EBADF or ENOTSOCK for a descriptor that is no socket.
func (fs *FS) CheckSocket(fd int) Errno {
	f, _, e := fs.getSocket(fd)
	if e == 0 {
		fs.put(f)
	}
	return e
}

func (s *endpoint) ready(*file) uint32 { return s.sock.Ready() }

func (s *endpoint) close(*file) { s.sock.Close() }

func (s *endpoint) read(f *file, b []byte) (int, Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	n, _, e := s.receive(f, b, 0, nil)
	return n, e
}

func (s *endpoint) write(f *file, b []byte) (int, Errno) { return s.send(f, b, 0, nil) }

// offStack is b, or, when that lies on a goroutine's stack, which no socket may be
// given, room elsewhere.
func (fs *FS) offStack(b []byte) (heap []byte, moved bool) {
	if fs.host.Stacked == nil || !fs.host.Stacked(b) {
		return b, false
	}
	return make([]byte, len(b)), true
}

// receive waits for something to be received.
func (s *endpoint) receive(f *file, b []byte, flags int, from []byte) (n, fromLen int, e Errno) {
	heap, moved := f.fs.offStack(b)
	flags = f.waiting(flags)
	n, fromLen, e = s.in.receive(s.sock, heap, flags, from)
	if s.wants(n, len(heap), flags, e) {
		n, fromLen, e = s.receiveAll(f, heap, n, flags, from)
	}
	if moved {
		copy(b, heap[:min(n, len(heap))])
	}
	return n, fromLen, e
}

// waiting adds MSG_DONTWAIT to flags where the description says so.
func (f *file) waiting(flags int) int {
	if f.nonblock() || flags&MSG_ERRQUEUE != 0 {
		flags |= MSG_DONTWAIT
	}
	return flags
}

// wants is whether a receiver that has n of size bytes goes on: it waits for the
// first, or with MSG_WAITALL for all of a stream.
func (s *endpoint) wants(n, size, flags int, e Errno) bool {
	switch {
	case e == EAGAIN:
		return flags&MSG_DONTWAIT == 0
	case e != 0 || n == 0 || n >= size || s.typ != SOCK_STREAM:
		return false
	}
	return flags&(MSG_WAITALL|MSG_PEEK) == MSG_WAITALL
}

// receiveAll is receive from where n bytes are there on.
func (s *endpoint) receiveAll(f *file, b []byte, n, flags int, from []byte) (int, int, Errno) {
	w := f.fs.newWait(s.receives.Load())
	for {
		w.look()
		k, fromLen, e := s.in.receive(s.sock, b[n:], flags, from)
		if e == 0 {
			n += k
		}
		if k == 0 && e == 0 || !s.wants(n, len(b), flags, e) || e == EAGAIN && !w.park() {
			return n, fromLen, e.unless(n > 0)
		}
	}
}

// send sends b, all of it unless the description does not wait.
func (s *endpoint) send(f *file, b []byte, flags int, addr []byte) (int, Errno) {
	to, missing := s.sendsTo(f.fs, addr)
	heap, moved := f.fs.offStack(b)
	if moved {
		copy(heap, b)
	}
	flags = f.waiting(flags)
	n, e := s.out.send(s.sock, heap, flags, addr, to, missing)
	if !s.owes(n, len(b), flags, e) {
		return n, e
	}
	if e != 0 {
		n = 0
	}
	w := f.fs.newWait(s.sends.Load())
	for {
		w.look()
		k, e := s.out.send(s.sock, heap[n:], flags, addr, to, missing)
		if e == 0 {
			n += k
		}
		if !s.owes(n, len(heap), flags, e) || e == EAGAIN && !w.park() {
			return n, e.unless(n > 0)
		}
	}
}

// owes is whether a sender that has sent n of size bytes goes on: a stream takes all.
func (s *endpoint) owes(n, size, flags int, e Errno) bool {
	if flags&MSG_DONTWAIT != 0 {
		return false
	}
	return e == EAGAIN || e == 0 && n < size && s.typ == SOCK_STREAM
}

// wait is a call that waits for a socket.
type wait struct {
	fs    *FS
	turn  uint64
	until int64 // of the monotonic clock; 0 for ever
	alarm bool
}

func (fs *FS) newWait(ns int64) wait {
	w := wait{fs: fs}
	if ns > 0 {
		w.until = fs.host.Mono() + ns
	}
	return w
}

// look comes before each try.
func (w *wait) look() { w.turn = w.fs.polls.now() }

// park waits until something has changed since look; false means that the time is up.
func (w *wait) park() bool {
	if w.until != 0 {
		left := w.until - w.fs.host.Mono()
		if left <= 0 {
			return false
		}
		if !w.alarm {
			w.alarm = true
			fs := w.fs
			go func() {
				fs.host.Sleep(left)
				fs.polls.wake()
			}()
		}
	}
	w.fs.polls.wait(w.turn)
	return true
}

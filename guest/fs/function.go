package fs

import (
	"slices"
	"sync"
)

// Messages is what the host asks the program, which /dev/function hands out.
type Messages interface {
	// Next takes the next message, if there is one; Pending is whether there is. Of
	// these no two are called at once.
	Next() (Invocation, bool)
	Pending() bool
	// Watch is called when somebody wants a message and there is none. From then on
	// the host calls [FS.MessagesChanged] for each, or once for several.
	Watch()
	// Respond ends a message. b is on no stack.
	Respond(id uint64, failed bool, b []byte)
}

// Invocation is a message.
type Invocation struct {
	ID       uint64
	Data     []byte // never written, there until Respond
	Deadline int64  // of the monotonic clock
}

const (
	// MaxResponse is the most bytes of a response.
	MaxResponse = 6 << 20
	// headerVersion and headerSize are of what comes before a message's bytes.
	headerVersion = 1
	headerSize    = 24
)

// functionFiles is what the descriptions of /dev/function share. Whoever leaves while
// messages are pending wakes the next one that waits, so that none is forgotten.
type functionFiles struct {
	mu      sync.Mutex
	changed sync.Cond
	idle    []*functionFile // without a message
}

// functionFile is a description of /dev/function: one message and its response.
type functionFile struct {
	all  *functionFiles
	host Messages
	file *file

	// Guarded by all.mu.
	taken   bool // it has a message, which is there to stay
	waiting int  // readers that wait for a message

	message Invocation // set before taken
	header  [headerSize]byte

	mu       sync.Mutex
	at       int // how much was read, header included
	response []byte
	failed   bool // the response is an error's text
}

// openFunction begins an exchange. Whoever cannot both read and write can only ask
// by ioctl.
func (fs *FS) openFunction(f *file) (stream, Errno) {
	if !f.readable() || !f.writable() {
		return inquiry{}, 0
	}
	if fs.host.Messages == nil {
		return nil, ENODEV
	}
	x := &functionFile{all: &fs.functions, host: fs.host.Messages, file: f}
	x.all.mu.Lock()
	x.all.idle = append(x.all.idle, x)
	x.all.mu.Unlock()
	return x, 0
}

// MessagesChanged tells that there are messages.
func (fs *FS) MessagesChanged() {
	s := &fs.functions
	s.mu.Lock()
	defer s.mu.Unlock()
	if !fs.host.Messages.Pending() { // whoever came by has taken it
		return
	}
	s.changed.Signal()
	for _, x := range s.idle {
		x.file.notify(EPOLLIN)
	}
}

// await waits until the exchange has a message.
func (x *functionFile) await(f *file) Errno {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	defer x.passOn()
	for !x.taken {
		switch {
		case f.unheld():
			return EBADF
		case x.take():
			return 0
		case f.nonblock():
			return EAGAIN
		}
		x.waiting++
		x.all.changed.Wait()
		x.waiting--
	}
	return 0
}

// take gives the exchange the next message. If there is none the host learns that one
// is wanted. The caller holds all.mu.
func (x *functionFile) take() bool {
	m, ok := x.host.Next()
	if !ok {
		x.host.Watch()
		return false
	}
	x.message, x.taken = m, true
	putUint(x.header[0:4], headerVersion)
	putUint(x.header[4:8], headerSize)
	putUint(x.header[8:16], uint64(len(m.Data)))
	putUint(x.header[16:24], uint64(m.Deadline))
	x.leave()
	if x.waiting > 0 { // for the same message
		x.all.changed.Broadcast()
	}
	x.file.notify(EPOLLIN | EPOLLOUT)
	return true
}

// passOn wakes the next one for what is left. The caller holds all.mu.
func (x *functionFile) passOn() {
	if x.host.Pending() {
		x.all.changed.Signal()
	}
}

// leave ends the wait for a message. The caller holds all.mu.
func (x *functionFile) leave() {
	if i := slices.Index(x.all.idle, x); i >= 0 {
		x.all.idle = slices.Delete(x.all.idle, i, i+1)
	}
}

func (x *functionFile) read(f *file, b []byte) (int, Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	if e := x.await(f); e != 0 {
		return 0, e
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	if x.at < headerSize {
		n = copy(b, x.header[x.at:])
		x.at += n
	}
	if x.at >= headerSize {
		k := copy(b[n:], x.message.Data[x.at-headerSize:])
		x.at += k
		n += k
	}
	return n, 0
}

// write gathers the response: all of b or nothing.
func (x *functionFile) write(_ *file, b []byte) (int, Errno) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.at < headerSize:
		return 0, EINVAL
	case len(b) > MaxResponse-len(x.response):
		return 0, EFBIG
	}
	x.response = append(x.response, b...)
	return len(b), 0
}

// fail makes the response an error's text.
func (x *functionFile) fail() Errno {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.at < headerSize {
		return EINVAL
	}
	x.failed = true
	return 0
}

func (x *functionFile) ready(*file) uint32 {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	switch {
	case x.taken:
		return EPOLLIN | EPOLLOUT
	case x.host.Pending():
		return EPOLLIN
	}
	return 0
}

// asked is ready for a program that asks, and then waits.
func (x *functionFile) asked(f *file) uint32 {
	events := x.ready(f)
	if events == 0 {
		x.all.mu.Lock()
		x.host.Watch()
		x.all.mu.Unlock()
	}
	return events
}

// unnamed ends the wait of those who read what nobody can answer any more: they
// would take a message for nothing.
func (x *functionFile) unnamed() {
	x.all.mu.Lock()
	if x.waiting > 0 {
		x.all.changed.Broadcast()
	}
	x.all.mu.Unlock()
}

// close responds.
func (x *functionFile) close(*file) {
	x.all.mu.Lock()
	x.leave()
	x.all.mu.Unlock()
	if x.taken {
		x.host.Respond(x.message.ID, x.failed, x.response)
		x.message, x.response = Invocation{}, nil
	}
}

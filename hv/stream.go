package hv

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
)

// streams are the connections between the host and a machine's program. Any goroutine
// uses them; what is in guest memory only the vCPU's thread touches.
type streams struct {
	vm *VM

	// waiting is whether some are due. The vCPU's thread looks at it before each entry.
	waiting atomic.Bool

	mu      sync.Mutex
	last    uint64 // ID of the youngest stream or message
	all     map[uint64]*conn
	due     []*conn // that have something to tell the guest, in turn
	backlog chan *conn
	over    error         // why there are no more, ever
	ended   chan struct{} // closed then
	awaited *conn         // whose end leaves the loop
}

// conn is one connection. Its fields are guarded by streams.mu.
type conn struct {
	t       *streams
	id      uint64
	port    uint32    // that the guest connects to; 0: its program has connected
	changed sync.Cond // for who reads and writes

	out     buffer // for the guest
	way     int    // bytes that were put into the queue and not credited
	begun   bool   // somebody reads or writes: the guest is to know the stream
	told    bool   // it does
	ending  bool   // nothing more comes into out
	ended   bool   // MessageEnd was put
	listed  bool   // among due
	in      buffer // from the guest
	most    int    // bytes that in takes
	inEnded bool   // the guest sends no more
	full    bool   // the guest was told so, and waits
	closed  bool   // nobody reads or writes any more
	err     error  // the stream is over, both ways

	writer           sync.Mutex // held by Write; taken before mu
	reading, writing deadline
}

var (
	// ErrStreams is of Dial: the program has MaxStreams under way.
	ErrStreams = errors.New("the program has too many streams under way")
	// ErrOver is of conns and of Accept: the machine has ended or was rewound.
	ErrOver = errors.New("the machine of the stream is over")

	errNoStreams = errors.New("the machine has no streams")
	errNoPort    = errors.New("there is no TCP port to connect to")
)

func newStreams(vm *VM) *streams {
	return &streams{
		vm: vm, all: map[uint64]*conn{},
		backlog: make(chan *conn, hypercall.MaxStreams), ended: make(chan struct{}),
	}
}

// newID is the next message's or stream's. The caller holds mu.
func (t *streams) newID() uint64 {
	t.last++
	return t.last
}

// add makes a stream. The caller holds mu.
func (t *streams) add(port uint32) *conn {
	s := &conn{t: t, id: t.newID(), port: port, most: streamBuffer}
	s.changed.L = &t.mu
	s.reading.waiting, s.writing.waiting = &s.changed, &s.changed
	t.all[s.id] = s
	return s
}

// open makes a stream to the program's port.
func (t *streams) open(port uint32) (*conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over != nil:
		return nil, t.over
	case len(t.all) >= hypercall.MaxStreams:
		return nil, ErrStreams
	}
	return t.add(port), nil
}

// reset ends all streams, and has IDs go on after last. It says why to who has them.
func (t *streams) reset(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(ErrOver)
	t.last = last
}

// drop ends all streams. The caller holds mu.
func (t *streams) drop(why error) {
	for _, s := range t.all {
		s.fail(why)
	}
	clear(t.due)
	t.due = t.due[:0]
	t.waiting.Store(false)
	for {
		select {
		case <-t.backlog:
			continue
		default:
			return
		}
	}
}

// end is drop for ever: the machine does not go on. It may be nil.
func (t *streams) end() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over == nil {
		t.over = ErrOver
		t.drop(ErrOver)
		close(t.ended)
	}
}

// fail ends a stream both ways. What has come of it can be read yet.
func (s *conn) fail(why error) {
	if s.err == nil {
		s.err = why
	}
	s.out = buffer{}
	s.leave()
	s.changed.Broadcast()
}

// leave takes a stream out of the account: what the guest says of it means nothing from
// here on. A guest that takes no messages can have many come and go, so that none stays
// among those that are due.
func (s *conn) leave() {
	delete(s.t.all, s.id)
	if s.listed {
		s.listed = false
		s.t.due = slices.DeleteFunc(s.t.due, func(other *conn) bool { return other == s })
	}
}

// settle takes a stream out of the account when both sides have ended.
func (s *conn) settle() {
	if s.ended && s.inEnded {
		s.leave()
	}
}

// wants says whether there is something to tell the guest.
func (s *conn) wants() bool {
	switch {
	case s.err != nil:
		return s.told && s.t.all[s.id] == s // to be reset
	case !s.told:
		return s.begun
	case s.hasRoom():
		return true
	case s.out.len() > 0:
		return s.way < hypercall.StreamWindow
	}
	return s.ending && !s.ended
}

// hasRoom says whether the guest waits for room that is there.
func (s *conn) hasRoom() bool { return s.full && !s.closed && s.in.len() <= s.most/2 }

// list puts a stream among those that are due if it has something to tell and is not yet
// there. The vCPU's thread looks before it enters the guest.
func (s *conn) list() bool {
	if s.listed || !s.wants() {
		return false
	}
	s.listed = true
	s.t.due = append(s.t.due, s)
	s.t.waiting.Store(true)
	return true
}

// begin has the guest hear of a stream with what comes next.
func (s *conn) begin() {
	s.begun = true
	s.tell()
}

// tell is list for other threads, which have the vCPU's look.
func (s *conn) tell() {
	if s.list() {
		s.t.vm.raise(hypercall.EventMessage)
	}
}

// messageID is newID for a message that is no stream's.
func (t *streams) messageID() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newID()
}

// lastID is the youngest ID.
func (t *streams) lastID() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// finish is what closing does: what was written goes out, unless there are bytes that
// nobody will read, and what comes is refused.
func (s *conn) finish() {
	s.closed = true
	switch {
	case s.err != nil:
	case !s.told && s.out.len() == 0:
		s.fail(syscall.ECONNABORTED)
	case s.in.len() > 0:
		s.abort(syscall.ECONNABORTED)
	default:
		s.ending, s.begun = true, true
	}
	s.in = buffer{}
	s.tell()
	s.changed.Broadcast()
}

// abort ends a stream both ways, and tells the guest.
func (s *conn) abort(why error) {
	s.err, s.out = why, buffer{}
	if !s.told {
		s.leave()
	}
	s.changed.Broadcast()
}

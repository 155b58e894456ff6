package sys

import (
	"sync"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// Stream is a connection between the host and a TCP port of the machine's. One goroutine
// takes what the host sends, and one sends.
type Stream struct {
	id   uint64
	life uint64 // the machine's when it was made: in another the host knows nothing of it

	arrived, room, over chan struct{}

	mu      sync.Mutex
	in      [][]byte // that nobody has taken
	inEnded bool     // the host sends no more
	ended   bool     // the program sends no more
	isOver  bool
	given   int // bytes that the program got and the host has not heard of
}

// OpenStream connects a stream of the host's with a port of the program's. Package socket
// supplies it. It does not wait.
var OpenStream func(s *Stream, port uint16)

// streams are those under way.
var streams struct {
	mu    sync.Mutex
	all   map[uint64]*Stream
	watch sync.Once
}

// callStream asks the host. b is on no stack.
func callStream(id uint64, op hypercall.StreamOp, b []byte, n int) (int, fs.Errno) {
	return linux(guest.Call(hypercall.CallStream, uintptr(id), uintptr(op), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(n)))
}

// newStream takes a stream into the account. The caller holds the queue's lock: no message
// about it has been taken.
func newStream(id, life uint64) *Stream {
	s := &Stream{
		id: id, life: life,
		arrived: make(chan struct{}, 1), room: make(chan struct{}, 1), over: make(chan struct{}),
	}
	streams.watch.Do(func() { go watchLives() })
	streams.mu.Lock()
	defer streams.mu.Unlock()
	if streams.all == nil {
		streams.all = map[uint64]*Stream{}
	}
	streams.all[id] = s
	return s
}

// watchLives ends the streams of lives that are over, for ever.
func watchLives() {
	for now := Generation(); ; now = AwaitGeneration(now) {
		streams.mu.Lock()
		for _, s := range streams.all {
			if s.life != Generation() {
				s.end()
			}
		}
		streams.mu.Unlock()
	}
}

// streamMessage takes a message about a stream. The queue's lock is held.
func streamMessage(m *hypercall.Message, data []byte) {
	if m.Kind == hypercall.MessageOpen {
		if OpenStream == nil || m.Port > 0xffff {
			callStream(m.ID, hypercall.StreamReset, nil, 0)
			return
		}
		s := newStream(m.ID, Generation())
		s.put(data, false)
		OpenStream(s, uint16(m.Port))
		return
	}
	streams.mu.Lock()
	defer streams.mu.Unlock()
	s := streams.all[m.ID]
	if s == nil {
		return
	}
	switch m.Kind {
	case hypercall.MessageData, hypercall.MessageEnd:
		s.put(data, m.Kind == hypercall.MessageEnd)
		s.settle()
	case hypercall.MessageReset:
		s.end()
	case hypercall.MessageRoom:
		signal(s.room)
	}
}

// ConnectStream makes a stream of a connection of the program's to a port of the host's.
func ConnectStream(port uint16) (*Stream, fs.Errno) {
	q := theQueue()
	if q == nil {
		return nil, fs.ECONNREFUSED
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	life := Generation()
	id, e := callStream(uint64(port), hypercall.StreamConnect, nil, 0)
	if e != 0 {
		return nil, e
	}
	return newStream(uint64(id), life), 0
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put appends what the host has sent, which is the host's again after that.
func (s *Stream) put(data []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > 0 {
		s.in = append(s.in, append([]byte(nil), data...))
	}
	s.inEnded = s.inEnded || end
	signal(s.arrived)
}

// end is for a stream that is over both ways. The caller holds streams.mu.
func (s *Stream) end() {
	delete(streams.all, s.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isOver {
		s.isOver = true
		close(s.over)
	}
}

// settle forgets a stream that both sides have ended. The caller holds streams.mu.
func (s *Stream) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inEnded && s.ended {
		delete(streams.all, s.id)
	}
}

// Arrived tells that Take is worth another try, Room that Send is, and Over, for ever,
// that the stream was reset.
func (s *Stream) Arrived() <-chan struct{} { return s.arrived }

// Room is as Arrived says.
func (s *Stream) Room() <-chan struct{} { return s.room }

// Over is as Arrived says.
func (s *Stream) Over() <-chan struct{} { return s.over }

// Take is the next bytes that the host has sent. Without any, end says that there will be
// none.
func (s *Stream) Take() (b []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
		return nil, s.inEnded
	}
	b, s.in[0] = s.in[0], nil
	if s.in = s.in[1:]; len(s.in) == 0 {
		s.in = nil
	}
	return b, false
}

// Given tells that the program has got n bytes of those that were taken. The host hears
// of it now and then.
func (s *Stream) Given(n int) {
	s.mu.Lock()
	s.given += n
	n = s.given
	if n < hypercall.StreamWindow/2 || s.inEnded {
		n = 0
	}
	s.given -= n
	s.mu.Unlock()
	if n > 0 {
		callStream(s.id, hypercall.StreamCredit, nil, n)
	}
}

// Send gives the host bytes of the program's, with end the last ones. It says how many
// the host has taken; EAGAIN: not one, and Room tells when it takes some; any other
// error: it takes no more. b is on no stack.
func (s *Stream) Send(b []byte, end bool) (int, fs.Errno) {
	op := hypercall.StreamSend
	if end {
		op = hypercall.StreamEnd
	}
	part := b[:min(len(b), hypercall.MaxStreamSend)]
	if len(part) < len(b) {
		op = hypercall.StreamSend
	}
	n, e := callStream(s.id, op, part, len(part))
	if e == 0 && op == hypercall.StreamEnd && n == len(b) {
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		streams.mu.Lock()
		s.settle()
		streams.mu.Unlock()
	}
	return n, e
}

// Reset ends the stream both ways.
func (s *Stream) Reset() {
	streams.mu.Lock()
	known := streams.all[s.id] == s
	s.end()
	streams.mu.Unlock()
	if known && s.life == Generation() {
		callStream(s.id, hypercall.StreamReset, nil, 0)
	}
}

package socket

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// fakeStream is a stream whose other side is the test.
type fakeStream struct {
	arrived, room, over chan struct{}
	changed             chan struct{} // something has come of the program

	mu      sync.Mutex
	in      [][]byte
	inEnd   bool
	given   int
	out     []byte
	most    int // bytes that out takes
	outEnd  bool
	resets  int
	refused bool // by the host, for ever
}

func newFakeStream() *fakeStream {
	return &fakeStream{
		arrived: make(chan struct{}, 1), room: make(chan struct{}, 1), over: make(chan struct{}),
		changed: make(chan struct{}, 1), most: 1 << 30,
	}
}

func (s *fakeStream) Arrived() <-chan struct{} { return s.arrived }
func (s *fakeStream) Room() <-chan struct{}    { return s.room }
func (s *fakeStream) Over() <-chan struct{}    { return s.over }

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *fakeStream) Take() (b []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
		return nil, s.inEnd
	}
	b, s.in = s.in[0], s.in[1:]
	return b, false
}

func (s *fakeStream) Given(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given += n
	tell(s.changed)
}

func (s *fakeStream) Send(b []byte, end bool) (int, fs.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(b), s.most-len(s.out))
	switch {
	case s.refused:
		return 0, fs.EPIPE
	case s.resets > 0 || s.outEnd || len(b) > hypercall.MaxStreamSend:
		return 0, fs.EINVAL
	case n == 0 && len(b) > 0:
		return 0, fs.EAGAIN
	}
	s.out = append(s.out, b[:n]...)
	s.outEnd = end && n == len(b)
	tell(s.changed)
	return n, 0
}

func (s *fakeStream) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resets++; s.resets == 1 {
		close(s.over)
	}
	tell(s.changed)
}

// put is what the host sends.
func (s *fakeStream) put(b []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) > 0 {
		s.in = append(s.in, b)
	}
	s.inEnd = end
	tell(s.arrived)
}

// await waits until something is so.
func (s *fakeStream) await(t *testing.T, what string, so func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		s.mu.Lock()
		ok := so()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.changed:
		case <-late:
			t.Fatalf("%s: %d bytes, end %v, %d resets", what, len(s.out), s.outEnd, s.resets)
		}
	}
}

// forwarded are two streams that a machine connects: one to a port, on which the other is
// made of each connection.
func forwarded(t *testing.T) (a, b *fakeStream) {
	t.Helper()
	const port = 9001
	n := newNetwork(nil, nil)
	t.Cleanup(n.stack.Destroy)
	host, moment := connectHost, atConnect
	t.Cleanup(func() { connectHost, atConnect = host, moment })
	a, b = newFakeStream(), newFakeStream()
	made, rested := make(chan struct{}), false
	atConnect = func() { rested = true }
	connectHost = func(p uint16) (hostStream, bool) {
		if p != port || !rested {
			t.Errorf("port %d, at rest %v", p, rested)
		}
		close(made)
		return b, true
	}
	n.serve(port)
	go n.forward(a, port)
	<-made
	return a, b
}

// TestForward carries bytes both ways, in bits and in bulk, to both ends.
func TestForward(t *testing.T) {
	a, b := forwarded(t)
	big := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	for _, s := range []*fakeStream{a, b} {
		s.put([]byte("hello "), false)
		for part := big; len(part) > 0; part = part[min(len(part), 30_000):] {
			s.put(part[:min(len(part), 30_000)], false)
		}
	}
	want := append([]byte("hello "), big...)
	for _, s := range []*fakeStream{a, b} {
		s.await(t, "bytes", func() bool { return len(s.out) == len(want) })
		if !bytes.Equal(s.out, want) || s.outEnd || s.given > len(want) {
			t.Errorf("%d bytes, end %v, %d given", len(s.out), s.outEnd, s.given)
		}
	}
	a.put(nil, true)
	b.await(t, "the end", func() bool { return b.outEnd })
	b.put([]byte(" more"), true)
	a.await(t, "the other end", func() bool { return a.outEnd })
	if !bytes.HasSuffix(a.out, []byte(" more")) || a.resets+b.resets != 0 {
		t.Errorf("%q, %d and %d resets", a.out[len(a.out)-10:], a.resets, b.resets)
	}
	if a.given != len(want) || b.given != len(want)+5 {
		t.Errorf("%d and %d bytes are given", a.given, b.given)
	}
}

// TestForwardRoom: what the host has no room for waits, and the program with it.
func TestForwardRoom(t *testing.T) {
	a, b := forwarded(t)
	b.mu.Lock()
	b.most = 1000
	b.mu.Unlock()
	text := bytes.Repeat([]byte("x"), 100_000)
	a.put(text, true)
	b.await(t, "what fits", func() bool { return len(b.out) == 1000 })
	for len(b.out) < len(text) {
		b.mu.Lock()
		b.most += 33_000
		b.mu.Unlock()
		tell(b.room)
		b.await(t, "more", func() bool { return len(b.out) >= min(b.most, len(text)) })
	}
	b.await(t, "the end", func() bool { return b.outEnd })
}

// TestForwardReset: what resets one side is heard on the other, whatever it does.
func TestForwardReset(t *testing.T) {
	for name, reset := range map[string]func(a *fakeStream){
		"by the host":         func(a *fakeStream) { a.Reset() },
		"while it sends":      func(a *fakeStream) { a.put(make([]byte, 30_000), false); a.Reset() },
		"nobody reads":        func(a *fakeStream) { a.mu.Lock(); a.refused = true; a.mu.Unlock() },
		"after half an end":   func(a *fakeStream) { a.put(nil, true); a.Reset() },
		"long after one":      func(a *fakeStream) { a.put(nil, true); time.Sleep(50 * time.Millisecond); a.Reset() },
		"without room to end": func(a *fakeStream) { a.mu.Lock(); a.most = 0; a.mu.Unlock(); a.Reset() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := forwarded(t)
			a.put([]byte("1"), false)
			b.await(t, "a byte", func() bool { return len(b.out) == 1 })
			reset(a)
			if name != "long after one" { // where nobody sends, the reset is heard all the same
				b.put([]byte("what nobody gets"), false)
			}
			b.await(t, "the reset", func() bool { return b.resets > 0 })
			a.await(t, "its own", func() bool { return a.resets > 0 })
		})
	}
}

// TestForwardNobody: where nobody listens, and where the host does not want a connection,
// it is reset.
func TestForwardNobody(t *testing.T) {
	n := newNetwork(nil, nil)
	t.Cleanup(n.stack.Destroy)
	a := newFakeStream()
	go n.forward(a, 81)
	a.await(t, "the reset", func() bool { return a.resets > 0 })
	host, moment := connectHost, atConnect
	t.Cleanup(func() { connectHost, atConnect = host, moment })
	atConnect, connectHost = func() {}, func(uint16) (hostStream, bool) { return nil, false }
	n.serve(9001)
	b := newFakeStream()
	go n.forward(b, 9001)
	b.await(t, "the reset", func() bool { return b.resets > 0 })
}

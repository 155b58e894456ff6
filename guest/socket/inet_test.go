package socket

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
)

// peer is a socket of a test, which waits for it.
type peer struct {
	t *testing.T
	*inet
	news chan struct{}
}

func watched(t *testing.T, s *inet) *peer {
	p := &peer{t: t, inet: s, news: make(chan struct{}, 1)}
	s.Watch(func(events uint32) {
		if events != 0 {
			select {
			case p.news <- struct{}{}:
			default:
			}
		}
	})
	return p
}

func open4(t *testing.T, n *network, typ int) *peer { return openOf(t, n, afInet, typ) }

func openOf(t *testing.T, n *network, domain, typ int) *peer {
	t.Helper()
	s, e := n.open(domain, typ, 0)
	if e != 0 {
		t.Fatalf("socket: errno %d", e)
	}
	return watched(t, s)
}

// until waits for a notice each time before it looks again: one that does not come is
// an edge that was lost.
func (p *peer) until(what string, done func() bool) {
	p.t.Helper()
	late := time.After(10 * time.Second)
	for !done() {
		select {
		case <-p.news:
		case <-late:
			p.t.Fatalf("%s: no notice; ready for %#x", what, p.Ready())
		}
	}
}

func (p *peer) ready(events uint32) {
	p.t.Helper()
	p.until("ready", func() bool { return p.Ready()&events == events })
}

func (p *peer) mustBind(addr string) {
	p.t.Helper()
	if e := p.Bind(sockaddr(addr)); e != 0 {
		p.t.Fatalf("bind %s: errno %d", addr, e)
	}
}

// connect connects and waits.
func (p *peer) connect(addr []byte) fs.Errno {
	p.t.Helper()
	e := p.Connect(addr)
	if e != fs.EINPROGRESS {
		return e
	}
	p.ready(fs.EPOLLOUT)
	return p.errorOption()
}

func (p *peer) errorOption() fs.Errno {
	b, e := p.Option(levelSocket, 4)
	if e != 0 {
		p.t.Fatalf("SO_ERROR: errno %d", e)
	}
	return fs.Errno(binary.NativeEndian.Uint32(b))
}

func (p *peer) accept() *peer {
	p.t.Helper()
	var c fs.Socket
	p.until("accept", func() bool {
		var e fs.Errno
		c, _, e = p.Accept()
		if e != 0 && e != fs.EAGAIN {
			p.t.Fatalf("accept: errno %d", e)
		}
		return e == 0
	})
	return watched(p.t, c.(*inet))
}

func (p *peer) send(b []byte) fs.Errno {
	for len(b) > 0 {
		n, e := p.Send(&fs.Message{Data: [][]byte{b}}, 0)
		if e == fs.EAGAIN {
			p.until("send", func() bool { return p.Ready()&fs.EPOLLOUT != 0 })
			continue
		}
		if e != 0 {
			return e
		}
		b = b[n:]
	}
	return 0
}

// receive is what one Receive brings, at most n bytes.
func (p *peer) receive(n int) ([]byte, fs.Errno) {
	p.t.Helper()
	b := make([]byte, n)
	for {
		k, e := p.Receive(&fs.Message{Data: [][]byte{b}}, 0)
		if e != fs.EAGAIN {
			return b[:k], e
		}
		p.until("receive", func() bool { return p.Ready()&fs.EPOLLIN != 0 })
	}
}

// all is what comes up to the end.
func (p *peer) all() (b []byte, e fs.Errno) {
	p.t.Helper()
	for {
		some, e := p.receive(1 << 16)
		if b = append(b, some...); e != 0 || len(some) == 0 {
			return b, e
		}
	}
}

// sockaddr is the address that a text stands for.
func sockaddr(text string) []byte {
	a := netip.MustParseAddrPort(text)
	if a.Addr().Is4() {
		ip := a.Addr().As4()
		b := binary.NativeEndian.AppendUint16(nil, afInet)
		b = binary.BigEndian.AppendUint16(b, a.Port())
		return append(append(b, ip[:]...), make([]byte, 8)...)
	}
	ip := a.Addr().As16()
	b := binary.NativeEndian.AppendUint16(nil, afInet6)
	b = binary.BigEndian.AppendUint16(b, a.Port())
	return append(append(append(b, 0, 0, 0, 0), ip[:]...), 0, 0, 0, 0)
}

func text(b []byte) string {
	port := binary.BigEndian.Uint16(b[2:])
	if len(b) == sizeSockaddr4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), port).String()
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])), port).String()
}

func (p *peer) local() []byte {
	p.t.Helper()
	b, e := p.Local()
	if e != 0 {
		p.t.Fatalf("getsockname: errno %d", e)
	}
	return b
}

// listening is a socket that listens on an address.
func listening(t *testing.T, n *network, addr string) *peer {
	t.Helper()
	l := openOf(t, n, int(sockaddr(addr)[0]), inetStream)
	l.mustBind(addr)
	if e := l.Listen(16); e != 0 {
		t.Fatalf("listen: errno %d", e)
	}
	return l
}

// connected are both ends of a connection.
func connected(t *testing.T, n *network) (a, b *peer) {
	t.Helper()
	l := listening(t, n, "127.0.0.1:0")
	defer l.Close()
	a = open4(t, n, inetStream)
	if e := a.connect(l.local()); e != 0 {
		t.Fatalf("connect: errno %d", e)
	}
	return a, l.accept()
}

func newLoopback(t *testing.T) *network {
	n := newNetwork(nil, nil)
	t.Cleanup(n.stack.Destroy)
	return n
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestStream(t *testing.T) {
	n := newLoopback(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listening(t, n, addr)
		a := openOf(t, n, l.domain, inetStream)
		if a.Ready() != fs.EPOLLOUT|fs.EPOLLHUP {
			t.Errorf("a new socket is ready for %#x", a.Ready())
		}
		if e := a.connect(l.local()); e != 0 {
			t.Fatalf("connect: errno %d", e)
		}
		b := l.accept()
		if pa, _ := a.Peer(); !bytes.Equal(pa, l.local()) {
			t.Errorf("connected to %s, not %s", text(pa), text(l.local()))
		}
		want := random(5 << 20)
		go func() {
			if e := a.send(want); e != 0 {
				t.Errorf("send: errno %d", e)
			}
			a.Shutdown(1)
		}()
		got, e := b.all()
		if e != 0 || !bytes.Equal(got, want) {
			t.Errorf("%s: %d of %d bytes, errno %d", addr, len(got), len(want), e)
		}
		if r := b.Ready(); r != fs.EPOLLIN|fs.EPOLLOUT|fs.EPOLLRDHUP {
			t.Errorf("half closed: ready for %#x", r)
		}
		if e := b.send([]byte("back")); e != 0 {
			t.Errorf("send after the other half is closed: errno %d", e)
		}
		if got, _ := a.receive(100); string(got) != "back" {
			t.Errorf("got %q", got)
		}
		b.Close()
		if got, e := a.receive(100); len(got) != 0 || e != 0 {
			t.Errorf("at the end: %d bytes, errno %d", len(got), e)
		}
		a.ready(fs.EPOLLHUP | fs.EPOLLRDHUP | fs.EPOLLIN)
		a.Close()
		l.Close()
	}
}

func TestRefused(t *testing.T) {
	n := newLoopback(t)
	a := open4(t, n, inetStream)
	if e := a.connect(sockaddr("127.0.0.1:9")); e != fs.ECONNREFUSED {
		t.Errorf("connect: errno %d", e)
	}
	if e := a.errorOption(); e != 0 {
		t.Errorf("SO_ERROR again: errno %d", e)
	}
	if _, e := a.Peer(); e != fs.ENOTCONN {
		t.Errorf("getpeername: errno %d", e)
	}
	b := open4(t, n, inetStream)
	if e := b.connect(sockaddr("192.0.2.1:9")); e != fs.ENETUNREACH {
		t.Errorf("connect without a route: errno %d", e)
	}
	if _, e := b.receive(1); e != fs.ENOTCONN {
		t.Errorf("receive: errno %d", e)
	}
	if _, e := b.Send(&fs.Message{Data: [][]byte{{1}}}, 0); e != fs.EPIPE {
		t.Errorf("send: errno %d", e)
	}
}

// TestReset: unread data, and a linger of 0, make Close a reset.
func TestReset(t *testing.T) {
	n := newLoopback(t)
	a, b := connected(t, n)
	a.send([]byte("nobody reads this"))
	b.ready(fs.EPOLLIN)
	b.Close()
	a.ready(fs.EPOLLERR | fs.EPOLLHUP | fs.EPOLLIN)
	if _, e := a.receive(1); e != fs.ECONNRESET {
		t.Errorf("receive: errno %d", e)
	}
	if e := a.send([]byte{1}); e != fs.EPIPE {
		t.Errorf("send: errno %d", e)
	}
	a, b = connected(t, n)
	if e := b.SetOption(levelSocket, 13, append(putInt(1), putInt(0)...)); e != 0 {
		t.Errorf("SO_LINGER: errno %d", e)
	}
	b.Close()
	a.ready(fs.EPOLLERR)
	if e := a.errorOption(); e != fs.ECONNRESET {
		t.Errorf("SO_ERROR: errno %d", e)
	}
}

func TestInUse(t *testing.T) {
	n := newLoopback(t)
	l := listening(t, n, "127.0.0.1:0")
	other := open4(t, n, inetStream)
	if e := other.Bind(l.local()); e != fs.EADDRINUSE {
		t.Errorf("bind: errno %d", e)
	}
	if e := other.Bind(sockaddr("192.0.2.1:0")); e != fs.EADDRNOTAVAIL {
		t.Errorf("bind to another's address: errno %d", e)
	}
	if e := other.Bind(sockaddr("[::1]:0")); e != fs.EAFNOSUPPORT {
		t.Errorf("bind to another family: errno %d", e)
	}
	if e := other.Bind([]byte{2, 0, 0}); e != fs.EINVAL {
		t.Errorf("bind to half an address: errno %d", e)
	}
}

// TestManyConnections: what is opened and closed leaves no ports behind that could not
// be had again, and many can be open at once.
func TestManyConnections(t *testing.T) {
	n := newLoopback(t)
	l := listening(t, n, "127.0.0.1:0")
	var open []*peer
	for i := range 1500 {
		a := open4(t, n, inetStream)
		if e := a.connect(l.local()); e != 0 {
			t.Fatalf("%d: connect: errno %d", i, e)
		}
		open = append(open, a, l.accept())
	}
	for i, p := range open {
		if i%2 == 0 {
			p.send([]byte{byte(i)})
		} else if got, e := p.receive(9); e != 0 || len(got) != 1 {
			t.Fatalf("%d: %q, errno %d", i, got, e)
		}
	}
	for _, p := range open {
		p.Close()
	}
}

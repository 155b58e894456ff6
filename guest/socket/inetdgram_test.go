package socket

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

func TestDatagrams(t *testing.T) {
	n := newLoopback(t)
	a, b := open4(t, n, inetDgram), open4(t, n, inetDgram)
	a.mustBind("127.0.0.1:0")
	b.mustBind("0.0.0.0:0")
	if r := a.Ready(); r != fs.EPOLLOUT {
		t.Errorf("ready for %#x", r)
	}
	to := append([]byte(nil), b.local()...)
	copy(to[4:], []byte{127, 0, 0, 1})
	if k, e := a.Send(&fs.Message{Data: [][]byte{[]byte("one "), []byte("datagram")}, Addr: to}, 0); k != 12 || e != 0 {
		t.Fatalf("send: %d, errno %d", k, e)
	}
	b.ready(fs.EPOLLIN)
	if b.Buffered() != 12 {
		t.Errorf("FIONREAD: %d", b.Buffered())
	}
	for _, flags := range []int{inetPeek, inetPeek | inetTrunc, 0} {
		part := make([]byte, 7)
		m := fs.Message{Data: [][]byte{part[:3], part[3:]}}
		k, e := b.Receive(&m, flags)
		want := 7
		if flags&inetTrunc != 0 {
			want = 12
		}
		if k != want || e != 0 || string(part) != "one dat" || m.Flags != inetTrunc || !bytes.Equal(m.Addr, a.local()) {
			t.Errorf("flags %#x: %d, errno %d, %q, flags %#x from %s", flags, k, e, part, m.Flags, text(m.Addr))
		}
	}
	if _, e := b.Receive(&fs.Message{Data: [][]byte{make([]byte, 9)}}, 0); e != fs.EAGAIN {
		t.Errorf("receive again: errno %d", e)
	}
	if _, e := a.Send(&fs.Message{Data: [][]byte{make([]byte, 70000)}, Addr: to}, 0); e != fs.EMSGSIZE {
		t.Errorf("too long: errno %d", e)
	}
	if _, e := a.Send(&fs.Message{Data: [][]byte{{1}}}, 0); e != fs.EDESTADDRREQ {
		t.Errorf("to nobody: errno %d", e)
	}
	if k, e := a.Send(&fs.Message{Addr: to}, 0); k != 0 || e != 0 {
		t.Errorf("an empty one: %d, errno %d", k, e)
	}
	if got, e := b.receive(9); len(got) != 0 || e != 0 {
		t.Errorf("an empty one: %d bytes, errno %d", len(got), e)
	}
}

// TestTrafficClass: a datagram has the class that comes with it, and the next has not.
func TestTrafficClass(t *testing.T) {
	n := newLoopback(t)
	for _, c := range []struct {
		addr                string
		level, recv, option int
	}{{"127.0.0.1:0", levelIP, 13, controlTOS}, {"[::1]:0", levelIPv6, 66, controlTClass}} {
		r := openOf(t, n, int(sockaddr(c.addr)[0]), inetDgram)
		r.mustBind(c.addr)
		if e := r.SetOption(c.level, c.recv, putInt(1)); e != 0 {
			t.Fatalf("option %d: errno %d", c.recv, e)
		}
		for _, want := range []byte{0, 3, 0} {
			m := fs.Message{Data: [][]byte{{1}}, Addr: r.local(), Room: 100}
			if want != 0 {
				m.PutControl(c.level, c.option, putInt(int(want)))
			}
			if _, e := r.Send(&m, 0); e != 0 {
				t.Fatalf("send: errno %d", e)
			}
			r.ready(fs.EPOLLIN)
			got := fs.Message{Data: [][]byte{make([]byte, 9)}, Room: 100}
			r.Receive(&got, 0)
			if len(got.Control) <= 16 || got.Control[16] != want {
				t.Errorf("%s: sent with class %d: % x", c.addr, want, got.Control)
			}
		}
	}
}

// TestDatagramRefused: a connected socket hears that nobody listens.
func TestDatagramRefused(t *testing.T) {
	n := newLoopback(t)
	a := open4(t, n, inetDgram)
	if e := a.Connect(sockaddr("127.0.0.1:9")); e != 0 {
		t.Fatalf("connect: errno %d", e)
	}
	a.Send(&fs.Message{Data: [][]byte{{1}}}, 0)
	a.ready(fs.EPOLLERR)
	if _, e := a.Receive(&fs.Message{Data: [][]byte{{1}}}, 0); e != fs.ECONNREFUSED {
		t.Errorf("receive: errno %d", e)
	}
	unspec := make([]byte, sizeSockaddr4)
	if e := a.Connect(unspec); e != 0 {
		t.Errorf("disconnect: errno %d", e)
	}
	if _, e := a.Peer(); e != fs.ENOTCONN {
		t.Errorf("getpeername: errno %d", e)
	}
}

// TestDualStack: a socket of IPv6 has to do with IPv4 too, by mapped addresses, unless
// it is told not to.
func TestDualStack(t *testing.T) {
	n := newLoopback(t)
	l := listening(t, n, "[::]:0")
	to := sockaddr("127.0.0.1:0")
	copy(to[2:4], l.local()[2:4])
	a := open4(t, n, inetStream)
	if e := a.connect(to); e != 0 {
		t.Fatalf("connect: errno %d", e)
	}
	b := l.accept()
	mapped, _ := b.Peer()
	if len(mapped) != sizeSockaddr6 || !bytes.Equal(mapped[8:24], append(make([]byte, 10), 0xff, 0xff, 127, 0, 0, 1)) {
		t.Errorf("accepted from % x", mapped)
	}
	l6 := openOf(t, n, afInet6, inetStream)
	if e := l6.SetOption(levelIPv6, 26, putInt(1)); e != 0 {
		t.Fatalf("IPV6_V6ONLY: errno %d", e)
	}
	l6.mustBind("[::]:0")
	l6.Listen(1)
	copy(to[2:4], l6.local()[2:4])
	if e := open4(t, n, inetStream).connect(to); e != fs.ECONNREFUSED {
		t.Errorf("connect to a socket of IPv6 alone: errno %d", e)
	}
	u := openOf(t, n, afInet6, inetDgram)
	r := open4(t, n, inetDgram)
	r.mustBind("127.0.0.1:0")
	for _, addr := range [][]byte{r.local(), encodeAddr(afInet6, must2(decodeAddr(afInet, r.local())))} {
		if _, e := u.Send(&fs.Message{Data: [][]byte{{1}}, Addr: addr}, 0); e != 0 {
			t.Errorf("send to % x: errno %d", addr, e)
		}
		r.receive(1)
	}
}

func must2[T any](v T, e fs.Errno) T {
	if e != 0 {
		panic(e)
	}
	return v
}

func TestControl(t *testing.T) {
	n := newLoopback(t)
	for _, c := range []struct {
		addr         string
		level, ttl   int // its control message
		recvTTL      int
		info, infoed int
		size         int
	}{
		{"127.0.0.1:0", levelIP, controlTTL, 12, 8, controlInfo, 12},
		{"[::1]:0", levelIPv6, controlHopLimit, 51, 49, controlInfo6, 20},
	} {
		r := openOf(t, n, int(sockaddr(c.addr)[0]), inetDgram)
		r.mustBind(c.addr)
		for _, o := range []int{c.recvTTL, c.info} {
			if e := r.SetOption(c.level, o, putInt(1)); e != 0 {
				t.Fatalf("option %d: errno %d", o, e)
			}
		}
		var m fs.Message
		m.Room = 100
		m.PutControl(c.level, c.ttl, putInt(7))
		m.Data, m.Addr = [][]byte{{1}}, r.local()
		s := openOf(t, n, r.domain, inetDgram)
		if _, e := s.Send(&m, 0); e != 0 {
			t.Fatalf("send: errno %d", e)
		}
		r.ready(fs.EPOLLIN)
		got := fs.Message{Data: [][]byte{make([]byte, 9)}, Room: 100}
		r.Receive(&got, inetPeek)
		seen := map[int][]byte{}
		controls(got.Control, func(level, typ int, data []byte) fs.Errno {
			if level == c.level {
				seen[typ] = data
			}
			return 0
		})
		if b := seen[c.ttl]; len(b) != 4 || b[0] != 7 || len(seen[c.infoed]) != c.size || got.Flags != 0 {
			t.Errorf("%s: % x, flags %#x", c.addr, got.Control, got.Flags)
		}
		short := fs.Message{Data: [][]byte{make([]byte, 9)}, Room: 20}
		r.Receive(&short, 0)
		if len(short.Control) != 20 || short.Flags != fs.MSG_CTRUNC {
			t.Errorf("with 20 bytes of room: % x, flags %#x", short.Control, short.Flags)
		}
	}
	bad := binary.NativeEndian.AppendUint64(nil, 99)
	s := open4(t, n, inetDgram)
	if _, e := s.Send(&fs.Message{Control: append(bad, make([]byte, 8)...), Addr: sockaddr("127.0.0.1:1")}, 0); e != fs.EINVAL {
		t.Errorf("a control message beyond its end: errno %d", e)
	}
}

// TestPing: an echo request by a datagram socket, and by a raw one.
func TestPing(t *testing.T) {
	n := newLoopback(t)
	for _, typ := range []int{inetDgram, inetRaw} {
		s, e := n.open(afInet, typ, protoICMP)
		if e != 0 {
			t.Fatalf("socket: errno %d", e)
		}
		p := watched(t, s)
		echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
		if _, e := p.Send(&fs.Message{Data: [][]byte{echo}, Addr: sockaddr("127.0.0.1:0")}, 0); e != 0 {
			t.Fatalf("send: errno %d", e)
		}
		got, e := p.receive(100)
		for typ == inetRaw && len(got) > 20 && got[20] == 8 {
			got, e = p.receive(100) // the request itself
		}
		if typ == inetRaw && len(got) > 20 {
			got = got[20:]
		}
		if e != 0 || len(got) != 8 || got[0] != 0 {
			t.Errorf("type %d: % x, errno %d", typ, got, e)
		}
		p.Close()
	}
}

func TestMulticast(t *testing.T) {
	n := newLoopback(t)
	s := open4(t, n, inetDgram)
	request := append([]byte{239, 1, 2, 3}, 127, 0, 0, 1)
	if e := s.SetOption(levelIP, 35, request); e != 0 {
		t.Errorf("join: errno %d", e)
	}
	if e := s.SetOption(levelIP, 35, request); e != fs.EADDRINUSE {
		t.Errorf("join again: errno %d", e)
	}
	if e := s.SetOption(levelIP, 36, request); e != 0 {
		t.Errorf("leave: errno %d", e)
	}
	if e := s.SetOption(levelIP, 36, request); e != fs.EADDRNOTAVAIL {
		t.Errorf("leave again: errno %d", e)
	}
	s6 := openOf(t, n, afInet6, inetDgram)
	group := make([]byte, 136)
	group[0] = 1
	copy(group[8:], sockaddr("[ff02::1234]:0"))
	if e := s6.SetOption(levelIPv6, 42, group); e != 0 {
		t.Errorf("MCAST_JOIN_GROUP: errno %d", e)
	}
}

package socket

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// carry sends bytes from one machine to the other and compares.
func carry(t *testing.T, from, to *network, addr string, n int) {
	t.Helper()
	l := listening(t, to, addr)
	defer l.Close()
	a := openOf(t, from, l.domain, inetStream)
	if e := a.connect(l.local()); e != 0 {
		t.Fatalf("connect to %s: errno %d", text(l.local()), e)
	}
	b := l.accept()
	want := random(n)
	go func() {
		if e := a.send(want); e != 0 {
			t.Errorf("send: errno %d", e)
		}
		a.Close()
	}()
	if got, e := b.all(); e != 0 || !bytes.Equal(got, want) {
		t.Errorf("%s: %d of %d bytes, errno %d", addr, len(got), n, e)
	}
	b.Close()
}

// TestWire: streams each way, of both families, with long segments that stay as they
// are, and with such that are cut on the way and lose the word that they are right.
func TestWire(t *testing.T) {
	for _, cut := range []bool{false, true} {
		w, a, b := newWire(t, cut, 0)
		carry(t, a, b, "10.0.0.2:0", 8<<20)
		carry(t, b, a, "[fd00::1]:0", 8<<20)
		if w.ends[0].segments == 0 || w.ends[1].segments == 0 {
			t.Errorf("cut %v: %d and %d long segments", cut, w.ends[0].segments, w.ends[1].segments)
		}
		u, v := open4(t, a, inetDgram), open4(t, b, inetDgram)
		v.mustBind("10.0.0.2:0")
		for _, n := range []int{0, 1, 1472, 1473, 9000} {
			want := random(n)
			if _, e := u.Send(&fs.Message{Data: [][]byte{want}, Addr: v.local()}, 0); e != 0 {
				t.Fatalf("a datagram of %d bytes: errno %d", n, e)
			}
			if got, e := v.receive(1 << 16); e != 0 || !bytes.Equal(got, want) {
				t.Errorf("a datagram of %d bytes: %d, errno %d", n, len(got), e)
			}
		}
	}
}

// TestFullRing: what a host is slow to take waits, and gets there.
func TestFullRing(t *testing.T) {
	w, a, b := newWire(t, false, 100*time.Microsecond)
	carry(t, a, b, "10.0.0.2:0", 1<<20)
	u := open4(t, a, inetDgram)
	const count = 1000
	for range count {
		m := fs.Message{Data: [][]byte{make([]byte, 1400)}, Addr: sockaddr("10.0.0.2:9")}
		for {
			_, e := u.Send(&m, 0)
			if e == 0 {
				break
			}
			if e != fs.EAGAIN {
				t.Fatalf("send: errno %d", e)
			}
			u.ready(fs.EPOLLOUT)
		}
	}
	carry(t, a, b, "10.0.0.2:0", 1<<20)
	if w.ends[0].asked.Load() == 0 || a.nics[0].dropped != 0 {
		t.Errorf("%d times without room, %d dropped", w.ends[0].asked.Load(), a.nics[0].dropped)
	}
	if n := b.stack.Stats().UDP.UnknownPortErrors.Value(); n != count {
		t.Errorf("%d of %d datagrams", n, count)
	}
}

func TestInterfaces(t *testing.T) {
	_, a, _ := newWire(t, false, 0)
	list := a.interfaces()
	if len(list) != 2 || list[0].name != "lo" || list[1].name != "eth0" || list[1].index != 2 {
		t.Fatalf("%+v", list)
	}
	if eth := list[1]; eth.mtu != 1500 || eth.flags != 0x11043 || !bytes.Equal(eth.mac, []byte{2, 0, 0, 0, 0, 1}) || len(eth.addrs) != 3 {
		t.Errorf("%+v", eth)
	}
	if lo := list[0]; lo.flags != 0x10049 || len(lo.addrs) != 2 || lo.addrs[0].prefix != 8 {
		t.Errorf("%+v", lo)
	}
}

// TestScope: a link-local address is one of an interface.
func TestScope(t *testing.T) {
	_, a, b := newWire(t, false, 0)
	v, u := openOf(t, b, afInet6, inetDgram), openOf(t, a, afInet6, inetDgram)
	v.mustBind("[::]:0")
	var addr tcpip.FullAddress
	for _, i := range b.interfaces()[1].addrs {
		if ip := tcpip.AddrFromSlice(i.ip); isLinkLocal(ip) {
			addr.Addr = ip
		}
	}
	addr.NIC = 2
	to := encodeAddr(afInet6, addr)
	copy(to[2:4], v.local()[2:4])
	if _, e := u.Send(&fs.Message{Data: [][]byte{[]byte("hello")}, Addr: to}, 0); e != 0 {
		t.Fatalf("send: errno %d", e)
	}
	v.ready(fs.EPOLLIN)
	m := fs.Message{Data: [][]byte{make([]byte, 9)}}
	if n, e := v.Receive(&m, 0); n != 5 || e != 0 || m.Addr[24] != 2 {
		t.Errorf("%d, errno %d, from % x", n, e, m.Addr)
	}
}

// FuzzReceive: whatever is in the ring, the machine takes no more than is there, and
// goes on.
func FuzzReceive(f *testing.F) {
	rings := new(hypercall.NetRings)
	end := &wireEnd{rings: rings}
	dev := newRingDevice(rings, func() {})
	n := newNetwork(nil, nil)
	c := newNIC(&adapter{dev: dev, mac: "\x02\x00\x00\x00\x00\x01", mtu: 1500, segments: true}, 2)
	if err := n.stack.CreateNIC(2, c); err != nil {
		f.Fatal(err)
	}
	c.dev = dev
	frame := append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00"), make([]byte, 40)...)
	f.Add(uint32(len(frame)), uint8(0), uint32(16), frame)
	f.Add(uint32(hypercall.PacketSkip), uint8(1), uint32(1<<20), frame)
	f.Add(uint32(1<<31), uint8(3), uint32(64), frame)
	f.Add(uint32(hypercall.PacketSkip), uint8(0), uint32(64), []byte{}) // beyond Prod
	f.Fuzz(func(t *testing.T, length uint32, flags uint8, ahead uint32, frame []byte) {
		if len(frame) > hypercall.MaxFrame {
			return
		}
		if len(frame) >= hypercall.MinFrame && !end.give(hypercall.PacketHeader{Flags: flags}, frame) {
			t.Fatal("no room in an empty ring")
		}
		h := headerAt(&rings.Receive, end.given%hypercall.PacketRingBytes)
		h.Length = length
		end.given += alignPacket(ahead % hypercall.PacketRingBytes)
		atomic.StoreUint32(&rings.Receive.Prod, end.given)
		c.turn()
		if rings.Receive.Cons != end.given || dev.cons != end.given {
			t.Fatalf("took up to %#x of %#x", rings.Receive.Cons, end.given)
		}
		atomic.StoreUint32(&rings.Transmit.Cons, atomic.LoadUint32(&rings.Transmit.Prod))
	})
}

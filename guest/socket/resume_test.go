package socket

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// asBefore has the other machine on the wire, which goes on with the one under test, be in
// its place again.
func asBefore(n *network) {
	willHave(n, func() []adapter {
		return []adapter{{mac: "\x02\x00\x00\x00\x00\x02", mtu: 1500, segments: true, addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}}
	})
}

// life is how often the machine of the tests has gone on as another one. Goroutines of
// networks look at it for ever, so what they look with is set once.
var life atomic.Uint64

func init() {
	lives, renewNames = life.Load, func() {}
	publish = func(index *uint32, v uint32, of uint64) bool {
		same := life.Load() == of
		if same {
			atomic.StoreUint32(index, v)
		}
		return same
	}
}

// next has the machine go on as another one.
func next() { life.Add(1) }

// willHave says what a machine has in its next lives.
func willHave(n *network, adapters func() []adapter) {
	n.resuming.Lock()
	defer n.resuming.Unlock()
	n.adapters = adapters
}

// client is the DHCP client of the first interface.
func client(n *network) *dhcpClient {
	n.resuming.Lock()
	defer n.resuming.Unlock()
	return n.nics[0].dhcp
}

// frameFrom is an Ethernet frame on its way out.
func frameFrom(mac tcpip.LinkAddress) *stack.PacketBuffer {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: header.EthernetMinimumSize, Payload: buffer.MakeWithData(make([]byte, 100))})
	header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{SrcAddr: mac, DstAddr: header.EthernetBroadcastAddress})
	return pkt
}

// TestRingOfAnotherLife: a goroutine that was about to send or to take when the machine
// came to rest does neither with the next life's rings.
func TestRingOfAnotherLife(t *testing.T) {
	r := new(hypercall.NetRings)
	d := newRingDevice(r, func() {})
	pkt := frameFrom("\x02\x00\x00\x00\x00\x01")
	defer pkt.DecRef()
	if !d.put(pkt) || r.Transmit.Prod != 144 {
		t.Fatalf("Prod is %d", r.Transmit.Prod)
	}
	give := func() {
		r.Receive.Data = [hypercall.PacketRingBytes]byte{}
		headerAt(&r.Receive, 0).Length = 100
		atomic.StoreUint32(&r.Receive.Prod, 128)
	}
	give()
	if pkt, _ := d.take(); pkt == nil || r.Receive.Cons != 128 {
		t.Fatalf("Cons is %d", r.Receive.Cons)
	}
	for _, length := range []uint32{100, 0, hypercall.PacketSkip} {
		next()
		*r = hypercall.NetRings{}
		give()
		d.cons, headerAt(&r.Receive, 0).Length = 0, length
		if pkt, _ := d.take(); pkt != nil || r.Receive.Cons != 0 {
			t.Errorf("length %d: took a packet, or Cons is %d", length, r.Receive.Cons)
		}
		if !d.put(pkt) || r.Transmit.Prod != 0 {
			t.Errorf("Prod is %d", r.Transmit.Prod)
		}
	}
	d.renew(lives())
	give()
	if pkt, _ := d.take(); pkt == nil || !d.put(frameFrom("\x02\x00\x00\x00\x00\x01")) || r.Transmit.Prod != 144 || r.Receive.Cons != 128 {
		t.Errorf("in its own life: %d sent, %d taken", r.Transmit.Prod, r.Receive.Cons)
	}
}

// TestResume: in another life an interface has another place in the network, and what went
// over it before has come to its end.
func TestResume(t *testing.T) {
	w, a, b := newWire(t, false, 0)
	asBefore(b)
	n := a.nics[0]
	out := listening(t, b, "10.0.0.2:0")
	l, local := listening(t, a, "0.0.0.0:0"), listening(t, a, "10.0.0.1:0")
	c := open4(t, a, inetStream)
	if e := c.connect(out.local()); e != 0 {
		t.Fatal(e)
	}
	u, v, far := open4(t, a, inetDgram), open4(t, a, inetDgram), open4(t, b, inetDgram)
	u.mustBind("0.0.0.0:0")
	if e := v.Connect(sockaddr("10.0.0.2:99")); e != 0 {
		t.Fatal(e)
	}
	if _, e := far.Send(&fs.Message{Data: [][]byte{[]byte("before")}, Addr: reach(u, "10.0.0.1")}, 0); e != 0 {
		t.Fatal(e)
	}
	u.ready(fs.EPOLLIN)
	in, other := connected(t, a)

	willHave(a, func() []adapter {
		return []adapter{{mac: "\x02\x00\x00\x00\x00\x07", mtu: 1400, addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/24")}}}
	})
	next()
	poke(w.ends[0].news)
	c.until("the connection's end", func() bool { return c.Ready()&fs.EPOLLHUP != 0 })
	eth := a.interfaces()[1]
	if len(eth.addrs) != 2 || string(eth.mac) != "\x02\x00\x00\x00\x00\x07" || eth.mtu != 1400 ||
		!slices.ContainsFunc(eth.addrs, func(i interfaceAddr) bool { return string(i.ip) == "\x0a\x00\x00\x07" }) {
		t.Errorf("%+v", eth)
	}
	if _, e := v.Send(&fs.Message{Data: [][]byte{[]byte("x")}}, 0); e == 0 {
		t.Error("a datagram went out of a socket of before")
	}
	if u.Ready()&fs.EPOLLIN != 0 {
		t.Error("what had come before is still there")
	}
	if e := in.send([]byte("inside")); e != 0 {
		t.Error(e)
	}
	if got, e := other.receive(10); string(got) != "inside" || e != 0 {
		t.Error(got, e)
	}
	carry(t, a, b, "10.0.0.2:0", 1<<16)
	d := open4(t, b, inetStream)
	if e := d.connect(reach(l, "10.0.0.7")); e != 0 {
		t.Errorf("connect to who listens everywhere: %d", e)
	}
	l.accept()
	if _, _, e := local.Accept(); e != fs.EAGAIN {
		t.Errorf("who listens on an address that is gone: %d", e)
	}
	late := frameFrom("\x02\x00\x00\x00\x00\x01")
	defer late.DecRef()
	var list stack.PacketBufferList
	list.PushBack(late)
	sent, dropped := w.ends[0].rings.Transmit.Prod, n.dropped
	if n.WritePackets(list); n.dropped != dropped+1 {
		t.Errorf("a frame of before was sent: Prod was %d, %d dropped", sent, n.dropped)
	}
}

// reach is where a socket can be reached by an address.
func reach(p *peer, addr string) []byte {
	to := sockaddr(addr + ":0")
	copy(to[2:4], p.local()[2:4])
	return to
}

// TestResumeDHCP: a new life asks anew, and the client of before changes nothing any more.
func TestResumeDHCP(t *testing.T) {
	before := setResolver
	setResolver = func(string) {}
	defer func() { setResolver = before }()
	w, a, b := newWire(t, false, 0)
	asBefore(b)
	kinds := make(chan byte, 100)
	serveDHCP(t, b, 60, kinds)
	willHave(a, func() []adapter { return []adapter{{mac: "\x02\x00\x00\x00\x00\x01", mtu: 1500, dhcp: true}} })
	for range 3 {
		old := client(a)
		next()
		poke(w.ends[1].news)
		b.current()
		open4(t, a, inetDgram) // which waits
		if k, l := <-kinds, <-kinds; k != dhcpDiscover || l != dhcpRequest {
			t.Errorf("the client sent %d, then %d", k, l)
		}
		if client(a) == old {
			t.Error("the client is that of before")
		}
		if old != nil {
			old.use(lease{address: netip.MustParsePrefix("10.9.9.9/24")})
		}
		addrs := a.interfaces()[1].addrs
		if len(addrs) != 2 || !slices.ContainsFunc(addrs, func(i interfaceAddr) bool { return string(i.ip) == "\x0a\x00\x00\x4d" }) {
			t.Errorf("addresses %+v", addrs)
		}
		carry(t, a, b, "10.0.0.2:0", 1<<16)
	}
}

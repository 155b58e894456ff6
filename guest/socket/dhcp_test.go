package socket

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// serveDHCP answers on a machine as a server does, with leases of a time.
func serveDHCP(t *testing.T, n *network, seconds byte, kinds chan<- byte) {
	s := open4(t, n, inetDgram)
	if e := s.Bind(sockaddr("0.0.0.0:67")); e != 0 {
		t.Fatalf("bind: errno %d", e)
	}
	s.ep.SocketOptions().SetBroadcast(true)
	go func() {
		for {
			select {
			case <-s.news:
			case <-t.Context().Done():
				return
			}
			b := make([]byte, 1500)
			k, e := s.Receive(&fs.Message{Data: [][]byte{b}}, 0)
			if e != 0 {
				continue
			}
			b = b[:k]
			kinds <- b[242]
			b[0] = 2
			copy(b[16:], []byte{10, 0, 0, 77})
			answer := byte(dhcpOffer)
			if b[242] == dhcpRequest {
				answer = dhcpAck
			}
			b = append(b[:240], optionKind, 1, answer, 0, 0, optionMask, 4, 255, 255, 255, 0, optionRouter, 4, 10, 0, 0, 2,
				optionResolvers, 8, 10, 0, 0, 2, 9, 9, 9, 9, optionDomain, 4, 't', 'e', 's', 't', optionTime, 4, 0, 0, 0, seconds,
				optionServer, 4, 10, 0, 0, 2, optionEnd)
			s.ep.Write(newCursor([][]byte{b}), tcpip.WriteOptions{To: &tcpip.FullAddress{NIC: 2,
				Addr: tcpip.AddrFrom4([4]byte{255, 255, 255, 255}), Port: dhcpClientPort}})
		}
	}()
}

func TestDHCP(t *testing.T) {
	var text atomic.Value
	before := setResolver
	setResolver = func(s string) { text.Store(s) }
	defer func() { setResolver = before }()
	_, a, b := newWire(t, false, 0)
	kinds := make(chan byte, 10)
	serveDHCP(t, b, 60, kinds)
	a.stack.RemoveAddress(2, tcpip.AddrFrom4([4]byte{10, 0, 0, 1}))
	a.removeRoute(netip.MustParsePrefix("10.0.0.0/24"), netip.Addr{}, 2)
	a.askFor(a.nics[0])
	a.awaitLeases(firstLease)
	if k, l := <-kinds, <-kinds; k != dhcpDiscover || l != dhcpRequest {
		t.Errorf("the client sent %d, then %d", k, l)
	}
	if got, _ := text.Load().(string); got != "nameserver 10.0.0.2\nnameserver 9.9.9.9\nsearch test\n" {
		t.Errorf("resolv.conf: %q", got)
	}
	addrs := a.interfaces()[1].addrs
	if last := addrs[len(addrs)-1]; len(addrs) != 3 || string(addrs[0].ip) != "\x0a\x00\x00\x4d" && string(last.ip) != "\x0a\x00\x00\x4d" {
		t.Errorf("addresses %+v", addrs)
	}
	carry(t, a, b, "10.0.0.2:0", 1<<16)
	u := open4(t, a, inetDgram)
	if e := u.Connect(sockaddr("192.0.2.1:9")); e != 0 {
		t.Errorf("beyond the router: errno %d", e)
	}

}

// TestLease: what a lease says of times and names.
func TestLease(t *testing.T) {
	m := dhcpMessage{kind: dhcpAck, yours: netip.MustParseAddr("10.1.2.3"), mask: [4]byte{255, 255, 240, 0}, domain: "two words"}
	l := m.lease()
	if l.address.String() != "10.1.2.3/20" || l.time != defaultLease || l.resolver() != "" {
		t.Errorf("%+v, %q", l, l.resolver())
	}
	m.seconds = 1
	if l := m.lease(); l.time != leastLease {
		t.Errorf("for %v", l.time)
	}
	m.kind = dhcpNak
	if l := m.lease(); l.address.IsValid() {
		t.Errorf("%+v after a refusal", l)
	}
	d := dhcpClient{mac: [6]byte{1}}
	request := dhcpMessage{kind: dhcpDiscover, id: [4]byte{9}, mac: d.mac}
	b := request.encode()
	if _, ok := parseDHCP(b); ok || len(b) != dhcpLeast {
		t.Errorf("a request of %d bytes is an answer", len(b))
	}
}

func FuzzDHCP(f *testing.F) {
	m := dhcpMessage{kind: dhcpOffer}
	b := m.encode()
	b[0] = 2
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := parseDHCP(b); ok {
			l := m.lease()
			l.resolver()
			m.answers(&dhcpMessage{kind: dhcpRequest})
		}
	})
}

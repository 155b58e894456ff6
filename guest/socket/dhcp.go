package socket

import (
	"crypto/rand"
	"net/netip"
	"sync"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// dhcpClient asks for an interface's IPv4 address (RFC 2131). All that it sends is
// broadcast, and so are the answers until there is an address.
type dhcpClient struct {
	net  *network
	id   tcpip.NICID
	mac  [6]byte
	news chan struct{} // the socket has something
	over chan struct{} // closed at the end of the machine's life

	mu    sync.Mutex
	ended bool
	sock  *inet
	lease lease
}

const (
	dhcpClientPort = 68
	dhcpServerPort = 67
	dhcpTTL        = 64

	// The first wait for an answer, which doubles up to the last, and how many
	// requests are made before the client begins anew.
	dhcpFirstWait = time.Second
	dhcpLastWait  = 16 * time.Second
	dhcpTries     = 4
	// leastRenewal bounds how often a lease is renewed.
	leastRenewal = 10 * time.Second
)

// askFor has an interface get its address.
func (n *network) askFor(c *nic) {
	c.dhcp = &dhcpClient{
		net: n, id: c.id, mac: [6]byte([]byte(c.LinkAddress())),
		news: make(chan struct{}, 1), over: make(chan struct{}),
	}
	first := make(chan struct{})
	n.mu.Lock()
	n.leases = append(n.leases, first)
	n.mu.Unlock()
	go c.dhcp.configure(first)
}

// end has the client do nothing more. nil does nothing.
func (d *dhcpClient) end() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	close(d.over)
	if d.sock != nil {
		d.sock.Close() // its port is the next one's
	}
}

// isOver is whether the client has ended.
func (d *dhcpClient) isOver() bool {
	select {
	case <-d.over:
		return true
	default:
		return false
	}
}

// configure keeps an interface's address, and tells on first when it has one.
func (d *dhcpClient) configure(first chan<- struct{}) {
	if d.open() != 0 {
		return
	}
	for !d.isOver() {
		l, ok := d.discover()
		if !ok {
			continue
		}
		d.use(l)
		if first != nil {
			close(first)
			first = nil
		}
		d.keep()
	}
}

// open makes the socket that gets the answers.
func (d *dhcpClient) open() fs.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return fs.EBADF
	}
	s, e := d.net.make(afInet, inetDgram, 0)
	if e != 0 {
		return e
	}
	d.sock = s
	s.Watch(func(uint32) {
		select {
		case d.news <- struct{}{}:
		default:
		}
	})
	if err := s.ep.SocketOptions().SetBindToDevice(int32(d.id)); err != nil {
		return errnoOf(err)
	}
	return errnoOf(s.ep.Bind(tcpip.FullAddress{Port: dhcpClientPort}))
}

// discover gets a new lease. It may take until there is a server.
func (d *dhcpClient) discover() (lease, bool) {
	m := dhcpMessage{kind: dhcpDiscover, mac: d.mac}
	offer, ok := d.ask(&m, dhcpTries)
	if !ok {
		return lease{}, false
	}
	m = dhcpMessage{kind: dhcpRequest, mac: d.mac, requested: offer.yours, server: offer.server}
	ack, ok := d.ask(&m, dhcpTries)
	return ack.lease(), ok && ack.kind == dhcpAck
}

// keep renews the lease until it cannot be, and then gives the address up.
func (d *dhcpClient) keep() {
	end := time.Now().Add(d.lease.time)
	for {
		left := time.Until(end)
		if left <= 0 {
			break
		}
		select {
		case <-time.After(min(left, max(left/2, leastRenewal))):
		case <-d.over:
			return
		}
		m := dhcpMessage{kind: dhcpRequest, mac: d.mac, client: d.lease.address.Addr()}
		ack, ok := d.ask(&m, 1)
		if !ok {
			continue
		}
		if l := ack.lease(); ack.kind == dhcpAck && l.address.IsValid() {
			end = time.Now().Add(l.time)
			d.use(l)
			continue
		}
		break
	}
	d.use(lease{})
}

// use has the stack do as a lease says, in place of the one before.
func (d *dhcpClient) use(l lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	old := d.lease
	d.lease = l
	if old.address != l.address && old.address.IsValid() {
		d.net.stack.RemoveAddress(d.id, stackAddr(old.address.Addr()))
		d.net.removeRoute(old.address, netip.Addr{}, d.id)
	}
	if old.router != l.router && old.router.IsValid() {
		d.net.removeRoute(anywhere4, old.router, d.id)
	}
	if !l.address.IsValid() {
		return
	}
	if old.address != l.address {
		d.net.addAddress(d.id, l.address)
	}
	if l.router.IsValid() {
		d.net.addRoute(anywhere4, l.router, d.id)
	}
	if text := l.resolver(); text != "" && text != old.resolver() {
		setResolver(text)
	}
}

var anywhere4 = netip.MustParsePrefix("0.0.0.0/0")

// ask sends a request until there is an answer to it.
func (d *dhcpClient) ask(m *dhcpMessage, tries int) (answer dhcpMessage, ok bool) {
	rand.Read(m.id[:])
	wait := dhcpFirstWait
	for range tries {
		if d.isOver() {
			return answer, false
		}
		d.send(m)
		if answer, ok = d.await(m, time.After(wait)); ok {
			return answer, true
		}
		wait = min(2*wait, dhcpLastWait)
	}
	return answer, false
}

// await is the first answer to a request, unless it is late.
func (d *dhcpClient) await(m *dhcpMessage, late <-chan time.Time) (answer dhcpMessage, ok bool) {
	b := make([]byte, 1500)
	for {
		n, e := d.sock.receiveDatagram(&fs.Message{Data: [][]byte{b}}, 0)
		if e != 0 { // there is nothing yet, or never will be
			select {
			case <-d.news:
			case <-late:
				return answer, false
			case <-d.over:
				return answer, false
			}
			continue
		}
		if answer, ok = parseDHCP(b[:n]); ok && answer.answers(m) {
			return answer, true
		}
	}
}

// send broadcasts a request. While there is no address only a whole packet can be sent.
func (d *dhcpClient) send(m *dhcpMessage) {
	data := m.encode()
	b := make([]byte, header.IPv4MinimumSize+header.UDPMinimumSize, header.IPv4MinimumSize+header.UDPMinimumSize+len(data))
	b = append(b, data...)
	source := any4
	if m.client.IsValid() {
		source = stackAddr(m.client)
	}
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(b)), TTL: dhcpTTL, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: source, DstAddr: header.IPv4Broadcast})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(b[header.IPv4MinimumSize:])
	udp.Encode(&header.UDPFields{SrcPort: dhcpClientPort, DstPort: dhcpServerPort, Length: uint16(len(udp))})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, source, header.IPv4Broadcast, uint16(len(udp)))
	udp.SetChecksum(^checksum.Checksum(udp, sum))
	d.net.stack.WritePacketToRemote(d.id, header.EthernetBroadcastAddress, header.IPv4ProtocolNumber, buffer.MakeWithData(b))
}

package hv

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	netbuffer "gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	tcpheader "gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/pvrun/pvrun/hv/nic"
)

// lan is a switch with machines at it, and a host at 10.9.0.1 that has services.
type lan struct {
	host *stack.Stack
	out  *channel.Endpoint // what the host sends

	mu    sync.Mutex
	ports []int // descriptors
	byMAC map[[6]byte]int
	seen  [][]byte // all frames of machines
}

const lanHeader = nic.HeaderSize

var lanHost = tcpip.AddrFrom4([4]byte{10, 9, 0, 1})

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{out: channel.New(4096, 1500, "\x02\x00\x00\x00\x00\x01"), byMAC: map[[6]byte]int{}}
	l.host = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := l.host.CreateNIC(1, ethernet.New(l.out)); err != nil {
		t.Fatal(err)
	}
	addr := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: lanHost, PrefixLen: 16}}
	if err := l.host.AddProtocolAddress(1, addr, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	l.host.AddRoute(tcpip.Route{Destination: addr.AddressWithPrefix.Subnet(), NIC: 1})
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		for pkt := l.out.ReadContext(ctx); pkt != nil; pkt = l.out.ReadContext(ctx) {
			l.carry(-1, pkt.ToView().AsSlice())
			pkt.DecRef()
		}
	}()
	l.serve(t)
	t.Cleanup(func() {
		stop()
		l.host.Destroy()
	})
	return l
}

// serve has port 80 say who has come, port 81 take what comes, and UDP port 53 answer.
func (l *lan) serve(t *testing.T) {
	go answerNames(l.udp(t, 53))
	for port, do := range map[uint16]func(net.Conn){
		80: func(c net.Conn) { io.WriteString(c, "host to "+c.RemoteAddr().String()) },
		81: func(c net.Conn) { io.Copy(io.Discard, c) },
	} {
		at, err := gonet.ListenTCP(l.host, tcpip.FullAddress{Port: port}, ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for c, err := at.Accept(); err == nil; c, err = at.Accept() {
				go func() { do(c); c.Close() }()
			}
		}()
		t.Cleanup(func() { at.Close() })
	}
}

// answerNames says of all names that there is no such.
func answerNames(c *gonet.UDPConn) {
	for b := make([]byte, 1500); ; {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if n > 3 {
			b[2], b[3] = b[2]|0x80, 0x83 // RFC 1035, 4.1.1: QR; RA and NXDOMAIN
			c.WriteTo(b[:n], from)
		}
	}
}

// udp is a socket of the host's.
func (l *lan) udp(t *testing.T, port uint16) *gonet.UDPConn {
	t.Helper()
	c, err := gonet.DialUDP(l.host, &tcpip.FullAddress{Port: port}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// plug is a new port's link, for a machine.
func (l *lan) plug(t *testing.T) nic.Link {
	t.Helper()
	link, peer := linkPair(t, false)
	unix.SetNonblock(peer.FD, false)
	l.mu.Lock()
	n := len(l.ports)
	l.ports = append(l.ports, peer.FD)
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 1<<16); ; {
			k, err := unix.Read(peer.FD, b)
			if err == unix.EINTR {
				continue
			}
			if err != nil || k < lanHeader+14 {
				return
			}
			l.carry(n, slices.Clone(b[lanHeader:k]))
		}
	}()
	t.Cleanup(func() { unix.Shutdown(peer.FD, unix.SHUT_RDWR); <-done })
	return link
}

// carry brings a frame from a port, or the host's at -1, to where it shall go.
func (l *lan) carry(from int, frame []byte) {
	to := [6]byte(frame)
	l.mu.Lock()
	list, port, known := slices.Clone(l.ports), 0, false
	if from >= 0 {
		l.seen = append(l.seen, frame)
		l.byMAC[[6]byte(frame[6:])] = from
	}
	port, known = l.byMAC[to]
	l.mu.Unlock()
	for i, fd := range list {
		if i != from && (i == port || !known) {
			unix.Sendto(fd, append(make([]byte, lanHeader), frame...), unix.MSG_DONTWAIT, nil)
		}
	}
	if from >= 0 && (to[0]&1 != 0 || to == [6]byte{2, 0, 0, 0, 0, 1}) {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: netbuffer.MakeWithData(frame)})
		l.out.InjectInbound(0, pkt)
		pkt.DecRef()
	}
}

// frames are those of machines so far.
func (l *lan) frames() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

// tcp4 is the TCP segment in a frame, if it is one, and the address that it comes from.
func tcp4(frame []byte) (from netip.Addr, h tcpheader.TCP) {
	if len(frame) < 54 || frame[12] != 8 || frame[13] != 0 || frame[23] != 6 {
		return from, nil
	}
	return netip.AddrFrom4([4]byte(frame[26:])), tcpheader.TCP(frame[14+int(frame[14]&15)*4:])
}

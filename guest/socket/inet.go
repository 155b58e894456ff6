package socket

import (
	"sync"
	"sync/atomic"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Socket types (Linux, include/linux/net.h) and protocols (include/uapi/linux/in.h).
const (
	inetStream = 1
	inetDgram  = 2
	inetRaw    = 3

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoRaw    = 255
)

// inet is a socket of AF_INET or AF_INET6: an endpoint of netstack in Linux's terms.
type inet struct {
	net                   *network
	ep                    tcpip.Endpoint
	queue                 *waiter.Queue
	entry                 waiter.Entry // in queue, once it is watched
	domain, typ, protocol int

	// shut is what this side has ended of a stream: a bit for each of Shutdown's.
	shut atomic.Int32
	// begun is whether there was a Connect: a stream that is closed before has no
	// other side that could have ended it.
	begun atomic.Bool

	opts  inetOptions
	class sync.RWMutex // held for writing while one datagram has a traffic class of its own
}

// inetOptions are options that netstack does not keep.
type inetOptions struct {
	mu    sync.Mutex
	plain map[optionName]int
}

func newInet(domain, typ, protocol int) (fs.Socket, fs.Errno) {
	s, e := theNetwork().open(domain, typ, protocol)
	if e != 0 {
		return nil, e
	}
	return s, 0
}

// open makes a socket of a program's.
func (n *network) open(domain, typ, protocol int) (*inet, fs.Errno) {
	n.settle()
	return n.make(domain, typ, protocol)
}

func (n *network) make(domain, typ, protocol int) (*inet, fs.Errno) {
	if protocol < 0 || protocol > 255 {
		return nil, fs.EINVAL
	}
	if typ != inetStream && typ != inetDgram && typ != inetRaw {
		return nil, fs.ESOCKTNOSUPPORT
	}
	number, e := transportOf(domain, typ, protocol)
	if e != 0 {
		return nil, e
	}
	network := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
	if domain == afInet6 {
		network = ipv6.ProtocolNumber
	}
	s := &inet{net: n, queue: new(waiter.Queue), domain: domain, typ: typ, protocol: protocol}
	if protocol == 0 {
		s.protocol = int(number)
	}
	var err tcpip.Error
	if typ == inetRaw {
		s.ep, err = n.stack.NewRawEndpoint(number, network, s.queue, protocol != protoRaw)
	} else {
		s.ep, err = n.stack.NewEndpoint(number, network, s.queue)
	}
	return s, errnoOf(err)
}

// transportOf is the protocol of a socket, which a protocol of 0 leaves to its type.
func transportOf(domain, typ, protocol int) (tcpip.TransportProtocolNumber, fs.Errno) {
	ping := protocol == protoICMP && domain == afInet || protocol == protoICMPv6 && domain == afInet6
	switch {
	case typ == inetStream && (protocol == 0 || protocol == protoTCP):
		return tcp.ProtocolNumber, 0
	case typ == inetDgram && (protocol == 0 || protocol == protoUDP):
		return udp.ProtocolNumber, 0
	case typ == inetDgram && ping && domain == afInet:
		return icmp.ProtocolNumber4, 0
	case typ == inetDgram && ping:
		return icmp.ProtocolNumber6, 0
	case typ != inetRaw || protocol == 0:
		return 0, fs.EPROTONOSUPPORT
	case protocol == protoRaw:
		return 0, 0
	case ping, protocol == protoTCP, protocol == protoUDP:
		return tcpip.TransportProtocolNumber(protocol), 0
	}
	return 0, fs.EPROTONOSUPPORT
}

func (s *inet) Kind() (domain, typ, protocol int) { return s.domain, s.typ, s.protocol }

// Watch has netstack call changed. It may do that with locks held that Ready takes, so
// changed gets what netstack tells, which says at least what is new.
func (s *inet) Watch(changed func(events uint32)) {
	s.entry = waiter.NewFunctionEntry(waiter.AllEvents, func(m waiter.EventMask) {
		const known = fs.EPOLLIN | fs.EPOLLOUT | fs.EPOLLERR | fs.EPOLLHUP | fs.EPOLLRDHUP
		changed(uint32(m) & known)
	})
	s.queue.EventRegister(&s.entry)
}

// Ready is Linux's tcp_poll (net/ipv4/tcp.c) and datagram_poll (net/core/datagram.c).
func (s *inet) Ready() uint32 {
	m := uint32(s.ep.Readiness(waiter.ReadableEvents | waiter.WritableEvents))
	if s.typ != inetStream {
		return m & (fs.EPOLLIN | fs.EPOLLOUT | fs.EPOLLERR)
	}
	switch tcp.EndpointState(s.ep.State()) {
	case tcp.StateInitial, tcp.StateBound:
		return fs.EPOLLOUT | fs.EPOLLHUP
	case tcp.StateListen:
		return m & fs.EPOLLIN
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return 0
	case tcp.StateError:
		return fs.EPOLLIN | fs.EPOLLOUT | fs.EPOLLERR | fs.EPOLLHUP | fs.EPOLLRDHUP
	}
	in, out := s.ended()
	m &= fs.EPOLLIN | fs.EPOLLOUT
	switch {
	case in && out:
		m |= fs.EPOLLIN | fs.EPOLLOUT | fs.EPOLLRDHUP | fs.EPOLLHUP
	case in:
		m |= fs.EPOLLIN | fs.EPOLLRDHUP
	case out:
		m |= fs.EPOLLOUT
	}
	return m
}

// ended is whether a connection's directions have come to their end.
func (s *inet) ended() (in, out bool) {
	shut := s.shut.Load()
	in = shut&int32(tcpip.ShutdownRead) != 0
	out = shut&int32(tcpip.ShutdownWrite) != 0
	switch tcp.EndpointState(s.ep.State()) {
	case tcp.StateCloseWait:
		in = true
	case tcp.StateFinWait1, tcp.StateFinWait2:
		out = true
	case tcp.StateClosing, tcp.StateLastAck, tcp.StateTimeWait, tcp.StateClose:
		in, out = true, true
	}
	return in, out
}

func (s *inet) Buffered() int {
	n, err := s.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	if err != nil {
		return 0
	}
	return n
}

// Close ends the socket. Netstack sends what is left by itself.
func (s *inet) Close() {
	if s.entry.Mask() != 0 {
		s.queue.EventUnregister(&s.entry)
	}
	s.ep.Close()
}

package socket

import (
	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

func (s *inet) isStream() bool { return s.typ == inetStream }

func (s *inet) Bind(addr []byte) fs.Errno {
	s.net.settle()
	family, e := familyOf(addr)
	if e != 0 {
		return e
	}
	if s.domain == afInet && family == afUnspec && len(addr) >= sizeSockaddr4 {
		// Old programs leave the family out (Linux, net/ipv4/af_inet.c, __inet_bind).
		addr = append([]byte{afInet, 0}, addr[2:]...)
	}
	a, e := decodeAddr(s.domain, addr)
	if e != 0 {
		return e
	}
	err := s.ep.Bind(source(a))
	if _, ok := err.(*tcpip.ErrNoPortAvailable); ok {
		return fs.EADDRINUSE
	}
	return errnoOf(err)
}

func (s *inet) Connect(addr []byte) fs.Errno {
	s.net.settle()
	family, e := familyOf(addr)
	if e != 0 {
		return e
	}
	if family == afUnspec {
		return s.disconnect()
	}
	a, e := s.decodeTarget(addr)
	if e != 0 {
		return e
	}
	s.begun.Store(true)
	err := s.ep.Connect(a)
	if _, ok := err.(*tcpip.ErrNoPortAvailable); ok && s.isStream() {
		return fs.EADDRNOTAVAIL
	}
	return errnoOf(err)
}

func (s *inet) disconnect() fs.Errno {
	err := s.ep.Disconnect()
	if _, ok := err.(*tcpip.ErrNotSupported); ok {
		return fs.EAFNOSUPPORT
	}
	return errnoOf(err)
}

// decodeTarget is the address to connect or send to. Datagrams of a socket of IPv6
// may go to one of IPv4 (Linux, net/ipv6/udp.c).
func (s *inet) decodeTarget(addr []byte) (a tcpip.FullAddress, e fs.Errno) {
	family, e := familyOf(addr)
	if e != 0 {
		return a, e
	}
	if s.domain == afInet6 && family == afInet && s.typ == inetDgram {
		if s.ep.SocketOptions().GetV6Only() {
			return a, fs.ENETUNREACH
		}
		a, e = decodeAddr(afInet, addr)
		a = target(a)
		a.Addr = tcpip.AddrFrom16(addr16(a.Addr))
		return a, e
	}
	a, e = decodeAddr(s.domain, addr)
	return target(a), e
}

// maxBacklog is Linux's default of net.core.somaxconn.
const maxBacklog = 4096

func (s *inet) Listen(backlog int) fs.Errno {
	if !s.isStream() {
		return fs.ENOTSUP
	}
	if backlog < 0 || backlog > maxBacklog {
		backlog = maxBacklog
	}
	return errnoOf(s.ep.Listen(backlog + 1)) // Linux takes one more as well
}

func (s *inet) Accept() (fs.Socket, []byte, fs.Errno) {
	if !s.isStream() {
		return nil, nil, fs.ENOTSUP
	}
	s.net.current()
	var peer tcpip.FullAddress
	var queue *waiter.Queue
	ep, queue, err := s.ep.Accept(&peer)
	if err != nil {
		atAccept(s)
		return nil, nil, errnoOf(err)
	}
	c := &inet{net: s.net, ep: ep, queue: queue, domain: s.domain, typ: s.typ, protocol: s.protocol}
	c.begun.Store(true)
	return c, encodeAddr(s.domain, peer), 0
}

func (s *inet) Local() ([]byte, fs.Errno) {
	s.net.current()
	a, err := s.ep.GetLocalAddress()
	if err != nil {
		return nil, errnoOf(err)
	}
	return encodeAddr(s.domain, a), 0
}

func (s *inet) Peer() ([]byte, fs.Errno) {
	a, err := s.ep.GetRemoteAddress()
	if err != nil {
		return nil, errnoOf(err)
	}
	return encodeAddr(s.domain, a), 0
}

// Shutdown's arguments (Linux, include/linux/net.h) are one less than the bits of the
// directions.
func (s *inet) Shutdown(how int) fs.Errno {
	if how < 0 || how > 2 {
		return fs.EINVAL
	}
	flags := tcpip.ShutdownFlags(how + 1) // ShutdownRead, ShutdownWrite, both
	e := errnoOf(s.ep.Shutdown(flags))
	if e == 0 && s.isStream() {
		s.shut.Or(int32(flags))
	}
	return e
}

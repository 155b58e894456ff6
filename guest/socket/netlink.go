package socket

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/pvrun/pvrun/guest/fs"
)

// netlinkSocket is a socket of netlink(7), NETLINK_ROUTE. It tells of interfaces,
// addresses and the routes to them; nothing can be changed by it, and no news come.
type netlinkSocket struct {
	typ int

	mu      sync.Mutex
	changed func(events uint32)
	port    uint32 // its address; 0 for none yet
	groups  uint32
	full    bool // answers were lost
	queue   [][]byte
	queued  int // bytes in queue
	closed  bool
}

const (
	netlinkRoute  = 0 // NETLINK_ROUTE
	solNetlink    = 270
	netlinkAddr   = 12 // bytes of struct sockaddr_nl
	netlinkBuffer = 212992
	// netlinkDatagram is the most of a dump in one datagram, in bytes: readers have
	// a page.
	netlinkDatagram = 3584
)

// netlinkPorts are the addresses in use.
var netlinkPorts struct {
	mu   sync.Mutex
	used map[uint32]bool
	last uint32
}

func newNetlink(typ, protocol int) (fs.Socket, fs.Errno) {
	switch {
	case typ != fs.SOCK_RAW && typ != fs.SOCK_DGRAM:
		return nil, fs.ESOCKTNOSUPPORT
	case protocol != netlinkRoute:
		return nil, fs.EPROTONOSUPPORT
	}
	return &netlinkSocket{typ: typ}, 0
}

func (s *netlinkSocket) Kind() (domain, typ, protocol int) { return fs.AF_NETLINK, s.typ, netlinkRoute }

func (s *netlinkSocket) Watch(changed func(events uint32)) { s.changed = changed }

// netlinkPort is the port and the groups in an address.
func netlinkPort(addr []byte) (port, groups uint32, e fs.Errno) {
	if len(addr) < netlinkAddr || binary.LittleEndian.Uint16(addr) != fs.AF_NETLINK {
		return 0, 0, fs.EINVAL
	}
	return binary.LittleEndian.Uint32(addr[4:]), binary.LittleEndian.Uint32(addr[8:]), 0
}

func netlinkAddress(port, groups uint32) []byte {
	b := make([]byte, netlinkAddr)
	binary.LittleEndian.PutUint16(b, fs.AF_NETLINK)
	binary.LittleEndian.PutUint32(b[4:], port)
	binary.LittleEndian.PutUint32(b[8:], groups)
	return b
}

func (s *netlinkSocket) Bind(addr []byte) fs.Errno {
	port, groups, e := netlinkPort(addr)
	if e != 0 {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port != 0 && port != s.port {
		return fs.EINVAL
	}
	s.groups = groups
	return s.bind(port)
}

// bind takes a port, any for 0. The caller holds the lock.
func (s *netlinkSocket) bind(port uint32) fs.Errno {
	if s.port != 0 {
		return 0
	}
	p := &netlinkPorts
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == nil {
		p.used = make(map[uint32]bool)
	}
	switch {
	case port != 0 && p.used[port]:
		return fs.EADDRINUSE
	case port == 0:
		// The first is the process's number, as on Linux.
		for port = unixPID; p.used[port]; port = 1<<31 | p.last {
			p.last++
		}
	}
	p.used[port] = true
	s.port = port
	return 0
}

// Connect says whom Send speaks to: the kernel, and nobody else.
func (s *netlinkSocket) Connect(addr []byte) fs.Errno {
	if len(addr) >= 2 && binary.LittleEndian.Uint16(addr) == fs.AF_UNSPEC {
		return 0
	}
	port, _, e := netlinkPort(addr)
	if e == 0 && port != 0 {
		e = fs.ECONNREFUSED
	}
	if e != 0 {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bind(0)
}

func (s *netlinkSocket) Listen(int) fs.Errno                   { return fs.ENOTSUP }
func (s *netlinkSocket) Accept() (fs.Socket, []byte, fs.Errno) { return nil, nil, fs.ENOTSUP }
func (s *netlinkSocket) Shutdown(int) fs.Errno                 { return fs.ENOTSUP }
func (s *netlinkSocket) Peer() ([]byte, fs.Errno)              { return netlinkAddress(0, 0), 0 }

func (s *netlinkSocket) Local() ([]byte, fs.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return netlinkAddress(s.port, s.groups), 0
}

func (s *netlinkSocket) Ready() (events uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		events |= fs.EPOLLIN
	}
	if s.full {
		events |= fs.EPOLLERR
	}
	return events | fs.EPOLLOUT
}

func (s *netlinkSocket) Buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return 0
	}
	return len(s.queue[0])
}

func (s *netlinkSocket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.queue = true, nil
	netlinkPorts.mu.Lock()
	delete(netlinkPorts.used, s.port)
	netlinkPorts.mu.Unlock()
}

// Send answers the requests in m at once.
func (s *netlinkSocket) Send(m *fs.Message, flags int) (int, fs.Errno) {
	if len(m.Addr) > 0 {
		port, _, e := netlinkPort(m.Addr)
		if e == 0 && port != 0 {
			e = fs.ECONNREFUSED
		}
		if e != 0 {
			return 0, e
		}
	}
	n := size(m.Data)
	switch {
	case flags&fs.MSG_OOB != 0:
		return 0, fs.ENOTSUP
	case n > netlinkBuffer-32:
		return 0, fs.EMSGSIZE
	}
	s.mu.Lock()
	e := s.bind(0)
	port := s.port
	s.mu.Unlock()
	if e != 0 {
		return 0, e
	}
	s.put(answers(slices.Concat(m.Data...), port))
	return n, 0
}

// put queues datagrams, as many as there is room for.
func (s *netlinkSocket) put(list [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range list {
		if s.closed || s.queued+len(b)+unixOverhead > netlinkBuffer {
			s.full = true
			break
		}
		s.queue = append(s.queue, b)
		s.queued += len(b) + unixOverhead
	}
	if len(list) > 0 && s.changed != nil {
		s.changed(fs.EPOLLIN)
	}
}

func (s *netlinkSocket) Receive(m *fs.Message, flags int) (int, fs.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case flags&fs.MSG_OOB != 0:
		return 0, fs.ENOTSUP
	case s.full:
		s.full = false
		return 0, fs.ENOBUFS
	case len(s.queue) == 0:
		return 0, fs.EAGAIN
	}
	b := s.queue[0]
	if flags&fs.MSG_PEEK == 0 {
		s.queue[0] = nil
		s.queue = s.queue[1:]
		s.queued -= len(b) + unixOverhead
	}
	rest := b
	for _, to := range m.Data {
		rest = rest[copy(to, rest):]
	}
	m.Addr = append(m.Addr[:0], netlinkAddress(0, 0)...)
	if len(rest) > 0 {
		m.Flags |= fs.MSG_TRUNC
		if flags&fs.MSG_TRUNC == 0 {
			return len(b) - len(rest), 0
		}
	}
	return len(b), 0
}

func (s *netlinkSocket) Option(level, name int) ([]byte, fs.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := uint32(0)
	switch {
	case level == solNetlink:
	case level != fs.SOL_SOCKET:
		return nil, fs.ENOPROTOOPT
	case name == fs.SO_TYPE:
		v = uint32(s.typ)
	case name == fs.SO_DOMAIN:
		v = fs.AF_NETLINK
	case name == fs.SO_ERROR && s.full:
		s.full = false
		v = uint32(fs.ENOBUFS)
	case name == fs.SO_SNDBUF || name == fs.SO_RCVBUF:
		v = netlinkBuffer
	}
	return binary.LittleEndian.AppendUint32(nil, v), 0
}

// SetOption takes what readers of routes set: none of it changes what is answered.
func (s *netlinkSocket) SetOption(level, _ int, value []byte) fs.Errno {
	switch {
	case level != solNetlink && level != fs.SOL_SOCKET:
		return fs.ENOPROTOOPT
	case len(value) < 4:
		return fs.EINVAL
	}
	return 0
}

package socket

import (
	"slices"
	"sync"

	"github.com/pvrun/pvrun/guest/fs"
)

// unixSocket is a socket of unix(7). One lock is enough for all: what is done under it
// is short, and a connection's ends would need each other's all the time. Rights are
// closed without it, since that may close a socket.
type unixSocket struct {
	typ     int
	changed func(events uint32) // nil until somebody has accepted it
	name    []byte              // struct sockaddr_un; nil while it has none
	peer    *unixSocket         // it stays when that is closed, for its name
	state   unixState
	shut    int      // unixReceives and unixSends that are over
	err     fs.Errno // SO_ERROR
	closed  bool

	backlog int
	pending []*unixSocket // connections that nobody has accepted
	waiting []*unixSocket // who waits for room here

	in      unixRing
	packets []unixPacket // of datagrams and SOCK_SEQPACKET, in place of in
	sent    int          // charge of the packets that others hold

	sendBuffer, receiveBuffer int
	passes                    bool // SO_PASSCRED
	own, theirs               unixCred
	flags                     map[int]int32 // options that only keep their value
}

type unixState int

const (
	unixIdle unixState = iota
	unixListening
	unixConnected
)

// Directions.
const (
	unixReceives = 1
	unixSends    = 2
	unixBoth     = 3
)

// unixes is what all of them share.
var unixes struct {
	mu    sync.Mutex
	names map[unixID]*unixSocket // abstract ones
	last  uint32                 // number that a name was made of
}

const (
	unixBuffer     = 212992 // bytes: Linux's net.core.wmem_default
	unixMaxBacklog = 4096   // net.core.somaxconn
	// unixOverhead is what a packet is charged beside its bytes.
	unixOverhead = 768
)

// unixQueue is how many packets wait for one that is not connected to their sender:
// net.unix.max_dgram_qlen, as systemd sets it.
var unixQueue = 512

func newUnix(typ, protocol int) (fs.Socket, fs.Errno) {
	switch {
	case protocol != 0 && protocol != fs.AF_UNIX:
		return nil, fs.EPROTONOSUPPORT
	case typ == fs.SOCK_RAW:
		typ = fs.SOCK_DGRAM
	case typ != fs.SOCK_STREAM && typ != fs.SOCK_DGRAM && typ != fs.SOCK_SEQPACKET:
		return nil, fs.ESOCKTNOSUPPORT
	}
	return makeUnix(typ), 0
}

func makeUnix(typ int) *unixSocket {
	return &unixSocket{typ: typ, sendBuffer: unixBuffer, receiveBuffer: unixBuffer, own: ownCred(), theirs: unixNobody}
}

func newUnixPair(typ, protocol int) (a, b fs.Socket, e fs.Errno) {
	if a, e = newUnix(typ, protocol); e != 0 {
		return nil, nil, e
	}
	one := a.(*unixSocket)
	other := makeUnix(one.typ)
	one.join(other)
	return one, other, 0
}

// join connects two sockets.
func (s *unixSocket) join(o *unixSocket) {
	s.peer, o.peer = o, s
	s.state, o.state = unixConnected, unixConnected
	s.theirs, o.theirs = o.own, s.own
}

func (s *unixSocket) Kind() (domain, typ, protocol int) { return fs.AF_UNIX, s.typ, 0 }

func (s *unixSocket) Watch(changed func(events uint32)) {
	unixes.mu.Lock()
	s.changed = changed
	unixes.mu.Unlock()
}

// connects is whether it is of a type that has connections.
func (s *unixSocket) connects() bool { return s.typ != fs.SOCK_DGRAM }

// wake tells of events that may be news. The caller holds the lock, as it does for
// all that follows with a small letter.
func (s *unixSocket) wake(events uint32) {
	if s.changed != nil {
		s.changed(events)
	}
}

// wait has o woken when there is room here.
func (s *unixSocket) wait(o *unixSocket) {
	if !slices.Contains(s.waiting, o) {
		s.waiting = append(s.waiting, o)
	}
}

// room wakes who waits for it.
func (s *unixSocket) room() {
	list := s.waiting
	s.waiting = nil
	for _, o := range list {
		if !o.closed {
			o.wake(o.ready())
		}
	}
}

func (s *unixSocket) Ready() uint32 {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	return s.ready()
}

// ready follows Linux's unix_poll and unix_dgram_poll.
func (s *unixSocket) ready() (events uint32) {
	if s.err != 0 {
		events |= fs.EPOLLERR
	}
	if s.shut == unixBoth || s.connects() && s.state == unixIdle {
		events |= fs.EPOLLHUP
	}
	if s.shut&unixReceives != 0 {
		events |= fs.EPOLLRDHUP | fs.EPOLLIN
	}
	if len(s.pending) > 0 || s.in.n > 0 || len(s.packets) > 0 {
		events |= fs.EPOLLIN
	}
	if s.writable() {
		events |= fs.EPOLLOUT
	}
	return events
}

// writable is whether a good part of the buffer is free. Who is told that it is not
// will be woken.
func (s *unixSocket) writable() bool {
	p := s.peer
	switch {
	case s.state == unixListening:
		return false
	case s.typ == fs.SOCK_STREAM:
		return p == nil || p.in.charge()*4 <= s.sendBuffer
	case p != nil && !p.closed && p.peer != s && p.crowded():
		p.wait(s)
		return false
	}
	return s.sent*4 <= s.sendBuffer
}

func (s *unixSocket) Buffered() int {
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	n := s.in.n
	for i := range s.packets {
		n += len(s.packets[i].data)
		if s.typ == fs.SOCK_DGRAM {
			break
		}
	}
	return n
}

func (s *unixSocket) Shutdown(how int) fs.Errno {
	if how < fs.SHUT_RD || how > fs.SHUT_RDWR {
		return fs.EINVAL
	}
	unixes.mu.Lock()
	defer unixes.mu.Unlock()
	ends := how + 1
	s.shut |= ends
	s.wake(s.ready())
	if p := s.peer; p != nil && s.connects() {
		// What one end does no more, the other cannot answer.
		p.shut |= ends>>1&1 | ends<<1&2
		p.wake(p.ready())
	}
	return 0
}

func (s *unixSocket) Close() {
	unixes.mu.Lock()
	var rights []fs.Right
	s.close(&rights)
	unixes.mu.Unlock()
	closeRights(rights)
}

func closeRights(list []fs.Right) {
	for _, r := range list {
		r.Close()
	}
}

// close adds the rights that nobody has received to list.
func (s *unixSocket) close(list *[]fs.Right) {
	unread := s.in.n > 0 || len(s.packets) > 1 || len(s.packets) == 1 && len(s.packets[0].data) > 0
	s.closed, s.shut = true, unixBoth
	// Connections that it has accepted have the same name.
	if id := (unixID{s.typ, abstract(s.name)}); unixes.names[id] == s {
		delete(unixes.names, id)
	}
	for _, c := range s.pending {
		p := c.peer
		c.close(list)
		p.err = fs.ECONNRESET
		p.wake(p.ready())
	}
	s.pending = nil
	if p := s.peer; p != nil && s.connects() {
		p.shut = unixBoth
		if unread {
			p.err = fs.ECONNRESET
		}
		p.wake(p.ready())
	}
	s.peer = nil
	s.in.drop(list)
	s.drop(list)
	s.room()
}

// drop takes all packets for nobody.
func (s *unixSocket) drop(list *[]fs.Right) {
	for len(s.packets) > 0 {
		p := s.take()
		*list = append(*list, p.rights...)
	}
}

// failed takes the error that there is.
func (s *unixSocket) failed() fs.Errno {
	e := s.err
	s.err = 0
	return e
}

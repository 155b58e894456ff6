package socket

import (
	"io"
	"sync"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// MSG_ bits that the sockets of this file know (Linux, include/linux/socket.h).
const (
	inetOOB      = 0x1
	inetPeek     = 0x2
	inetTrunc    = 0x20
	inetEOR      = 0x80
	inetErrQueue = 0x2000
	inetMore     = 0x8000
)

// cursor goes through the slices of a message, as what netstack reads from and writes
// to. A slice is copied once, to or from netstack's own buffers.
type cursor struct {
	list [][]byte // what is left, the first from off on
	off  int
	left int // bytes
}

// cursors keeps those that are not in use: one that netstack sees is on the heap.
var cursors = sync.Pool{New: func() any { return new(cursor) }}

func newCursor(list [][]byte) *cursor {
	c := cursors.Get().(*cursor)
	c.list, c.off, c.left = list, 0, 0
	for _, b := range list {
		c.left += len(b)
	}
	return c
}

func (c *cursor) release() {
	c.list = nil
	cursors.Put(c)
}

// Len is part of tcpip.Payloader.
func (c *cursor) Len() int { return c.left }

// Read is part of tcpip.Payloader.
func (c *cursor) Read(b []byte) (n int, err error) {
	for n < len(b) && c.left > 0 {
		n += c.advance(copy(b[n:], c.list[0][c.off:]))
	}
	if n == 0 && c.left == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write fills the slices.
func (c *cursor) Write(b []byte) (n int, err error) {
	for n < len(b) && c.left > 0 {
		n += c.advance(copy(c.list[0][c.off:], b[n:]))
	}
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (c *cursor) advance(n int) int {
	c.off += n
	c.left -= n
	if c.off == len(c.list[0]) {
		c.list, c.off = c.list[1:], 0
	}
	return n
}

// discard is Write without keeping anything.
type discard struct{ left int }

func (d *discard) Write(b []byte) (int, error) {
	n := min(len(b), d.left)
	d.left -= n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (s *inet) Send(m *fs.Message, flags int) (int, fs.Errno) {
	s.net.settle()
	switch {
	case flags&inetOOB != 0:
		return 0, fs.ENOTSUP // netstack has no urgent data
	case len(m.Rights) > 0:
		return 0, fs.EINVAL
	}
	opts := tcpip.WriteOptions{More: flags&inetMore != 0, EndOfRecord: flags&inetEOR != 0}
	if !s.isStream() {
		if e := s.sendOptions(m, &opts); e != 0 {
			return 0, e
		}
	}
	c := newCursor(m.Data)
	defer c.release()
	if c.left == 0 && s.isStream() {
		return 0, 0
	}
	n, err := s.write(c, opts, m.Control)
	return int(n), s.sendError(err)
}

// write is netstack's, with the traffic class that control messages ask for. Netstack
// has one for a socket only: while it is another, nothing else is sent.
func (s *inet) write(c *cursor, opts tcpip.WriteOptions, control []byte) (int64, tcpip.Error) {
	if s.isStream() {
		return s.ep.Write(c, opts)
	}
	option, class, ok := trafficClass(control)
	if !ok {
		s.class.RLock()
		defer s.class.RUnlock()
		return s.ep.Write(c, opts)
	}
	s.class.Lock()
	defer s.class.Unlock()
	usual, err := s.ep.GetSockOptInt(option)
	if err == nil {
		err = s.ep.SetSockOptInt(option, class)
	}
	if err != nil {
		return 0, err
	}
	defer s.ep.SetSockOptInt(option, usual)
	return s.ep.Write(c, opts)
}

// sendOptions takes what goes with one datagram from a message.
func (s *inet) sendOptions(m *fs.Message, opts *tcpip.WriteOptions) fs.Errno {
	if len(m.Addr) > 0 {
		to, e := s.decodeTarget(m.Addr)
		if e != 0 {
			return e
		}
		opts.To = &to
	}
	return s.sendControl(m.Control, opts)
}

// sendError is the error of a Send. A stream without a connection is EPIPE, and a
// datagram without an address EDESTADDRREQ as netstack says it.
func (s *inet) sendError(err tcpip.Error) fs.Errno {
	if _, ok := err.(*tcpip.ErrNotConnected); ok && s.isStream() {
		return fs.EPIPE
	}
	return errnoOf(err)
}

func (s *inet) Receive(m *fs.Message, flags int) (int, fs.Errno) {
	s.net.current()
	switch {
	case flags&inetErrQueue != 0:
		return 0, fs.EAGAIN // nothing is ever put there
	case flags&inetOOB != 0:
		return 0, fs.EINVAL
	case s.isStream():
		return s.receiveStream(m, flags)
	}
	return s.receiveDatagram(m, flags)
}

func (s *inet) receiveStream(m *fs.Message, flags int) (int, fs.Errno) {
	c := newCursor(m.Data)
	defer c.release()
	room := c.left
	var to io.Writer = c
	if flags&inetTrunc != 0 {
		to = &discard{left: room} // tcp(7)
	}
	peek := flags&inetPeek != 0
	r, err := s.ep.Read(to, tcpip.ReadOptions{Peek: peek})
	switch err.(type) {
	case nil:
		if !peek {
			s.ep.ModerateRecvBuf(r.Count)
		}
		return r.Count, 0
	case *tcpip.ErrClosedForReceive:
		return 0, 0
	case *tcpip.ErrBadBuffer:
		if room == 0 {
			return 0, 0
		}
	}
	return 0, errnoOf(err)
}

func (s *inet) receiveDatagram(m *fs.Message, flags int) (int, fs.Errno) {
	c := newCursor(m.Data)
	defer c.release()
	r, err := s.ep.Read(c, tcpip.ReadOptions{Peek: flags&inetPeek != 0, NeedRemoteAddr: true})
	switch err.(type) {
	case nil, *tcpip.ErrBadBuffer: // there was no room at all
	case *tcpip.ErrClosedForReceive:
		return 0, 0
	default:
		return 0, errnoOf(err)
	}
	m.Addr = encodeAddr(s.domain, r.RemoteAddr)
	s.receiveControl(m, &r.ControlMessages)
	if r.Total > r.Count {
		m.Flags |= inetTrunc
		if flags&inetTrunc != 0 {
			return r.Total, 0
		}
	}
	return r.Count, 0
}

package socket

import (
	"bytes"
	"errors"
	"io"
	"runtime"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// The host has connections with ports of the program's, and the program with one of the
// host's. Inside the machine each is one of TCP over the loopback interface, outside it is
// a stream; here are the goroutines in between.

// hostStream is a *sys.Stream. A test has its own.
type hostStream interface {
	Take() (b []byte, end bool)
	Given(n int)
	Send(b []byte, end bool) (int, fs.Errno)
	Reset()
	Arrived() <-chan struct{}
	Room() <-chan struct{}
	Over() <-chan struct{}
}

// forward connects a stream with the program's own port, and carries bytes both ways until
// both have ended.
func (n *network) forward(s hostStream, port uint16) {
	c, err := n.call(tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: port})
	if err != nil {
		c, err = n.call(tcpip.FullAddress{Addr: tcpip.AddrFrom16([16]byte{15: 1}), Port: port})
	}
	if err != nil {
		s.Reset()
		return
	}
	c.carry(s)
}

// conversation is a connection that goroutines of the guest's wait for: one that sends
// and one that receives.
type conversation struct {
	ep                 tcpip.Endpoint
	writable, readable chan struct{}
	failed             chan struct{} // both ways
}

func newConversation(ep tcpip.Endpoint, q *waiter.Queue) *conversation {
	return &conversation{
		ep: ep, writable: watch(q, waiter.WritableEvents), readable: watch(q, waiter.ReadableEvents), failed: watch(q, 0),
	}
}

func watch(q *waiter.Queue, events waiter.EventMask) chan struct{} {
	entry, told := waiter.NewChannelEntry(events | waiter.EventErr | waiter.EventHUp)
	q.EventRegister(&entry)
	return told
}

func (n *network) call(to tcpip.FullAddress) (*conversation, error) {
	family := ipv4.ProtocolNumber
	if to.Addr.Len() == 16 {
		family = ipv6.ProtocolNumber
	}
	q := new(waiter.Queue)
	ep, err := n.stack.NewEndpoint(tcp.ProtocolNumber, family, q)
	if err != nil {
		return nil, errors.New(err.String())
	}
	c := newConversation(ep, q)
	if err = ep.Connect(to); isStarted(err) {
		<-c.writable
		err = ep.LastError()
	}
	if err != nil {
		ep.Close()
		return nil, errors.New(err.String())
	}
	return c, nil
}

func isStarted(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrConnectStarted)
	return ok
}

// carry carries bytes both ways until both have ended or one has reset. What is reset on
// one side is on the other.
func (c *conversation) carry(s hostStream) {
	fed := make(chan bool, 1)
	go func() { fed <- c.feed(s) }()
	if c.fetch(s) && <-fed {
		c.ep.Close()
		return
	}
	s.Reset()
	c.ep.Abort()
}

// feed gives the program what the host sends, to its end. It is false when the stream or
// the connection is over before.
func (c *conversation) feed(s hostStream) bool {
	for {
		b, end := s.Take()
		switch {
		case len(b) > 0:
			if !c.write(s, b) {
				s.Reset() // fetch may wait for the program
				return false
			}
			s.Given(len(b))
		case end:
			return c.ep.Shutdown(tcpip.ShutdownWrite) == nil
		default:
			select {
			case <-s.Arrived():
			case <-s.Over():
				return false
			case <-c.failed:
				// The program has reset what it has ended before: nobody reads
				// from it any more who would see that.
				if c.over() {
					s.Reset()
					return false
				}
			}
		}
	}
}

// over is whether the connection has ended both ways.
func (c *conversation) over() bool {
	switch tcp.EndpointState(c.ep.State()) {
	case tcp.StateError, tcp.StateClose:
		return true
	}
	return false
}

func (c *conversation) write(s hostStream, b []byte) bool {
	for r := bytes.NewReader(b); r.Len() > 0; {
		switch _, err := c.ep.Write(r, tcpip.WriteOptions{}); err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			select {
			case <-c.writable:
			case <-s.Over():
				return false
			}
		default:
			return false
		}
	}
	return true
}

// gather takes bytes up to its capacity's worth.
type gather struct {
	b    []byte
	most int
}

func (g *gather) Write(b []byte) (int, error) {
	n := min(len(b), g.most-len(g.b))
	g.b = append(g.b, b[:n]...)
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// fetch gives the host what the program sends, to its end. It is false when the stream or
// the connection is over before.
func (c *conversation) fetch(s hostStream) bool {
	g := gather{most: hypercall.MaxStreamSend}
	for {
		state := c.collect(&g)
		if state == readBlocked && len(g.b) > 0 {
			// Most programs end a connection right after what they have sent last:
			// to hear of both at once saves a call.
			runtime.Gosched()
			state = c.collect(&g)
		}
		if (len(g.b) > 0 || state == readEnded) && !send(s, g.b, state == readEnded) {
			return false
		}
		switch {
		case state == readEnded:
			return true
		case state == readFailed:
			return false
		case state == readBlocked && len(g.b) == 0:
			select {
			case <-c.readable:
			case <-s.Over():
				return false
			}
		}
		g.b = g.b[:0]
	}
}

// What comes after the bytes that collect has read.
const (
	readBlocked = iota // maybe more
	readMore
	readEnded
	readFailed // the connection was reset
)

// collect reads what there is, or as much as fits.
func (c *conversation) collect(g *gather) (state int) {
	for len(g.b) < g.most {
		switch _, err := c.ep.Read(g, tcpip.ReadOptions{}); err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			return readBlocked
		case *tcpip.ErrClosedForReceive:
			return readEnded
		default:
			return readFailed
		}
	}
	return readMore
}

// send is false when the host takes no more.
func send(s hostStream, b []byte, end bool) bool {
	for {
		n, e := s.Send(b, end)
		switch {
		case e == 0 && n == len(b):
			return true
		case e == 0:
			b = b[n:]
		case e == fs.EAGAIN:
			select {
			case <-s.Room():
			case <-s.Over():
				return false
			}
		default:
			return false
		}
	}
}

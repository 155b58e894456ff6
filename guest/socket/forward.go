package socket

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A program that serves a port gets its messages there: each is what one connection
// brings, and what comes back until that ends is the response. There is no network in
// between but the loopback interface.

// forwarding begins when the program waits for connections.
var forwarding sync.Once

// forward sends a message to the program's own port, and takes bytes until the program
// ends the connection. It keeps its own side open: a server may take the end of what a
// client sends for a client that has left.
func (n *network) forward(port uint16, message []byte) (response []byte, failed bool) {
	c, err := n.call(tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: port})
	if err != nil {
		c, err = n.call(tcpip.FullAddress{Addr: tcpip.AddrFrom16([16]byte{15: 1}), Port: port})
	}
	if err == nil {
		defer c.ep.Close()
		go c.send(message)
		response, err = c.receive(hypercall.MaxMessage)
	}
	if err != nil {
		return []byte("port of the program: " + err.Error()), true
	}
	return response, false
}

// conversation is a connection that goroutines of the guest's wait for: one that sends
// and one that receives.
type conversation struct {
	ep                 tcpip.Endpoint
	queue              waiter.Queue
	writable, readable chan struct{}
}

func (n *network) call(to tcpip.FullAddress) (*conversation, error) {
	c := &conversation{}
	family := ipv4.ProtocolNumber
	if to.Addr.Len() == 16 {
		family = ipv6.ProtocolNumber
	}
	var err tcpip.Error
	if c.ep, err = n.stack.NewEndpoint(tcp.ProtocolNumber, family, &c.queue); err != nil {
		return nil, errors.New(err.String())
	}
	c.writable, c.readable = c.watch(waiter.WritableEvents), c.watch(waiter.ReadableEvents)
	if err = c.ep.Connect(to); isStarted(err) {
		<-c.writable
		err = c.ep.LastError()
	}
	if err != nil {
		c.ep.Close()
		return nil, errors.New(err.String())
	}
	return c, nil
}

func isStarted(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrConnectStarted)
	return ok
}

func (c *conversation) watch(events waiter.EventMask) chan struct{} {
	entry, told := waiter.NewChannelEntry(events | waiter.EventErr | waiter.EventHUp)
	c.queue.EventRegister(&entry)
	return told
}

// send ends when all is sent, or the program has heard enough. What it then says, or
// does not, receive finds.
func (c *conversation) send(message []byte) {
	for r := bytes.NewReader(message); r.Len() > 0; {
		switch _, err := c.ep.Write(r, tcpip.WriteOptions{}); err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-c.writable
		default:
			return
		}
	}
}

// errTooLong is a response that is not one message.
var errTooLong = errors.New("the response is longer than 6 MiB")

func (c *conversation) receive(most int) ([]byte, error) {
	var b bytes.Buffer
	for {
		switch _, err := c.ep.Read(&b, tcpip.ReadOptions{}); err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-c.readable
		case *tcpip.ErrClosedForReceive:
			return b.Bytes(), nil
		case *tcpip.ErrConnectionReset:
			if b.Len() > 0 {
				return b.Bytes(), nil
			}
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, errors.New(err.String())
		}
		if b.Len() > most {
			return nil, errTooLong
		}
	}
}

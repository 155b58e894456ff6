package socket

import (
	"github.com/pvrun/pvrun/guest/sys"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// serviceBacklog is how many of the program's connections may wait for serve.
const serviceBacklog = 64

// connectHost and atConnect are the machine's: a stream to a port of the host's, and the
// moment at which the program has connected there. A test has its own.
var (
	connectHost = func(port uint16) (hostStream, bool) {
		s, e := sys.ConnectStream(port)
		return s, e == 0
	}
	atConnect = func() { sys.RestAt(hypercall.ReadyConnect) }
)

// serve makes a stream of each connection to a port of 127.0.0.1.
func (n *network) serve(port uint16) {
	q := new(waiter.Queue)
	ep, err := n.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, q)
	must(err)
	must(ep.Bind(tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: port}))
	must(ep.Listen(serviceBacklog))
	go acceptAll(ep, watch(q, waiter.ReadableEvents), port)
}

// acceptAll is at rest with the first connection before the host hears of it: it is there
// in each life, which makes a stream of its own from it.
func acceptAll(ep tcpip.Endpoint, acceptable <-chan struct{}, port uint16) {
	for {
		switch accepted, q, err := ep.Accept(nil); err.(type) {
		case nil:
			c := newConversation(accepted, q)
			atConnect()
			go c.carryToHost(port)
		case *tcpip.ErrWouldBlock:
			<-acceptable
		default:
			return
		}
	}
}

// carryToHost carries bytes between a connection of the program's and the host's port. If
// the host does not want it the program finds it reset.
func (c *conversation) carryToHost(port uint16) {
	s, ok := connectHost(port)
	if !ok {
		c.ep.Abort()
		return
	}
	c.carry(s)
}

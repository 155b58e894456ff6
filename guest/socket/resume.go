package socket

import (
	"io"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A machine that goes on as another one has interfaces of another life: other addresses,
// other rings, nobody of before at the other end. Goroutines may be anywhere then, with
// locks of netstack's, so whoever first has to do with the network after that, a program's
// call or the goroutine that takes frames, makes it the new life's before it does
// anything else. Until then nothing goes out: the rings refuse it.

// noLife is no life's number.
const noLife = ^uint64(0)

// current makes the network that of the machine's life.
func (n *network) current() {
	if n.life.Load() == lives() {
		return
	}
	n.resuming.Lock()
	defer n.resuming.Unlock()
	for life := lives(); n.life.Load() != life; life = lives() {
		n.resume(life)
		n.life.Store(life)
	}
}

// settle is current for what needs addresses: once in a life it waits for those by DHCP.
func (n *network) settle() {
	n.current()
	life := n.life.Load()
	if n.settled.Load() == life {
		return
	}
	n.awaitLeases(firstLease)
	n.settled.Store(life)
}

// resume takes the interfaces away, with all addresses, routes and neighbours, ends the
// connections that went over them, and makes them anew. The caller holds resuming.
func (n *network) resume(life uint64) {
	n.mu.Lock()
	n.leases = nil
	n.mu.Unlock()
	renewNames()
	list := n.adapters()
	of := func(c *nic) *adapter { return &list[c.id-loopbackNIC-1] }
	for _, c := range n.nics {
		c.dhcp.end()
		c.dhcp = nil
		n.stack.RemoveNIC(c.id)
		c.renew(of(c), life)
	}
	if len(n.nics) > 0 {
		n.reset()
	}
	for _, c := range n.nics {
		n.connect(c, of(c))
	}
}

// resetter is an endpoint of the derived tree's netstack: its connection ends as if the
// other side had reset it, and nothing is sent.
type resetter interface{ PvReset() }

// reset ends all connections but those within the machine, and drops what sockets without
// one have got from elsewhere and nobody has read. What the program had read is its own.
func (n *network) reset() {
	for _, ep := range n.stack.RegisteredEndpoints() {
		e, ok := ep.(tcpip.Endpoint)
		if !ok || within(e.GetLocalAddress) {
			continue
		}
		if isConnected(e) {
			if r, ok := ep.(resetter); ok {
				r.PvReset()
			} else {
				ep.Abort()
			}
		} else if _, stream := e.(*tcp.Endpoint); !stream {
			forget(e)
		}
	}
}

// isConnected is whether an endpoint has another side, or is about to.
func isConnected(e tcpip.Endpoint) bool {
	if _, ok := e.(*tcp.Endpoint); !ok {
		return transport.DatagramEndpointState(e.State()) == transport.DatagramEndpointStateConnected
	}
	switch tcp.EndpointState(e.State()) {
	case tcp.StateInitial, tcp.StateBound, tcp.StateListen, tcp.StateClose, tcp.StateError:
		return false
	}
	return true
}

// within is whether an address is the loopback interface's.
func within(of func() (tcpip.FullAddress, tcpip.Error)) bool {
	a, err := of()
	return err == nil && isLoopback(a.Addr)
}

func isLoopback(a tcpip.Address) bool {
	switch b := a.AsSlice(); len(b) {
	case 4:
		return b[0] == 127
	case 16:
		return b[15] == 1 && string(b[:15]) == string(make([]byte, 15))
	}
	return false
}

// forget drops datagrams that have come from elsewhere.
func forget(e tcpip.Endpoint) {
	for {
		r, err := e.Read(io.Discard, tcpip.ReadOptions{Peek: true, NeedRemoteAddr: true})
		if err != nil || isLoopback(r.RemoteAddr.Addr) {
			return
		}
		if _, err := e.Read(io.Discard, tcpip.ReadOptions{}); err != nil {
			return
		}
	}
}

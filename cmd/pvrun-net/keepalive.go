package main

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// keepalive is how a machine is asked whether it still knows a connection that nothing
// goes over: after how long, and how soon again if it says nothing.
type keepalive struct{ idle, interval time.Duration }

// A program that has closed its connection forgets it a minute later (FIN-WAIT-2), and
// resets it when it is asked then. So one of which nobody but a server that never closes
// knows goes within two minutes. Those that are only shut down for writing stay.
var usualAsks = keepalive{time.Minute, 15 * time.Second}

func (k keepalive) enable(ep tcpip.Endpoint) {
	idle, interval := tcpip.KeepaliveIdleOption(k.idle), tcpip.KeepaliveIntervalOption(k.interval)
	ep.SetSockOpt(&idle)
	ep.SetSockOpt(&interval)
	ep.SocketOptions().SetKeepAlive(true)
}

// awaitReset resets the host's side when the machine, which has ended its direction,
// resets the connection, until the other direction is over too. Before that netstack
// closes it for nothing else.
func (c *conn) awaitReset(over <-chan struct{}) {
	entry, failed := waiter.NewChannelEntry(waiter.EventHUp | waiter.EventErr)
	c.queue.EventRegister(&entry)
	defer c.queue.EventUnregister(&entry)
	for {
		state := tcp.EndpointState(c.ep.State())
		select {
		case <-over:
			return
		default:
		}
		if state == tcp.StateClose || state == tcp.StateError {
			c.abort()
			return
		}
		select {
		case <-failed:
		case <-over:
			return
		case <-c.gone:
			return
		}
	}
}

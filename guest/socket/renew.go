package socket

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/pvrun/pvrun/guest/sys"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// What a peer must not guess is of one life of the machine. Netstack asks crypto/rand for
// most of it when it needs it, ports and the IDs of packets among it; what it keeps, renew
// replaces.

// made is the program's network, once it is there.
var made atomic.Pointer[network]

// renewMade is called when the machine has come to rest, with the world stopped.
func renewMade() {
	if n := made.Load(); n != nil {
		n.renew()
	}
}

// renew replaces the secrets that sequence numbers, time stamps and cookies of TCP are
// made with. A connection that is there keeps its numbers. The derived tree's netstack has
// the method.
func (n *network) renew() {
	type renewer interface{ PvRenew(draw func() uint32) }
	n.stack.TransportProtocolInstance(tcp.ProtocolNumber).(renewer).PvRenew(rand.Uint32)
}

// lifeSource is the runtime's generator, for what netstack does not keep secret. Netstack's
// own would go on in each life from where it was.
type lifeSource struct{}

func (lifeSource) Int63() int64 { return rand.Int64() }
func (lifeSource) Seed(int64)   {}

// atAccept tells that the program has nobody to accept on a socket. A test has no machine
// to tell.
var atAccept = func(s *inet) {
	port := sys.ReadyPort()
	if port == 0 {
		return
	}
	if a, err := s.ep.GetLocalAddress(); err == nil && a.Port == port {
		sys.RestAt(hypercall.ReadyListen)
	}
}

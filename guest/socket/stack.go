package socket

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pvrun/pvrun/guest/sys"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/raw"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// network is a stack with its interfaces: lo is 1, and the machine's are 2 and on.
type network struct {
	stack *stack.Stack
	nics  []*nic
	mu    sync.Mutex // one change of the routes at a time

	leases []<-chan struct{} // closed when an interface has its first address by DHCP; guarded by mu

	// life is the machine's that the interfaces are of, and settled the last in which
	// programs have waited for addresses. See resume.go.
	life, settled atomic.Uint64
	resuming      sync.Mutex // held where one life becomes another, and by who takes frames
	adapters      func() []adapter
}

const loopbackNIC tcpip.NICID = 1

// theNetwork is the program's, made when it is first asked for. A test has its own.
var theNetwork = sync.OnceValue(func() *network {
	rests, life := sys.Rests(), lives()
	n := newNetwork(machineAdapters(), new(sys.NetWaiter))
	n.adapters = machineAdapters
	n.life.Store(life)
	if made.Store(n); sys.Rests() != rests {
		n.renew()
	}
	if port := sys.ServicePort(); port != 0 {
		n.serve(port)
	}
	n.settle()
	return n
})

// firstLease is how long programs wait for an address by DHCP before they have to do
// without: what they connect to first would be unreachable.
const firstLease = 5 * time.Second

// adapter is what an interface is made of.
type adapter struct {
	dev       nicDevice
	mac       tcpip.LinkAddress
	mtu       uint32
	segments  bool // TCP segments may be longer than the MTU, and lack their checksums
	addresses []netip.Prefix
	gateways  []netip.Addr
	dhcp      bool
}

// newNetwork makes a stack. One goroutine waits for the frames of all adapters.
func newNetwork(adapters []adapter, w netWaiter) *network {
	n := &network{adapters: func() []adapter { return adapters }}
	n.life.Store(lives())
	n.settled.Store(noLife)
	n.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocol, ipv6.NewProtocolWithOptions(n.ipv6Options()), arp.NewProtocol,
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
		HandleLocal: true,
		RandSource:  lifeSource{},
		RawFactory:  raw.EndpointFactory{},
	})
	n.setDefaults()
	n.addLoopback()
	for i := range adapters {
		n.add(&adapters[i], loopbackNIC+1+tcpip.NICID(i))
	}
	if len(n.nics) > 0 {
		go n.receive(w)
	}
	return n
}

// ipv6Options are what RFC 4861 and 4862 leave open. Addresses are used at once: an
// interface's MAC is its own, and to look for duplicates takes a second.
func (n *network) ipv6Options() ipv6.Options {
	o := ipv6.Options{
		NDPConfigs:       ipv6.DefaultNDPConfigurations(),
		AutoGenLinkLocal: true,
		NDPDisp:          (*routers)(n),
	}
	o.NDPConfigs.AutoGenTempGlobalAddresses = false
	return o
}

// Limits of a stream's buffers, in bytes. Both grow as a connection needs them.
const (
	leastBuffer    = 4 << 10
	sendBuffer0    = 1 << 20
	receiveBuffer0 = 512 << 10
	mostBuffer     = 6 << 20

	datagramBuffer = 212992 // net.core.rmem_default

	// timeWait is short, since a connection in TIME-WAIT takes as much memory as another:
	// 6 KiB. Old segments are told from new ones by their time stamps, and a FIN comes
	// again within some tenths of a second if its answer was lost.
	timeWait = 2 * time.Second

	firstPort, lastPort = 32768, 60999 // net.ipv4.ip_local_port_range
)

// setDefaults makes the stack what Linux is, as far as programs see it. A port that is
// in TIME-WAIT can be had for another connection, as with Linux's tcp_tw_reuse.
func (n *network) setDefaults() {
	sack, moderate, delay := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true), tcpip.TCPDelayEnabled(true)
	recovery, reuse := tcpip.TCPRecovery(tcpip.TCPRACKLossDetection), tcpip.TCPTimeWaitReuseGlobal
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: leastBuffer, Default: sendBuffer0, Max: mostBuffer}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: leastBuffer, Default: receiveBuffer0, Max: mostBuffer}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &delay, &recovery, &reuse, &wait, &send, &receive} {
		must(n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o))
	}
	ttl := tcpip.DefaultTTLOption(defaultTTL)
	must(n.stack.SetNetworkProtocolOption(ipv4.ProtocolNumber, &ttl))
	must(n.stack.SetNetworkProtocolOption(ipv6.ProtocolNumber, &ttl))
	must(n.stack.SetOption(tcpip.SendBufferSizeOption{Min: leastBuffer, Default: datagramBuffer, Max: mostBuffer}))
	must(n.stack.SetOption(tcpip.ReceiveBufferSizeOption{Min: leastBuffer, Default: datagramBuffer, Max: mostBuffer}))
	must(n.stack.SetPortRange(firstPort, lastPort))
}

// must is for what only a mistake here makes fail.
func must(err tcpip.Error) {
	if err != nil {
		panic("netstack: " + err.String())
	}
}

func (n *network) addLoopback() {
	lo := loopback.New()
	must(n.stack.CreateNICWithOptions(loopbackNIC, lo, stack.NICOptions{Name: "lo", QDisc: directly{lo}}))
	n.addAddress(loopbackNIC, netip.MustParsePrefix("127.0.0.1/8"))
	n.addAddress(loopbackNIC, netip.MustParsePrefix("::1/128"))
}

// add makes an interface. One that cannot be made is missing.
func (n *network) add(a *adapter, id tcpip.NICID) {
	if a.dev == nil {
		return
	}
	if c := newNIC(a, id); n.connect(c, a) {
		n.nics = append(n.nics, c)
	}
}

// connect gives the stack an interface, with all that the adapter has to do with addresses.
func (n *network) connect(c *nic, a *adapter) bool {
	id := c.id
	name := "eth" + string(rune('0'+id-loopbackNIC-1))
	if n.stack.CreateNICWithOptions(id, c, stack.NICOptions{Name: name, QDisc: directly{c}}) != nil {
		return false
	}
	n.addRoute(netip.MustParsePrefix("fe80::/64"), netip.Addr{}, id)
	for _, p := range a.addresses {
		n.addAddress(id, p)
	}
	for _, g := range a.gateways {
		n.addRoute(netip.PrefixFrom(unspecified(g), 0), g, id)
	}
	n.addRoute(netip.MustParsePrefix("224.0.0.0/4"), netip.Addr{}, id)
	n.addRoute(netip.MustParsePrefix("255.255.255.255/32"), netip.Addr{}, id)
	n.addRoute(netip.MustParsePrefix("ff00::/8"), netip.Addr{}, id)
	if a.dhcp {
		n.askFor(c)
	}
	return true
}

func (n *network) awaitLeases(most time.Duration) {
	n.mu.Lock()
	leases := n.leases
	n.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	late := time.After(most)
	for _, c := range leases {
		select {
		case <-c:
		case <-late:
			return
		}
	}
}

// unspecified is the address of a's family that is none.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}

func stackAddr(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

// addAddress gives an interface an address, and a route to its neighbours.
func (n *network) addAddress(id tcpip.NICID, p netip.Prefix) {
	a := tcpip.ProtocolAddress{
		Protocol:          protocolOf(p.Addr()),
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: stackAddr(p.Addr()), PrefixLen: p.Bits()},
	}
	if n.stack.AddProtocolAddress(id, a, stack.AddressProperties{}) == nil {
		n.addRoute(p, netip.Addr{}, id)
	}
}

// subnetOf is what a prefix stands for.
func subnetOf(p netip.Prefix) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: stackAddr(p.Masked().Addr()), PrefixLen: p.Bits()}.Subnet()
}

// addRoute adds a route, unless there is the same.
func (n *network) addRoute(p netip.Prefix, gateway netip.Addr, id tcpip.NICID) {
	n.changeRoute(routeOf(p, gateway, id), true)
}

func (n *network) removeRoute(p netip.Prefix, gateway netip.Addr, id tcpip.NICID) {
	n.changeRoute(routeOf(p, gateway, id), false)
}

func routeOf(p netip.Prefix, gateway netip.Addr, id tcpip.NICID) tcpip.Route {
	r := tcpip.Route{Destination: subnetOf(p), NIC: id}
	if gateway.IsValid() {
		r.Gateway = stackAddr(gateway)
	}
	return r
}

// changeRoute adds a route in front of those that are less exact, or removes it.
func (n *network) changeRoute(r tcpip.Route, add bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stack.RemoveRoutes(func(o tcpip.Route) bool { return o.Equal(r) && o.Gateway == r.Gateway })
	if add {
		n.stack.AddRoute(r)
	}
}

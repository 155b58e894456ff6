package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// What a network looks like from inside.
const (
	domain = "pvrun.internal"
	// maxMTU is what frames carry when the machine does not ask for less: both ends
	// are memory, and long frames are few.
	maxMTU = 65520
	minMTU = 1280

	gatewayMAC = "5a:94:ef:e4:0c:ee"
	nicID      = 1
)

var (
	subnet  = netip.MustParsePrefix("192.168.127.0/24")
	gateway = netip.MustParseAddr("192.168.127.1")
	// host is the machine that pvrun runs on, as its own loopback interface has it.
	host      = netip.MustParseAddr("192.168.127.254")
	broadcast = netip.MustParseAddr("192.168.127.255")
)

// network is a switch with machines at it, and the gateway's stack.
type network struct {
	stack *stack.Stack
	link  *tap.LinkEndpoint // the gateway's place at the switch
	mac   [6]byte           // the gateway's
	names *resolver
	pings pinger
	asks  keepalive

	mu        sync.Mutex // for joining and leaving
	byMAC     atomic.Pointer[map[[6]byte]*machine]
	byAddress atomic.Pointer[map[netip.Addr]*machine]
}

func newNetwork() (*network, error) {
	n := &network{asks: usualAsks}
	n.byMAC.Store(&map[[6]byte]*machine{})
	n.byAddress.Store(&map[netip.Addr]*machine{})
	link, err := tap.NewLinkEndpoint(false, maxMTU, gatewayMAC, gateway.String(), []string{host.String()})
	if err != nil {
		return nil, err
	}
	n.link, n.mac = link, [6]byte([]byte(link.LinkAddress()))
	link.Connect(n)
	if n.stack, err = newStack(link); err != nil {
		return nil, err
	}
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(n.stack, 0, maxDials, n.forwardTCP).HandlePacket)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(n.stack, n.forwardUDP).HandlePacket)
	n.names = newResolver(n)
	if err := errors.Join(n.serveDNS(), n.serveDHCP()); err != nil {
		return nil, err
	}
	return n, nil
}

// newStack is a stack that takes the machines' packets whoever they are for, and
// answers them as whoever that is.
func newStack(link stack.LinkEndpoint) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	sack, wait, reuse := tcpip.TCPSACKEnabled(true), tcpip.TCPTimeWaitTimeoutOption(time.Second), tcpip.TCPTimeWaitReuseGlobal
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &wait, &reuse, &receive, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return nil, fmt.Errorf("set up TCP: %s", err)
		}
	}
	if err := s.CreateNIC(nicID, link); err != nil {
		return nil, fmt.Errorf("set up the gateway: %s", err)
	}
	for _, a := range []netip.Addr{gateway, host} {
		address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: toAddress(a).WithPrefix()}
		// The gateway comes first: what it asks or sends of itself has that address.
		properties := stack.AddressProperties{PEB: stack.FirstPrimaryEndpoint}
		if a == host {
			properties.PEB = stack.NeverPrimaryEndpoint
		}
		if err := s.AddProtocolAddress(nicID, address, properties); err != nil {
			return nil, fmt.Errorf("set up the gateway: %s", err)
		}
	}
	s.SetSpoofing(nicID, true)
	s.SetPromiscuousMode(nicID, true)
	to, err := tcpip.NewSubnet(toAddress(subnet.Addr()), tcpip.MaskFromBytes([]byte{255, 255, 255, 0}))
	if err != nil {
		return nil, err
	}
	s.SetRouteTable([]tcpip.Route{{Destination: to, NIC: nicID}})
	return s, nil
}

func toAddress(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

func fromAddress(a tcpip.Address) netip.Addr {
	if a.Len() != 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4(a.As4())
}

// close ends what the network runs. All machines have left.
func (n *network) close() {
	n.pings.close()
	n.stack.Destroy()
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// join puts a machine at the switch.
func (n *network) join(r joinRequest, frames *os.File) (*machine, error) {
	m, err := n.newMachine(r)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.address, err = n.place(m); err != nil {
		return nil, err
	}
	if m.port, err = newPort(frames, m.mtu); err != nil {
		return nil, err
	}
	n.change(func(byMAC map[[6]byte]*machine, byAddress map[netip.Addr]*machine) {
		byMAC[m.mac], byAddress[m.address] = m, m
	})
	m.running.Go(func() { m.port.run(func(frame []byte) { n.receive(m, frame) }) })
	m.running.Go(m.port.drain)
	m.running.Go(m.flows.expire)
	return m, nil
}

// place is a free address for m, unless another machine is called as it is.
func (n *network) place(m *machine) (netip.Addr, error) {
	byAddress := *n.byAddress.Load()
	for _, other := range byAddress {
		if m.name != "" && other.name == m.name {
			return netip.Addr{}, fmt.Errorf("there is a machine named %s on the network already", m.name)
		}
	}
	if _, taken := (*n.byMAC.Load())[m.mac]; taken || m.mac == n.mac {
		return netip.Addr{}, fmt.Errorf("there is a machine with the MAC address %s on the network already", m.hardware())
	}
	for a := gateway.Next(); a.Less(host); a = a.Next() {
		if _, taken := byAddress[a]; !taken {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("the network is full")
}

// change puts changed copies in the tables' places. n.mu is held.
func (n *network) change(f func(map[[6]byte]*machine, map[netip.Addr]*machine)) {
	byMAC, byAddress := maps.Clone(*n.byMAC.Load()), maps.Clone(*n.byAddress.Load())
	f(byMAC, byAddress)
	n.byMAC.Store(&byMAC)
	n.byAddress.Store(&byAddress)
}

// leave takes a machine away with all that is its own, and waits for that.
func (n *network) leave(m *machine) {
	n.mu.Lock()
	n.change(func(byMAC map[[6]byte]*machine, byAddress map[netip.Addr]*machine) {
		delete(byMAC, m.mac)
		delete(byAddress, m.address)
	})
	n.mu.Unlock()
	m.close()
	n.pings.forget(m)
}

func (n *network) machine(a netip.Addr) *machine { return (*n.byAddress.Load())[a] }

// named is the machine, or the part of the network, of a name in lower case.
func (n *network) named(name string) (netip.Addr, bool) {
	switch name = strings.TrimSuffix(name, "."+domain); name {
	case "":
		return netip.Addr{}, false
	case "host":
		return host, true
	case "gateway":
		return gateway, true
	}
	for a, m := range *n.byAddress.Load() {
		if m.name == name {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// outside is whether machines may reach an address of the host's network; to is
// where it is there.
func outside(a netip.Addr) (to netip.Addr, ok bool) {
	switch {
	case a == host:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	case !a.IsValid(), a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast(),
		subnet.Contains(a), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}), a.As4()[0] == 0, a.As4()[0] >= 240:
		return a, false
	}
	return a, true
}

var reserved = []string{"host", "gateway", "localhost"}

// checkName is an error for what no machine can be called.
func checkName(name string) error {
	if name != "" && !nameForm.MatchString(name) {
		return fmt.Errorf("name %q: must be lower-case letters, digits and -, 63 at the most", name)
	}
	if slices.Contains(reserved, name) {
		return fmt.Errorf("name %s: it is another's on every network", name)
	}
	return nil
}

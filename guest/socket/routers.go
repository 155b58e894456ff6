package socket

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// routers is a network that hears of IPv6 routers. Its methods must not call the stack:
// routes are changed by goroutines.
type routers network

// later changes a route that a router told of.
func (r *routers) later(id tcpip.NICID, to tcpip.Subnet, gateway tcpip.Address, add bool) {
	go (*network)(r).changeRoute(tcpip.Route{Destination: to, Gateway: gateway, NIC: id}, add)
}

func (r *routers) OnOffLinkRouteUpdated(id tcpip.NICID, to tcpip.Subnet, router tcpip.Address, _ header.NDPRoutePreference) {
	r.later(id, to, router, true)
}

func (r *routers) OnOffLinkRouteInvalidated(id tcpip.NICID, to tcpip.Subnet, router tcpip.Address) {
	r.later(id, to, router, false)
}

func (r *routers) OnOnLinkPrefixDiscovered(id tcpip.NICID, to tcpip.Subnet) {
	r.later(id, to, tcpip.Address{}, true)
}

func (r *routers) OnOnLinkPrefixInvalidated(id tcpip.NICID, to tcpip.Subnet) {
	r.later(id, to, tcpip.Address{}, false)
}

func (*routers) OnAutoGenAddress(tcpip.NICID, tcpip.AddressWithPrefix) stack.AddressDispatcher {
	return nil
}

func (*routers) OnDuplicateAddressDetectionResult(tcpip.NICID, tcpip.Address, stack.DADResult) {}
func (*routers) OnAutoGenAddressDeprecated(tcpip.NICID, tcpip.AddressWithPrefix)               {}
func (*routers) OnAutoGenAddressInvalidated(tcpip.NICID, tcpip.AddressWithPrefix)              {}
func (*routers) OnRecursiveDNSServerOption(tcpip.NICID, []tcpip.Address, time.Duration)        {}
func (*routers) OnDNSSearchListOption(tcpip.NICID, []string, time.Duration)                    {}
func (*routers) OnDHCPv6Configuration(tcpip.NICID, ipv6.DHCPv6ConfigurationFromNDPRA)          {}

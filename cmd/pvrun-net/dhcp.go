package main

import (
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	dhcpPort = 67
	lease    = time.Hour
)

// serveDHCP tells machines that ask the address that they have since they joined.
func (n *network) serveDHCP() error {
	queue := new(waiter.Queue)
	ep, failed := n.stack.NewEndpoint(udp.ProtocolNumber, networkProtocol, queue)
	if failed != nil {
		return fmt.Errorf("serve DHCP: %s", failed)
	}
	ep.SocketOptions().SetBroadcast(true)
	if failed = ep.Bind(tcpip.FullAddress{NIC: nicID, Port: dhcpPort}); failed != nil {
		return fmt.Errorf("serve DHCP: %s", failed)
	}
	server, err := server4.NewServer("", nil, n.answerDHCP, server4.WithConn(gonet.NewUDPConn(queue, ep)))
	if err != nil {
		return fmt.Errorf("serve DHCP: %w", err)
	}
	go server.Serve()
	return nil
}

func (n *network) answerDHCP(conn net.PacketConn, peer net.Addr, q *dhcpv4.DHCPv4) {
	if len(q.ClientHWAddr) != 6 {
		return
	}
	m := (*n.byMAC.Load())[[6]byte(q.ClientHWAddr)]
	if m == nil || q.OpCode != dhcpv4.OpcodeBootRequest {
		return
	}
	kind := dhcpv4.MessageTypeOffer
	switch q.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
		if asked := q.RequestedIPAddress(); asked != nil && !asked.Equal(m.address.AsSlice()) {
			kind = dhcpv4.MessageTypeNak
		}
	default:
		return
	}
	at := net.IP(gateway.AsSlice())
	a, err := dhcpv4.NewReplyFromRequest(q, dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(at),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(at)))
	if err != nil {
		return
	}
	if kind != dhcpv4.MessageTypeNak {
		a.YourIPAddr = m.address.AsSlice()
		a.UpdateOption(dhcpv4.OptIPAddressLeaseTime(lease))
		a.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(subnet.Bits(), 32)))
		a.UpdateOption(dhcpv4.OptRouter(at))
		a.UpdateOption(dhcpv4.OptDNS(at))
		a.UpdateOption(dhcpv4.Option{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(m.mtu)})
		a.UpdateOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{domain}}))
	}
	conn.WriteTo(a.ToBytes(), peer)
}

package main

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	ethernetHeader = header.EthernetMinimumSize
	typeIPv4       = 0x0800
	typeARP        = 0x0806
	protocolICMP   = 1
	arpLength      = header.ARPSize
)

// receive takes a frame that m has sent. What a machine says of itself must be true,
// so that none speaks for another: its hardware address, and in ARP and IPv4, which
// are all that the network carries, its address. The frame is m's again afterwards.
func (n *network) receive(m *machine, frame []byte) {
	if !honest(m, frame) {
		m.port.dropped.Add(1)
		return
	}
	switch to := [6]byte(frame); {
	case to == n.mac:
		n.deliver(m, frame)
	case to[0]&1 != 0:
		for _, other := range *n.byMAC.Load() {
			if other != m {
				other.port.send([][]byte{frame}, len(frame))
			}
		}
		if to == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} {
			n.inject(frame)
		}
	default:
		if other := (*n.byMAC.Load())[to]; other != nil && other != m {
			other.port.send([][]byte{frame}, len(frame))
		}
	}
}

func honest(m *machine, frame []byte) bool {
	if len(frame) < ethernetHeader || len(frame) > ethernetHeader+m.mtu || [6]byte(frame[6:]) != m.mac {
		return false
	}
	payload := frame[ethernetHeader:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case typeARP:
		if len(payload) < arpLength || [6]byte(payload[8:]) != m.mac {
			return false
		}
		from := netip.AddrFrom4([4]byte(payload[14:]))
		return from == m.address || from.IsUnspecified()
	case typeIPv4:
		if len(payload) < header.IPv4MinimumSize {
			return false
		}
		from := netip.AddrFrom4([4]byte(payload[12:]))
		return from == m.address || from.IsUnspecified()
	}
	return false
}

// deliver takes a frame for the gateway, or for what is behind it.
func (n *network) deliver(m *machine, frame []byte) {
	payload := frame[ethernetHeader:]
	if binary.BigEndian.Uint16(frame[12:]) == typeIPv4 {
		to := netip.AddrFrom4([4]byte(payload[16:]))
		switch {
		case subnet.Contains(to) && to != gateway && to != host && to != broadcast:
			return // it is not the gateway's to answer for
		case payload[9] == protocolICMP && !subnet.Contains(to):
			n.pings.forward(m, payload)
			return
		}
	}
	n.inject(frame)
}

// inject hands a frame to the gateway's stack.
func (n *network) inject(frame []byte) {
	data := buffer.MakeWithData(frame[ethernetHeader:])
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: data})
	defer pkt.DecRef()
	n.link.DeliverNetworkPacket(tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(frame[12:])), pkt)
}

// DeliverNetworkPacket takes a packet of the gateway's (tap.NetworkSwitch). Its own
// header stands in front of it.
func (n *network) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	to := header.Ethernet(pkt.LinkHeader().Slice()).DestinationAddress()
	machines, slices, size := *n.byMAC.Load(), pkt.AsSlices(), pkt.Size()
	if header.IsMulticastEthernetAddress(to) {
		for _, m := range machines {
			m.port.send(slices, size)
		}
		return
	}
	if m := machines[[6]byte([]byte(to))]; m != nil {
		m.port.send(slices, size)
	}
}

// endpointOf is an address and port on the network as the stack writes it.
func endpointOf(a netip.Addr, port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: toAddress(a), Port: port}
}

const networkProtocol = ipv4.ProtocolNumber

package network

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
)

var be = binary.BigEndian

// station is an end of a conversation, as the frames by hand have it.
type station struct {
	mac [6]byte
	ip4 netip.Addr
	ip6 netip.Addr
}

// Ethernet types and IP protocols (IEEE 802 Numbers and Protocol Numbers of IANA).
const (
	typeIPv4, typeARP, typeIPv6 = 0x0800, 0x0806, 0x86dd
	icmp4, igmp, tcp, udp       = 1, 2, 6, 17
	icmp6, destinationOptions   = 58, 60
)

func ethernet(from, to station, kind uint16, payload []byte) []byte {
	b := append(slices.Clone(to.mac[:]), from.mac[:]...)
	return append(be.AppendUint16(b, kind), payload...)
}

// v4 is an IPv4 packet; offset is the field with the fragment's flags.
func v4(from, to station, protocol byte, offset uint16, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0}
	be.PutUint16(b[2:], uint16(20+len(payload)))
	be.PutUint16(b[6:], offset)
	b = append(append(b, from.ip4.AsSlice()...), to.ip4.AsSlice()...)
	return repair(ethernet(from, to, typeIPv4, append(b, payload...)))
}

func v6(from, to station, next byte, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, 0, 0, next, 255}
	be.PutUint16(b[4:], uint16(len(payload)))
	b = append(append(b, from.ip6.AsSlice()...), to.ip6.AsSlice()...)
	return repair(ethernet(from, to, typeIPv6, append(b, payload...)))
}

func arp(from, to station, op byte) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, from.mac[:]...)
	b = append(append(b, from.ip4.AsSlice()...), to.mac[:]...)
	return ethernet(from, to, typeARP, append(b, to.ip4.AsSlice()...))
}

// segment is TCP with options; the checksum is repair's.
func segment(source, port uint16, flags byte, options, data []byte) []byte {
	b := be.AppendUint16(be.AppendUint16(nil, source), port)
	b = append(b, 1, 2, 3, 4, 0, 0, 0, 0, byte(20+len(options))<<2, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(append(b, options...), data...)
}

func datagram(source, port uint16, data []byte) []byte {
	b := be.AppendUint16(be.AppendUint16(nil, source), port)
	return append(append(be.AppendUint16(b, uint16(8+len(data))), 0, 0), data...)
}

// conversation has a frame of every kind that a machine looks into.
func conversation(from, to station) [][]byte {
	data := slices.Repeat([]byte("data"), 10)
	quoted := v4(to, from, tcp, 0, segment(8080, 4000, 0x10, nil, data))[14:]
	options := []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}
	list := [][]byte{
		arp(from, to, 1), arp(from, to, 2),
		v4(from, to, icmp4, 0, append([]byte{8, 0, 0, 0, 0, 1, 0, 1}, data...)),
		v4(from, to, icmp4, 0, append([]byte{13, 0, 0, 0, 0, 1, 0, 1}, data...)),
		v4(from, to, igmp, 0, []byte{0x11, 100, 0, 0, 0, 0, 0, 0}),
		v4(from, to, udp, 0, datagram(4000, 9, data)),
		v4(from, to, udp, 0, datagram(67, 68, append([]byte{2, 1, 6, 0}, make([]byte, 240)...))),
		v4(from, to, udp, 0, datagram(53, 4000, data)),
		v4(from, to, udp, 0x2000, datagram(4000, 9, data)),
		v4(from, to, udp, 5, data), v4(from, to, tcp, 0x2002, data), v4(from, to, icmp4, 0x1fff, data),
		v4(from, to, 47, 0, data),
	}
	for _, kind := range []byte{3, 4, 5, 11, 12} {
		for code := range byte(5) {
			list = append(list, v4(from, to, icmp4, 0, append([]byte{kind, code, 0, 0, 0, 0, 5, 0}, quoted...)))
		}
	}
	for _, flags := range []byte{0, 1, 2, 4, 0x10, 0x11, 0x12, 0x14, 0x18, 0x29, 0x3f, 0xff} {
		list = append(list, v4(from, to, tcp, 0, segment(4000+uint16(flags), 8080, flags, options, nil)),
			v4(from, to, tcp, 0, segment(4000, 8080, flags, nil, data)),
			v6(from, to, tcp, segment(4000, 8080, flags, options, data)))
	}
	address := to.ip6.AsSlice()
	for _, kind := range []byte{1, 2, 3, 4, 128, 129, 130, 133, 134, 135, 136, 137, 143} {
		body := append([]byte{kind, 0, 0, 0, 0, 0, 5, 0}, address...)
		list = append(list, v6(from, to, icmp6, append(body, 1, 1, 2, 3, 4, 5, 6, 7)))
	}
	for _, next := range []byte{0, 43, 44, 50, 51, destinationOptions, 135} {
		header := []byte{udp, 0, 1, 4, 0, 0, 0, 0}
		list = append(list, v6(from, to, next, append(header, datagram(4000, 9, data)...)))
	}
	return append(list, v6(from, to, udp, datagram(4000, 9, data)))
}

// mutate makes something else of a frame. Mostly its checksums are right again, so that
// more than they is tried; longest is how long it can be.
func mutate(dice *rand.Rand, frame []byte, longest int) []byte {
	b := slices.Clone(frame)
	for range 1 + dice.IntN(4) {
		at := dice.IntN(len(b))
		if dice.IntN(2) == 0 { // of the headers
			at = min(12+dice.IntN(60), len(b)-1)
		}
		switch dice.IntN(8) {
		case 0:
			b[at] ^= 1 << dice.IntN(8)
		case 1:
			b[at] = byte(dice.Uint32())
		case 2:
			b[at] = []byte{0, 1, 4, 5, 0x0f, 0x40, 0x45, 0x60, 0x7f, 0x80, 0xfe, 0xff}[dice.IntN(12)]
		case 3:
			be.PutUint16(b[min(at, len(b)-2):], []uint16{0, 1, 7, 8, 20, 0x1fff, 0x2000, 0x7fff, 0x8000, 0xffff}[dice.IntN(10)])
		case 4:
			b = b[:max(14, at)]
		case 5:
			for range dice.IntN(200) {
				b = append(b, byte(dice.Uint32()))
			}
		case 6: // a part once more
			end := at + dice.IntN(len(b)-at+1)
			b = slices.Insert(b, at, slices.Clone(b[at:end])...)
		case 7: // a part less
			b = slices.Delete(b, max(14, at), max(14, min(len(b), at+dice.IntN(16))))
		}
	}
	b = b[:min(len(b), longest)]
	if dice.IntN(4) > 0 {
		repair(b)
	}
	return b
}

// repair makes the checksums of a frame right, as far as it finds them.
func repair(b []byte) []byte {
	if len(b) < 14+20 {
		return b
	}
	ip := b[14:]
	var body, addresses []byte
	var protocol byte
	switch be.Uint16(b[12:]) {
	case typeIPv4:
		head := int(ip[0]&15) * 4
		if head < 20 || head > len(ip) {
			return b
		}
		be.PutUint16(ip[10:], 0)
		be.PutUint16(ip[10:], checksum(ip[:head]))
		body, addresses, protocol = ip[head:min(len(ip), max(head, int(be.Uint16(ip[2:]))))], ip[12:20], ip[9]
	case typeIPv6:
		if len(ip) < 40 {
			return b
		}
		body, addresses, protocol = ip[40:min(len(ip), 40+int(be.Uint16(ip[4:])))], ip[8:40], ip[6]
	default:
		return b
	}
	at, known := map[byte]int{icmp4: 2, igmp: 2, tcp: 16, udp: 6, icmp6: 2}[protocol]
	if !known || len(body) < at+2 {
		return b
	}
	sum := slices.Clone(body)
	be.PutUint16(sum[at:], 0)
	if protocol != icmp4 && protocol != igmp {
		sum = append(sum, make([]byte, len(sum)%2)...)
		sum = append(sum, addresses...)
		sum = be.AppendUint32(be.AppendUint32(sum, uint32(protocol)), uint32(len(body)))
	}
	be.PutUint16(body[at:], checksum(sum))
	return b
}

// checksum is the Internet's (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(be.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

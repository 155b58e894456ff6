package socket

import (
	"encoding/binary"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// ipOptions are those of IPPROTO_IP (Linux, include/uapi/linux/in.h).
var ipOptions = map[int]inetOption{
	1:  numberOption(tcpip.IPv4TOSOption, 0, 255),
	2:  {getTTL, setTTL},
	3:  boolOption((*tcpip.SocketOptions).GetHeaderIncluded, (*tcpip.SocketOptions).SetHeaderIncluded),
	8:  boolOption((*tcpip.SocketOptions).GetReceivePacketInfo, (*tcpip.SocketOptions).SetReceivePacketInfo),
	10: intOption(0, 5, getDiscover(levelIP), setDiscover(levelIP)), // IP_MTU_DISCOVER
	11: plainOption(levelIP, 11, minInt, maxInt, 0),                 // IP_RECVERR
	12: boolOption((*tcpip.SocketOptions).GetReceiveTTL, (*tcpip.SocketOptions).SetReceiveTTL),
	13: boolOption((*tcpip.SocketOptions).GetReceiveTOS, (*tcpip.SocketOptions).SetReceiveTOS),
	15: plainOption(levelIP, 15, minInt, maxInt, 0), // IP_FREEBIND
	24: plainOption(levelIP, 24, minInt, maxInt, 0), // IP_BIND_ADDRESS_NO_PORT
	32: {getMulticastInterface, setMulticastInterface},
	33: intOption(-1, 255, getMulticastTTL, setMulticastTTL),
	34: boolOption((*tcpip.SocketOptions).GetMulticastLoop, (*tcpip.SocketOptions).SetMulticastLoop),
	35: {set: func(s *inet, b []byte) fs.Errno { return s.member4(b, true) }},
	36: {set: func(s *inet, b []byte) fs.Errno { return s.member4(b, false) }},
	42: {set: func(s *inet, b []byte) fs.Errno { return s.memberOf(afInet, b, true) }},
	45: {set: func(s *inet, b []byte) fs.Errno { return s.memberOf(afInet, b, false) }},
	49: plainOption(levelIP, 49, 0, 1, 1), // IP_MULTICAST_ALL
}

// ipv6Options are those of IPPROTO_IPV6 (Linux, include/uapi/linux/in6.h).
var ipv6Options = map[int]inetOption{
	7:  numberOption(tcpip.IPv6Checksum, minInt, maxInt),
	16: {getHopLimit, setHopLimit},
	17: numberOption(tcpip.IPv6MulticastInterfaceOption, 0, maxInt),
	18: intOption(-1, 255, getMulticastTTL, setMulticastTTL),
	19: boolOption((*tcpip.SocketOptions).GetMulticastLoop, (*tcpip.SocketOptions).SetMulticastLoop),
	20: {set: func(s *inet, b []byte) fs.Errno { return s.member6(b, true) }},
	21: {set: func(s *inet, b []byte) fs.Errno { return s.member6(b, false) }},
	23: intOption(0, 5, getDiscover(levelIPv6), setDiscover(levelIPv6)), // IPV6_MTU_DISCOVER
	25: plainOption(levelIPv6, 25, minInt, maxInt, 0),                   // IPV6_RECVERR
	26: {getV6Only, setV6Only},
	42: {set: func(s *inet, b []byte) fs.Errno { return s.memberOf(afInet6, b, true) }},
	45: {set: func(s *inet, b []byte) fs.Errno { return s.memberOf(afInet6, b, false) }},
	49: boolOption((*tcpip.SocketOptions).GetIPv6ReceivePacketInfo, (*tcpip.SocketOptions).SetIPv6ReceivePacketInfo),
	51: boolOption((*tcpip.SocketOptions).GetReceiveHopLimit, (*tcpip.SocketOptions).SetReceiveHopLimit),
	60: plainOption(levelIPv6, 60, minInt, maxInt, 0), // IPV6_RECVPATHMTU
	62: plainOption(levelIPv6, 62, minInt, maxInt, 0), // IPV6_DONTFRAG
	66: boolOption((*tcpip.SocketOptions).GetReceiveTClass, (*tcpip.SocketOptions).SetReceiveTClass),
	67: intOption(-1, 255,
		func(s *inet) (int, tcpip.Error) { return s.ep.GetSockOptInt(tcpip.IPv6TrafficClassOption) },
		func(s *inet, v int) tcpip.Error {
			return s.ep.SetSockOptInt(tcpip.IPv6TrafficClassOption, max(v, 0))
		}),
	70: plainOption(levelIPv6, 70, minInt, maxInt, 1), // IPV6_AUTOFLOWLABEL
}

// icmpv6Options are those of IPPROTO_ICMPV6 (Linux, include/uapi/linux/icmpv6.h).
var icmpv6Options = map[int]inetOption{1: {getFilter, setFilter}}

const defaultTTL = 64

func getTTL(s *inet) ([]byte, fs.Errno) {
	v, err := s.ep.GetSockOptInt(tcpip.IPv4TTLOption)
	if v == tcpip.UseDefaultIPv4TTL {
		v = defaultTTL
	}
	return putInt(v), errnoOf(err)
}

// setTTL takes -1 for the default.
func setTTL(s *inet, b []byte) fs.Errno {
	v, e := takeIntOrChar(b)
	switch {
	case e != 0:
		return e
	case v == -1:
		v = tcpip.UseDefaultIPv4TTL
	case v < 1 || v > 255:
		return fs.EINVAL
	}
	return errnoOf(s.ep.SetSockOptInt(tcpip.IPv4TTLOption, v))
}

func getHopLimit(s *inet) ([]byte, fs.Errno) {
	v, err := s.ep.GetSockOptInt(tcpip.IPv6HopLimitOption)
	if v == tcpip.UseDefaultIPv6HopLimit {
		v = defaultTTL
	}
	return putInt(v), errnoOf(err)
}

func setHopLimit(s *inet, b []byte) fs.Errno {
	v, e := takeInt(b)
	switch {
	case e != 0:
		return e
	case v < -1 || v > 255:
		return fs.EINVAL
	}
	return errnoOf(s.ep.SetSockOptInt(tcpip.IPv6HopLimitOption, v))
}

func getMulticastTTL(s *inet) (int, tcpip.Error) { return s.ep.GetSockOptInt(tcpip.MulticastTTLOption) }

func setMulticastTTL(s *inet, v int) tcpip.Error {
	if v == -1 {
		v = 1
	}
	return s.ep.SetSockOptInt(tcpip.MulticastTTLOption, v)
}

func getV6Only(s *inet) ([]byte, fs.Errno) {
	return putInt(oneIf(s.ep.SocketOptions().GetV6Only())), 0
}

// setV6Only is EINVAL for a socket that has an address already.
func setV6Only(s *inet, b []byte) fs.Errno {
	v, e := takeInt(b)
	if e != 0 {
		return e
	}
	if a, err := s.ep.GetLocalAddress(); err == nil && a.Port != 0 {
		return fs.EINVAL
	}
	s.ep.SocketOptions().SetV6Only(v != 0)
	return 0
}

// discoverNames are netstack's names of IP_PMTUDISC_DONT, WANT, DO and PROBE.
var discoverNames = [...]tcpip.PMTUDStrategy{tcpip.PMTUDiscoveryDont, tcpip.PMTUDiscoveryWant, tcpip.PMTUDiscoveryDo, tcpip.PMTUDiscoveryProbe}

const discoverOption = 10

func getDiscover(level int) func(s *inet) (int, tcpip.Error) {
	return func(s *inet) (int, tcpip.Error) {
		return s.opts.remembered(optionName{level, discoverOption}, 1), nil
	}
}

// setDiscover has netstack set the bit that forbids fragments, where it can.
func setDiscover(level int) func(s *inet, v int) tcpip.Error {
	return func(s *inet, v int) tcpip.Error {
		if v < len(discoverNames) {
			s.ep.SetSockOptInt(tcpip.MTUDiscoverOption, int(discoverNames[v]))
		}
		s.opts.remember(optionName{level, discoverOption}, v)
		return nil
	}
}

func getMulticastInterface(s *inet) ([]byte, fs.Errno) {
	var o tcpip.MulticastInterfaceOption
	if err := s.ep.GetSockOpt(&o); err != nil {
		return nil, errnoOf(err)
	}
	ip := addr4(o.InterfaceAddr)
	return ip[:], 0
}

// setMulticastInterface takes a struct in_addr, ip_mreq or ip_mreqn.
func setMulticastInterface(s *inet, b []byte) fs.Errno {
	var o tcpip.MulticastInterfaceOption
	switch {
	case len(b) >= 12:
		o.NIC = tcpip.NICID(binary.NativeEndian.Uint32(b[8:]))
		fallthrough
	case len(b) >= 8:
		o.InterfaceAddr = tcpip.AddrFrom4([4]byte(b[4:]))
	case len(b) >= 4:
		o.InterfaceAddr = tcpip.AddrFrom4([4]byte(b))
	default:
		return fs.EINVAL
	}
	if o.InterfaceAddr == any4 {
		o.InterfaceAddr = tcpip.Address{}
	}
	return errnoOf(s.ep.SetSockOpt(&o))
}

// member4 joins or leaves the group of a struct ip_mreq or ip_mreqn.
func (s *inet) member4(b []byte, join bool) fs.Errno {
	if len(b) < 8 {
		return fs.EINVAL
	}
	o := tcpip.MembershipOption{MulticastAddr: tcpip.AddrFrom4([4]byte(b)), InterfaceAddr: tcpip.AddrFrom4([4]byte(b[4:]))}
	if len(b) >= 12 {
		o.NIC = tcpip.NICID(binary.NativeEndian.Uint32(b[8:]))
	}
	return s.member(o, join)
}

// member6 is member4 for a struct ipv6_mreq.
func (s *inet) member6(b []byte, join bool) fs.Errno {
	if len(b) < 20 {
		return fs.EINVAL
	}
	return s.member(tcpip.MembershipOption{
		MulticastAddr: tcpip.AddrFrom16([16]byte(b)),
		NIC:           tcpip.NICID(binary.NativeEndian.Uint32(b[16:])),
	}, join)
}

// memberOf is member4 for a struct group_req, whose address may be of either family.
func (s *inet) memberOf(domain int, b []byte, join bool) fs.Errno {
	const address, size = 8, 136
	if len(b) < size {
		return fs.EINVAL
	}
	a, e := decodeAddr(domain, b[address:])
	if e != 0 {
		return e
	}
	o := tcpip.MembershipOption{MulticastAddr: a.Addr, NIC: tcpip.NICID(binary.NativeEndian.Uint32(b))}
	if domain == afInet {
		o.InterfaceAddr = any4
	}
	return s.member(o, join)
}

func (s *inet) member(o tcpip.MembershipOption, join bool) fs.Errno {
	var err tcpip.Error
	if join {
		add := tcpip.AddMembershipOption(o)
		err = s.ep.SetSockOpt(&add)
	} else {
		remove := tcpip.RemoveMembershipOption(o)
		err = s.ep.SetSockOpt(&remove)
	}
	if _, ok := err.(*tcpip.ErrBadLocalAddress); ok && !join {
		return fs.EADDRNOTAVAIL
	}
	return errnoOf(err)
}

func getFilter(s *inet) ([]byte, fs.Errno) {
	var f tcpip.ICMPv6Filter
	if err := s.ep.GetSockOpt(&f); err != nil {
		return nil, errnoOf(err)
	}
	var b []byte
	for _, word := range f.DenyType {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	return b, 0
}

func setFilter(s *inet, b []byte) fs.Errno {
	var f tcpip.ICMPv6Filter
	if len(b) < 4*len(f.DenyType) {
		return fs.EINVAL
	}
	for i := range f.DenyType {
		f.DenyType[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return errnoOf(s.ep.SetSockOpt(&f))
}

package socket

import (
	"encoding/binary"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// Levels and types of control messages (Linux, include/uapi/linux/in.h and in6.h).
const (
	levelIP   = 0
	levelIPv6 = 41

	controlTOS      = 1  // IP_TOS
	controlTTL      = 2  // IP_TTL
	controlInfo     = 8  // IP_PKTINFO
	controlInfo6    = 50 // IPV6_PKTINFO
	controlHopLimit = 52 // IPV6_HOPLIMIT
	controlTClass   = 67 // IPV6_TCLASS
)

// controls calls f for each control message in b.
func controls(b []byte, f func(level, typ int, data []byte) fs.Errno) fs.Errno {
	for {
		level, typ, data, rest, ok, e := fs.NextControl(b)
		if !ok {
			return e
		}
		if e := f(level, typ, data); e != 0 {
			return e
		}
		b = rest
	}
}

// sendControl takes over what control messages say of a datagram.
func (s *inet) sendControl(b []byte, opts *tcpip.WriteOptions) fs.Errno {
	return controls(b, func(level, typ int, data []byte) fs.Errno {
		switch level {
		case levelIP:
			return s.sendControl4(typ, data, opts)
		case levelIPv6:
			return s.sendControl6(typ, data, opts)
		}
		return 0
	})
}

// sendControl4 does not choose the source address, which netstack cannot do for one
// datagram: it comes from the route.
func (s *inet) sendControl4(typ int, data []byte, opts *tcpip.WriteOptions) fs.Errno {
	switch {
	case typ == controlTTL && len(data) >= 4:
		ttl := int32(binary.NativeEndian.Uint32(data))
		if ttl < 1 || ttl > 255 {
			return fs.EINVAL
		}
		opts.ControlMessages.HasTTL, opts.ControlMessages.TTL = true, uint8(ttl)
	case typ == controlTOS:
	case typ == controlInfo && len(data) >= 12:
		if nic := tcpip.NICID(binary.NativeEndian.Uint32(data)); nic != 0 && opts.To != nil {
			opts.To.NIC = nic
		}
	default:
		return fs.EINVAL
	}
	return 0
}

func (s *inet) sendControl6(typ int, data []byte, opts *tcpip.WriteOptions) fs.Errno {
	switch {
	case typ == controlHopLimit && len(data) >= 4:
		limit := int32(binary.NativeEndian.Uint32(data))
		if limit < -1 || limit > 255 {
			return fs.EINVAL
		}
		if limit >= 0 {
			opts.ControlMessages.HasHopLimit, opts.ControlMessages.HopLimit = true, uint8(limit)
		}
	case typ == controlTClass:
	case typ == controlInfo6 && len(data) >= 20:
		info := tcpip.IPv6PacketInfo{NIC: tcpip.NICID(binary.NativeEndian.Uint32(data[16:]))}
		if a := tcpip.AddrFrom16([16]byte(data)); a != any6 {
			info.Addr = a
		}
		opts.ControlMessages.HasIPv6PacketInfo, opts.ControlMessages.IPv6PacketInfo = true, info
	default:
		return fs.EINVAL
	}
	return 0
}

// trafficClass is what control messages say of a datagram's class: an int or one byte. -1
// is the socket's own.
func trafficClass(b []byte) (option tcpip.SockOptInt, class int, ok bool) {
	controls(b, func(level, typ int, data []byte) fs.Errno {
		switch {
		case len(data) == 0:
			return 0
		case level == levelIP && typ == controlTOS:
			option = tcpip.IPv4TOSOption
		case level == levelIPv6 && typ == controlTClass:
			option = tcpip.IPv6TrafficClassOption
		default:
			return 0
		}
		class = int(data[0])
		ok = len(data) < 4 || binary.NativeEndian.Uint32(data) != 1<<32-1
		return 0
	})
	return option, class, ok
}

// receiveControl gives the message what the program wants to know of a datagram.
func (s *inet) receiveControl(m *fs.Message, c *tcpip.ReceivableControlMessages) {
	if c.HasTTL {
		m.PutControl(levelIP, controlTTL, binary.NativeEndian.AppendUint32(nil, uint32(c.TTL)))
	}
	if c.HasTOS {
		m.PutControl(levelIP, controlTOS, []byte{c.TOS})
	}
	if c.HasIPPacketInfo {
		local, to := addr4(c.PacketInfo.LocalAddr), addr4(c.PacketInfo.DestinationAddr)
		b := binary.NativeEndian.AppendUint32(nil, uint32(c.PacketInfo.NIC))
		m.PutControl(levelIP, controlInfo, append(append(b, local[:]...), to[:]...))
	}
	if c.HasHopLimit {
		m.PutControl(levelIPv6, controlHopLimit, binary.NativeEndian.AppendUint32(nil, uint32(c.HopLimit)))
	}
	if c.HasTClass {
		m.PutControl(levelIPv6, controlTClass, binary.NativeEndian.AppendUint32(nil, c.TClass))
	}
	if c.HasIPv6PacketInfo {
		to := addr16(c.IPv6PacketInfo.Addr)
		m.PutControl(levelIPv6, controlInfo6, binary.NativeEndian.AppendUint32(to[:], uint32(c.IPv6PacketInfo.NIC)))
	}
}

package socket

import (
	"encoding/binary"

	"github.com/pvrun/pvrun/guest/fs"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// Sizes of addresses (Linux, include/uapi/linux/in.h and in6.h).
const (
	sizeSockaddr4    = 16 // struct sockaddr_in
	sizeSockaddr6    = 28 // struct sockaddr_in6
	minSizeSockaddr6 = 24 // as RFC 2133 had it, without the scope
)

const afUnspec = 0

var (
	any4      = tcpip.AddrFrom4([4]byte{})
	any6      = tcpip.AddrFrom16([16]byte{})
	loopback4 = tcpip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = tcpip.AddrFrom16([16]byte{15: 1})
)

// familyOf is the family of a struct sockaddr.
func familyOf(b []byte) (int, fs.Errno) {
	if len(b) < 2 {
		return 0, fs.EINVAL
	}
	return int(binary.NativeEndian.Uint16(b)), 0
}

// decodeAddr takes a struct sockaddr apart for a socket of a family. An address of
// another family is EAFNOSUPPORT.
func decodeAddr(domain int, b []byte) (a tcpip.FullAddress, e fs.Errno) {
	family, e := familyOf(b)
	switch {
	case e != 0:
		return a, e
	case domain == afInet && len(b) < sizeSockaddr4, domain == afInet6 && len(b) < minSizeSockaddr6:
		return a, fs.EINVAL
	case family != domain:
		return a, fs.EAFNOSUPPORT
	}
	a.Port = binary.BigEndian.Uint16(b[2:])
	if domain == afInet {
		a.Addr = tcpip.AddrFrom4([4]byte(b[4:]))
		return a, 0
	}
	a.Addr = tcpip.AddrFrom16([16]byte(b[8:]))
	if len(b) >= sizeSockaddr6 && isLinkLocal(a.Addr) {
		a.NIC = tcpip.NICID(binary.NativeEndian.Uint32(b[24:]))
	}
	return a, 0
}

// isLinkLocal is whether an address means something on one link only: fe80::/10 and
// ff01::/16, ff02::/16.
func isLinkLocal(a tcpip.Address) bool {
	if a.Len() != 16 {
		return false
	}
	b := a.As16()
	return b[0] == 0xfe && b[1]&0xc0 == 0x80 || b[0] == 0xff && (b[1]&15 == 1 || b[1]&15 == 2)
}

// encodeAddr is a struct sockaddr of a socket of a family. An IPv4 address is mapped
// for one of IPv6.
func encodeAddr(domain int, a tcpip.FullAddress) []byte {
	if domain == afInet {
		b := make([]byte, sizeSockaddr4)
		binary.NativeEndian.PutUint16(b, afInet)
		binary.BigEndian.PutUint16(b[2:], a.Port)
		if a.Addr.Len() == 4 {
			copy(b[4:], a.Addr.AsSlice())
		}
		return b
	}
	b := make([]byte, sizeSockaddr6)
	binary.NativeEndian.PutUint16(b, afInet6)
	binary.BigEndian.PutUint16(b[2:], a.Port)
	ip := addr16(a.Addr)
	copy(b[8:], ip[:])
	if isLinkLocal(a.Addr) {
		binary.NativeEndian.PutUint32(b[24:], uint32(a.NIC))
	}
	return b
}

// addr16 is an address as those of IPv6, mapped if it is of IPv4.
func addr16(a tcpip.Address) (ip [16]byte) {
	switch a.Len() {
	case 16:
		return a.As16()
	case 4:
		ip[10], ip[11] = 0xff, 0xff
		copy(ip[12:], a.AsSlice())
	}
	return ip
}

// addr4 is an address as those of IPv4, 0.0.0.0 if it is not one.
func addr4(a tcpip.Address) (ip [4]byte) {
	if a.Len() == 4 {
		return a.As4()
	}
	return ip
}

// source is an address to bind to: netstack takes any address as none.
func source(a tcpip.FullAddress) tcpip.FullAddress {
	if a.Addr == any4 || a.Addr == any6 {
		a.Addr = tcpip.Address{}
	}
	return a
}

// target is an address to send to: any address is this machine (ip(7)).
func target(a tcpip.FullAddress) tcpip.FullAddress {
	mapped := tcpip.AddrFrom16([16]byte{10: 0xff, 11: 0xff})
	switch a.Addr {
	case any4:
		a.Addr = loopback4
	case any6:
		a.Addr = loopback6
	case mapped:
		a.Addr = tcpip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1})
	}
	return a
}

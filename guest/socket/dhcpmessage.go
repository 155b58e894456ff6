package socket

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
	"time"
)

// dhcpMessage is what a client and a server say (RFC 2131, section 2), as far as
// clients here need it.
type dhcpMessage struct {
	kind          byte
	id            [4]byte
	mac           [6]byte
	client, yours netip.Addr

	requested, server netip.Addr
	mask              [4]byte
	router            netip.Addr
	resolvers         []netip.Addr
	domain            string
	seconds           uint32
}

// Kinds of messages and options (RFC 2132).
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
	dhcpNak      = 6

	optionMask      = 1
	optionRouter    = 3
	optionResolvers = 6
	optionDomain    = 15
	optionRequested = 50
	optionTime      = 51
	optionKind      = 53
	optionServer    = 54
	optionWanted    = 55
	optionEnd       = 255

	dhcpHeader = 240 // bytes, the cookie included
	dhcpLeast  = 300 // bytes of a message, as BOOTP has them
)

const dhcpCookie = "\x63\x82\x53\x63"

// encode is a client's message.
func (m *dhcpMessage) encode() []byte {
	b := make([]byte, dhcpHeader, dhcpLeast)
	b[0], b[1], b[2] = 1, 1, 6 // a request, by Ethernet
	copy(b[4:], m.id[:])
	if m.client.IsValid() {
		copy(b[12:], m.client.AsSlice())
	} else {
		b[10] = 0x80 // answer by broadcast
	}
	copy(b[28:], m.mac[:])
	copy(b[236:], dhcpCookie)
	b = append(b, optionKind, 1, m.kind)
	if m.requested.IsValid() {
		b = append(append(b, optionRequested, 4), m.requested.AsSlice()...)
	}
	if m.server.IsValid() {
		b = append(append(b, optionServer, 4), m.server.AsSlice()...)
	}
	b = append(b, optionWanted, 5, optionMask, optionRouter, optionResolvers, optionDomain, optionTime, optionEnd)
	return append(b, make([]byte, max(0, dhcpLeast-len(b)))...)
}

// parseDHCP takes a server's message apart.
func parseDHCP(b []byte) (m dhcpMessage, ok bool) {
	if len(b) < dhcpHeader || b[0] != 2 || string(b[236:240]) != dhcpCookie {
		return m, false
	}
	copy(m.id[:], b[4:])
	m.yours = netip.AddrFrom4([4]byte(b[16:]))
	copy(m.mac[:], b[28:])
	for b = b[dhcpHeader:]; len(b) >= 2 && b[0] != optionEnd; {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		n := int(b[1])
		if n > len(b)-2 {
			return m, false
		}
		m.option(b[0], b[2:2+n])
		b = b[2+n:]
	}
	return m, m.kind != 0
}

func (m *dhcpMessage) option(name byte, v []byte) {
	switch {
	case name == optionKind && len(v) == 1:
		m.kind = v[0]
	case name == optionDomain:
		m.domain = strings.TrimRight(string(v), "\x00")
	case len(v) < 4:
	case name == optionMask:
		copy(m.mask[:], v)
	case name == optionRouter:
		m.router = netip.AddrFrom4([4]byte(v))
	case name == optionServer:
		m.server = netip.AddrFrom4([4]byte(v))
	case name == optionTime:
		m.seconds = binary.BigEndian.Uint32(v)
	case name == optionResolvers:
		for m.resolvers = nil; len(v) >= 4; v = v[4:] {
			m.resolvers = append(m.resolvers, netip.AddrFrom4([4]byte(v)))
		}
	}
}

// answers is whether a server's message is the answer to a client's.
func (m *dhcpMessage) answers(request *dhcpMessage) bool {
	if m.id != request.id || m.mac != request.mac {
		return false
	}
	if request.kind == dhcpDiscover {
		return m.kind == dhcpOffer && !m.yours.IsUnspecified()
	}
	return m.kind == dhcpAck && !m.yours.IsUnspecified() || m.kind == dhcpNak
}

// lease is what a server has given.
type lease struct {
	address   netip.Prefix
	router    netip.Addr
	resolvers []netip.Addr
	domain    string
	time      time.Duration
}

const (
	defaultLease = time.Hour
	leastLease   = time.Minute
)

func (m *dhcpMessage) lease() (l lease) {
	if m.kind != dhcpAck {
		return l
	}
	ones := bits.LeadingZeros32(^binary.BigEndian.Uint32(m.mask[:]))
	if ones == 0 {
		ones = 24 // the server does not say
	}
	l = lease{address: netip.PrefixFrom(m.yours, ones), router: m.router, resolvers: m.resolvers, domain: m.domain,
		time: max(time.Duration(m.seconds)*time.Second, leastLease)}
	if m.seconds == 0 {
		l.time = defaultLease
	}
	return l
}

// resolver is the lease in the words of resolv.conf(5).
func (l *lease) resolver() string {
	var b strings.Builder
	for _, s := range l.resolvers {
		b.WriteString("nameserver " + s.String() + "\n")
	}
	if isDomain(l.domain) {
		b.WriteString("search " + l.domain + "\n")
	}
	return b.String()
}

// isDomain is whether a name is one word, and so can stand in a file.
func isDomain(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '#' || c == ';' {
			return false
		}
	}
	return s != ""
}

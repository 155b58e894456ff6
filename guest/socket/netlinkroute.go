package socket

import (
	"encoding/binary"
	"math/bits"

	"github.com/pvrun/pvrun/guest/fs"
)

// Messages, their flags and attributes. Linux's include/uapi/linux/netlink.h,
// rtnetlink.h, if_link.h, if_addr.h and if_arp.h.
const (
	nlmsgError  = 2
	nlmsgDone   = 3
	rtmNewLink  = 16
	rtmGetLink  = 18
	rtmNewAddr  = 20
	rtmGetAddr  = 22
	rtmNewRoute = 24
	rtmGetRoute = 26

	nlmRequest = 1
	nlmMulti   = 2
	nlmAck     = 4
	nlmDump    = 0x300

	nlmsgHeader = 16 // bytes of struct nlmsghdr
	nlmsgMin    = 16 // nlmsg_type below are netlink's own

	iflaAddress   = 1
	iflaBroadcast = 2
	iflaIfname    = 3
	iflaMTU       = 4
	iflaTxqlen    = 13
	iflaOperstate = 16

	ifaAddress = 1
	ifaLocal   = 2
	ifaLabel   = 3

	rtaDst   = 1
	rtaOif   = 4
	rtaTable = 15

	arphrdEther    = 1
	arphrdLoopback = 772

	iffUp       = 0x1
	iffLoopback = 0x8
	iffRunning  = 0x40

	operUnknown, operDown, operUp = 0, 2, 6 // IF_OPER_

	scopeGlobal, scopeLink, scopeHost = 0, 253, 254 // RT_SCOPE_
	tableMain                         = 254         // RT_TABLE_MAIN
	protoKernel                       = 2           // RTPROT_KERNEL
	unicast                           = 1           // RTN_UNICAST
	permanent                         = 0x80        // IFA_F_PERMANENT
)

// nlRequest is one request.
type nlRequest struct {
	header []byte // struct nlmsghdr as it came
	body   []byte
	typ    uint16
	flags  uint16
	seq    uint32
	port   uint32 // who asks
}

// nlReply is the answer to one request, in datagrams.
type nlReply struct {
	q    *nlRequest
	list [][]byte
	cur  []byte
	at   int // of the message that is being made in cur
}

// answers answers the requests in b, as long as there is room for answers. What is no
// request ends it, as on Linux.
func answers(b []byte, port uint32) (list [][]byte) {
	for len(b) >= nlmsgHeader && size(list) <= netlinkBuffer {
		n := int(binary.LittleEndian.Uint32(b))
		if n < nlmsgHeader || n > len(b) {
			break
		}
		q := &nlRequest{
			header: b[:nlmsgHeader], body: b[nlmsgHeader:n], port: port,
			typ: binary.LittleEndian.Uint16(b[4:]), flags: binary.LittleEndian.Uint16(b[6:]), seq: binary.LittleEndian.Uint32(b[8:]),
		}
		if q.flags&nlmRequest != 0 && q.typ >= nlmsgMin {
			list = append(list, q.answer()...)
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return list
}

func (q *nlRequest) answer() [][]byte {
	r := &nlReply{q: q}
	e := fs.ENOTSUP
	switch {
	case q.flags&nlmDump != 0:
		e = r.dump()
	case q.typ == rtmGetLink:
		e = r.oneLink()
	}
	switch {
	case e != 0:
		r.cur = nil
		r.end(e)
	case q.flags&nlmDump != 0:
		r.flush()
		r.begin(nlmsgDone, nlmMulti)
		r.u32(0)
		r.finish()
	case q.flags&nlmAck != 0:
		r.end(0)
	}
	r.flush()
	return r.list
}

// end is NLMSG_ERROR, which with 0 says that all is well.
func (r *nlReply) end(e fs.Errno) {
	r.begin(nlmsgError, 0)
	r.u32(uint32(-int32(e)))
	r.cur = append(r.cur, r.q.header...)
	if e != 0 {
		r.cur = append(r.cur, r.q.body...)
	}
	r.finish()
}

// dump lists everything of a kind, of one family if the request names one.
func (r *nlReply) dump() fs.Errno {
	family := byte(0)
	if len(r.q.body) > 0 {
		family = r.q.body[0]
	}
	switch r.q.typ {
	case rtmGetLink, rtmGetAddr, rtmGetRoute:
	default:
		return fs.ENOTSUP
	}
	for _, i := range interfaces() {
		if r.q.typ == rtmGetLink {
			r.link(&i)
			continue
		}
		for _, a := range i.addrs {
			switch {
			case family != 0 && family != a.family() || len(a.ip) != 4 && len(a.ip) != 16:
			case r.q.typ == rtmGetAddr:
				r.addr(&i, &a)
			case i.flags&iffLoopback == 0:
				r.route(&i, &a)
			}
		}
	}
	return 0
}

// oneLink is the interface with the number or the name that the request has.
func (r *nlReply) oneLink() fs.Errno {
	const ifinfomsg = 16
	b := r.q.body
	if len(b) < ifinfomsg {
		return fs.EINVAL
	}
	index, name := int(int32(binary.LittleEndian.Uint32(b[4:]))), ""
	for b = b[ifinfomsg:]; len(b) >= 4; {
		n := int(binary.LittleEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return fs.EINVAL
		}
		if binary.LittleEndian.Uint16(b[2:]) == iflaIfname {
			name = cString(b[4:n])
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	for _, i := range interfaces() {
		if index > 0 && i.index == index || index <= 0 && name != "" && i.name == name {
			r.link(&i)
			return 0
		}
	}
	if index <= 0 && name == "" {
		return fs.EINVAL
	}
	return fs.ENODEV
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func (r *nlReply) link(i *interfaceInfo) {
	r.begin(rtmNewLink, r.multi())
	hardware, oper := uint16(arphrdEther), byte(operDown)
	switch {
	case i.flags&iffLoopback != 0:
		hardware, oper = arphrdLoopback, operUnknown
	case i.flags&iffRunning != 0:
		oper = operUp
	}
	r.cur = append(r.cur, fs.AF_UNSPEC, 0)
	r.cur = binary.LittleEndian.AppendUint16(r.cur, hardware)
	r.u32(uint32(i.index))
	r.u32(i.flags)
	r.u32(0)
	r.attr(iflaIfname, append([]byte(i.name), 0))
	r.attr32(iflaTxqlen, 1000)
	r.attr(iflaOperstate, []byte{oper})
	r.attr32(iflaMTU, uint32(i.mtu))
	mac, broadcast := i.mac, []byte{255, 255, 255, 255, 255, 255}
	if len(mac) == 0 {
		mac, broadcast = make([]byte, 6), make([]byte, 6)
	}
	r.attr(iflaAddress, mac)
	r.attr(iflaBroadcast, broadcast)
	r.finish()
}

func (a *interfaceAddr) family() byte {
	if len(a.ip) == 4 {
		return fs.AF_INET
	}
	return fs.AF_INET6
}

// scope is how far an address is known.
func (a *interfaceAddr) scope(i *interfaceInfo) byte {
	switch {
	case i.flags&iffLoopback != 0:
		return scopeHost
	case len(a.ip) == 16 && a.ip[0] == 0xfe && a.ip[1]&0xc0 == 0x80:
		return scopeLink
	}
	return scopeGlobal
}

func (r *nlReply) addr(i *interfaceInfo, a *interfaceAddr) {
	r.begin(rtmNewAddr, r.multi())
	r.cur = append(r.cur, a.family(), byte(a.prefix), permanent, a.scope(i))
	r.u32(uint32(i.index))
	r.attr(ifaAddress, a.ip)
	if len(a.ip) == 4 {
		r.attr(ifaLocal, a.ip)
		r.attr(ifaLabel, append([]byte(i.name), 0))
	}
	r.finish()
}

// route is the way to the network that an address is in.
func (r *nlReply) route(i *interfaceInfo, a *interfaceAddr) {
	r.begin(rtmNewRoute, r.multi())
	r.cur = append(r.cur, a.family(), byte(a.prefix), 0, 0, tableMain, protoKernel, scopeLink, unicast)
	r.u32(0)
	r.attr32(rtaTable, tableMain)
	network := make([]byte, len(a.ip))
	for k := range network {
		left := min(max(a.prefix-8*k, 0), 8)
		network[k] = a.ip[k] & bits.Reverse8(1<<left-1)
	}
	r.attr(rtaDst, network)
	r.attr32(rtaOif, uint32(i.index))
	r.finish()
}

// multi is the flag of messages that are part of a dump.
func (r *nlReply) multi() uint16 {
	if r.q.flags&nlmDump != 0 {
		return nlmMulti
	}
	return 0
}

// begin starts a message; finish ends it.
func (r *nlReply) begin(typ, flags uint16) {
	r.at = len(r.cur)
	r.u32(0)
	r.cur = binary.LittleEndian.AppendUint16(r.cur, typ)
	r.cur = binary.LittleEndian.AppendUint16(r.cur, flags)
	r.u32(r.q.seq)
	r.u32(r.q.port)
}

func (r *nlReply) finish() {
	binary.LittleEndian.PutUint32(r.cur[r.at:], uint32(len(r.cur)-r.at))
	r.align()
	if len(r.cur) > netlinkDatagram && r.at > 0 {
		last := append([]byte(nil), r.cur[r.at:]...)
		r.cur = r.cur[:r.at]
		r.flush()
		r.cur = last
	}
}

// flush ends a datagram.
func (r *nlReply) flush() {
	if len(r.cur) > 0 {
		r.list = append(r.list, r.cur)
	}
	r.cur = nil
}

func (r *nlReply) u32(v uint32) { r.cur = binary.LittleEndian.AppendUint32(r.cur, v) }

func (r *nlReply) align() {
	for len(r.cur)%4 != 0 {
		r.cur = append(r.cur, 0)
	}
}

// attr adds an attribute (struct rtattr).
func (r *nlReply) attr(typ uint16, data []byte) {
	r.cur = binary.LittleEndian.AppendUint16(r.cur, uint16(4+len(data)))
	r.cur = binary.LittleEndian.AppendUint16(r.cur, typ)
	r.cur = append(r.cur, data...)
	r.align()
}

func (r *nlReply) attr32(typ uint16, v uint32) {
	r.attr(typ, binary.LittleEndian.AppendUint32(nil, v))
}

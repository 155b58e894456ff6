package nic

import "github.com/pvrun/pvrun/hypercall"

// Limits are what the frames of a NIC keep to, on their way out and in.
type Limits struct {
	MTU     int
	Offload bool // partial checksums and long segments may go by
}

// MaxFrame is how long a frame may be, in bytes.
func (l Limits) MaxFrame() int {
	if l.Offload {
		return hypercall.MaxFrame
	}
	return l.maxWhole()
}

// maxWhole is how long a frame may be that is not to be cut.
func (l Limits) maxWhole() int { return hypercall.EthernetHeader + l.MTU }

// Headers of a frame that is to be cut are at least this long (RFC 791, RFC 8200,
// RFC 9293).
const (
	minIPv4   = 20
	minIPv6   = 40
	minTCP    = 20
	maxTCP    = 60
	offsetTCP = 16 // where TCP has its checksum
)

// minSegment bounds how many pieces a guest can have a frame cut into. Linux takes no
// smaller segment size from a peer either.
const minSegment = 48

// Outgoing is what a packet's header says on the link; p is a copy that no guest can
// change. It is not ok when it makes no sense.
func (l Limits) Outgoing(p *hypercall.PacketHeader) (h Header, ok bool) {
	n := int(p.Length)
	if p.Length > hypercall.MaxFrame || n < hypercall.MinFrame || p.Pad != 0 || p.Flags&^hypercall.PacketPartial != 0 {
		return Header{}, false
	}
	if p.Flags&hypercall.PacketPartial != 0 {
		h = Header{Flags: p.Flags, ChecksumStart: p.ChecksumStart, ChecksumOffset: p.ChecksumOffset}
		if !l.Offload || !h.inside(n) {
			return Header{}, false
		}
	}
	if p.GSO == hypercall.PacketWhole {
		return h, n <= l.maxWhole()
	}
	h.GSO, h.HeaderLen, h.SegmentSize = p.GSO, p.HeaderLen, p.SegmentSize
	piece := int(h.HeaderLen) + int(h.SegmentSize)
	return h, h.cuts(n) && h.SegmentSize >= minSegment && piece <= l.maxWhole()
}

// Incoming is what a frame's header says to the guest. It is not ok when it makes no
// sense, or the frame is none that the guest takes.
func (l Limits) Incoming(h *Header, frame []byte) (p hypercall.PacketHeader, ok bool) {
	n := len(frame)
	if n < hypercall.MinFrame || n > l.MaxFrame() {
		return p, false
	}
	p.Length = uint32(n)
	if !l.Offload {
		return p, *h == Header{} && n <= l.maxWhole()
	}
	p.Flags = h.Flags & (hypercall.PacketPartial | hypercall.PacketChecked)
	if h.Flags&hypercall.PacketPartial != 0 {
		p.ChecksumStart, p.ChecksumOffset = h.ChecksumStart, h.ChecksumOffset
		if !h.inside(n) {
			return p, false
		}
	}
	if h.GSO == hypercall.PacketWhole {
		return p, n <= l.maxWhole()
	}
	cut := *h
	if cut.HeaderLen, ok = headerLen(h, frame); !ok || !cut.cuts(n) || cut.SegmentSize == 0 {
		return p, false
	}
	p.GSO, p.HeaderLen, p.SegmentSize = cut.GSO, cut.HeaderLen, cut.SegmentSize
	return p, true
}

// inside says whether the checksum's field lies behind the Ethernet header and within
// a frame of n bytes.
func (h *Header) inside(n int) bool {
	start := int(h.ChecksumStart)
	return start >= hypercall.EthernetHeader && start+int(h.ChecksumOffset)+2 <= n
}

// cuts says whether a frame of n bytes can be cut as the header says.
func (h *Header) cuts(n int) bool {
	ip := minIPv4
	switch h.GSO {
	case hypercall.PacketTCP4:
	case hypercall.PacketTCP6:
		ip = minIPv6
	default:
		return false
	}
	start, end := int(h.ChecksumStart), int(h.HeaderLen)
	return h.Flags&hypercall.PacketPartial != 0 && h.ChecksumOffset == offsetTCP && start >= hypercall.EthernetHeader+ip &&
		end >= start+minTCP && end <= start+maxTCP && end <= n
}

// headerLen finds the end of the TCP header in the frame: a TAP says how much of the
// frame the kernel has in one piece. The frame may be changing.
func headerLen(h *Header, frame []byte) (uint16, bool) {
	at := int(h.ChecksumStart) + 12
	if at >= len(frame) {
		return 0, false
	}
	end := int(h.ChecksumStart) + int(frame[at]>>4)*4
	return uint16(end), end <= len(frame) && end < 1<<16
}

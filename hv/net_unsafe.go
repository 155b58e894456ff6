package hv

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

var _ = [1]struct{}{}[unsafe.Sizeof(hypercall.NetRings{})-netRingPages*pageSize]

// nicRecord is the size of what start info has of a NIC, but for the texts.
const nicRecord = int(unsafe.Sizeof(hypercall.NIC{}))

// netRings sees the frames from f on as a NIC's rings. Safe because they are the
// netRingPages in a row that reserve has taken for them, and rings have no pointers.
func (m *memory) netRings(f frame) *hypercall.NetRings {
	return (*hypercall.NetRings)(unsafe.Pointer(unsafe.SliceData(m.run(f, netRingPages))))
}

// packetHeader is the header at a place in a ring's data. Safe because a place is a
// multiple of PacketAlign, which a header fills, and lies in the ring.
func packetHeader(r *hypercall.PacketRing, at uint32) *hypercall.PacketHeader {
	return (*hypercall.PacketHeader)(unsafe.Pointer(&r.Data[at&(hypercall.PacketRingBytes-hypercall.PacketAlign)]))
}

package socket

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/guest/sys"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// ringDevice is the driver of an interface whose host is at the other end of two rings
// (docs/abi.md, "Network rings").
type ringDevice struct {
	rings *hypercall.NetRings
	bell  func()

	life uint64 // of the machine that the rings are of
	prod uint32 // of Transmit
	cons uint32 // of Receive
}

// lives is how often the machine has gone on as another one, and publish stores an index
// unless that has happened since: the goroutine may have been anywhere. A test has its own.
var (
	lives   = sys.Lives
	publish = sys.Publish
)

func newRingDevice(r *hypercall.NetRings, bell func()) *ringDevice {
	d := &ringDevice{rings: r, bell: bell}
	d.renew(lives())
	return d
}

func (d *ringDevice) renew(life uint64) {
	r := d.rings
	d.life, d.prod, d.cons = life, atomic.LoadUint32(&r.Transmit.Prod), atomic.LoadUint32(&r.Receive.Cons)
	atomic.StoreUint32(&r.Transmit.ConsEvent, never(d.prod))
}

// never is an event that an index does not pass for a long time.
func never(index uint32) uint32 { return index + 1<<31 }

// passed is whether an index that went from old to now has passed event.
func passed(event, old, now uint32) bool { return now-event < now-old }

const packetHeader = uint32(unsafe.Sizeof(hypercall.PacketHeader{}))

func alignPacket(n uint32) uint32 {
	return (n + hypercall.PacketAlign - 1) &^ (hypercall.PacketAlign - 1)
}

// headerAt is the header at a place in a ring, a multiple of PacketAlign.
func headerAt(r *hypercall.PacketRing, at uint32) *hypercall.PacketHeader {
	return (*hypercall.PacketHeader)(unsafe.Pointer(&r.Data[at]))
}

// put drops, as sent, a frame that is too long for any room, or of another life.
func (d *ringDevice) put(pkt *stack.PacketBuffer) bool {
	r := &d.rings.Transmit
	size := uint32(pkt.Size())
	if size < hypercall.MinFrame || size > hypercall.MaxFrame {
		return true
	}
	at := d.prod % hypercall.PacketRingBytes
	need, skip := alignPacket(packetHeader+size), uint32(0)
	if at+need > hypercall.PacketRingBytes {
		skip = hypercall.PacketRingBytes - at
	}
	if used := d.prod - atomic.LoadUint32(&r.Cons); used+skip+need > hypercall.PacketRingBytes {
		return false
	}
	if skip > 0 {
		headerAt(r, at).Length = hypercall.PacketSkip
		at = 0
	}
	*headerAt(r, at) = headerOf(pkt, size)
	copyPacket(r.Data[at+packetHeader:at+packetHeader+size], pkt)
	old := d.prod
	d.prod += skip + need
	if publish(&r.Prod, d.prod, d.life) && passed(atomic.LoadUint32(&r.ProdEvent), old, d.prod) {
		d.bell()
	}
	return true
}

func copyPacket(to []byte, pkt *stack.PacketBuffer) {
	list, skip := pkt.AsViewList()
	for v := list.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		to = to[copy(to, b[skip:]):]
		skip = 0
	}
}

// headerOf tells what is left to the host of a frame: the checksum of TCP, whose field
// has the sum of the pseudo header, and to cut it.
func headerOf(pkt *stack.PacketBuffer, size uint32) hypercall.PacketHeader {
	h := hypercall.PacketHeader{Length: size}
	gso := &pkt.GSOOptions
	if gso.Type != stack.GSOTCPv4 && gso.Type != stack.GSOTCPv6 || !gso.NeedsCsum {
		return h
	}
	h.Flags = hypercall.PacketPartial
	h.ChecksumStart = uint16(hypercall.EthernetHeader + len(pkt.NetworkHeader().Slice()))
	h.ChecksumOffset = gso.CsumOffset
	if pkt.Data().Size() <= int(gso.MSS) {
		return h
	}
	h.GSO = hypercall.PacketTCP4
	if gso.Type == stack.GSOTCPv6 {
		h.GSO = hypercall.PacketTCP6
	}
	h.HeaderLen = h.ChecksumStart + uint16(len(pkt.TransportHeader().Slice()))
	h.SegmentSize = gso.MSS
	return h
}

// kick has nothing to do: put tells the host as often as it wants to know.
func (d *ringDevice) kick() {}

// wantRoom asks for a quarter of what is in the ring, so that few events do.
func (d *ringDevice) wantRoom() bool {
	r := &d.rings.Transmit
	cons := atomic.LoadUint32(&r.Cons)
	used := d.prod - cons
	if used <= hypercall.PacketRingBytes/2 {
		return d.noRoomWanted()
	}
	event := cons + alignPacket(used/4)
	atomic.StoreUint32(&r.ConsEvent, event)
	if atomic.LoadUint32(&r.Cons)-event < hypercall.PacketRingBytes {
		return d.noRoomWanted() // it has come meanwhile
	}
	return true
}

func (d *ringDevice) noRoomWanted() bool {
	atomic.StoreUint32(&d.rings.Transmit.ConsEvent, never(d.prod))
	return false
}

// take copies the next frame. Of a host that is wrong about its own ring nothing more
// is taken than is there.
func (d *ringDevice) take() (*stack.PacketBuffer, bool) {
	r := &d.rings.Receive
	for {
		prod := atomic.LoadUint32(&r.Prod)
		if prod == d.cons {
			return nil, false
		}
		at := d.cons % hypercall.PacketRingBytes
		h := *headerAt(r, at)
		if h.Length == hypercall.PacketSkip {
			if !d.taken(d.cons + min(hypercall.PacketRingBytes-at, prod-d.cons)) {
				return nil, false
			}
			continue
		}
		need := uint64(packetHeader) + uint64(h.Length)
		if h.Length < hypercall.MinFrame || h.Length > hypercall.MaxFrame ||
			need > uint64(prod-d.cons) || uint64(at)+need > hypercall.PacketRingBytes {
			if !d.taken(prod) {
				return nil, false
			}
			continue
		}
		v := buffer.NewView(int(h.Length))
		v.Write(r.Data[at+packetHeader : at+packetHeader+h.Length])
		if !d.taken(d.cons + alignPacket(uint32(need))) {
			return nil, false
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
		return pkt, h.Flags&(hypercall.PacketPartial|hypercall.PacketChecked) != 0
	}
}

// taken gives the host room back, and says whether what was taken is of this life.
func (d *ringDevice) taken(cons uint32) bool {
	r := &d.rings.Receive
	old := d.cons
	d.cons = cons
	if !publish(&r.Cons, cons, d.life) {
		return false
	}
	if passed(atomic.LoadUint32(&r.ConsEvent), old, cons) {
		d.bell()
	}
	return true
}

func (d *ringDevice) linkUp() bool { return atomic.LoadUint32(&d.rings.Link) != 0 }

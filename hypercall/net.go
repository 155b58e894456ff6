package hypercall

import "unsafe"

// NIC is one network interface of the machine. Its place in StartInfo.NICs is its
// number.
type NIC struct {
	Ring    GVA    // its [NetRings]; 0 in ModeTrap, where it is an NE2000
	MTU     uint32 // of the frames' payload, in bytes: MinMTU to MaxMTU
	Flags   uint32 // NICChecksum and others
	MAC     [6]byte
	Pad     [2]byte
	Address Extent // the addresses with their prefixes, "10.0.0.2/24" or of IPv6, separated by spaces
	Gateway Extent // the default routes' next hops, likewise without prefix
	DNS     Extent // the name servers, likewise
	Search  Extent // the domains that names are looked up in, separated by spaces
}

// Bits of NIC.Flags.
const (
	// NICChecksum: a frame may come and go without its transport checksum, as
	// PacketPartial tells.
	NICChecksum = 1 << iota
	// NICSegments: TCP segments may come and go longer than the MTU, to be cut
	// (PacketTCP4, PacketTCP6).
	NICSegments
	// NICDHCP: the guest shall ask for its IPv4 address by DHCP.
	NICDHCP
)

// NetRings is how a NIC sends and receives, at NIC.Ring, in memory that the host has
// placed there. The guest is Transmit's producer and Receive's consumer.
type NetRings struct {
	Transmit PacketRing
	Receive  PacketRing
	Link     uint32 // host: 1 while the link is up
	Pad      [PageSize - 4]byte
}

// PacketRing is a ring of packets with one producer and one consumer. Indexes are in
// bytes, multiples of PacketAlign, run freely and are taken modulo PacketRingBytes.
//
// At Data[Prod] the producer puts a [PacketHeader] and behind it the frame, fills up
// to PacketAlign, and then raises Prod. A packet does not go over the end of Data: in
// front of one that would, a header with Length PacketSkip stands for the rest of
// Data. The consumer takes them in order and raises Cons. Prod is never more than
// PacketRingBytes ahead of Cons.
//
// When Prod has passed ProdEvent the producer tells the consumer, and when Cons has
// passed ConsEvent the consumer tells the producer: the guest by CallNetDoorbell, the
// host by EventNet. An index that goes from old to new has passed event when
// new-event < new-old, unsigned.
type PacketRing struct {
	Prod      uint32 // producer
	ConsEvent uint32 // producer
	Pad0      [14]uint32

	Cons      uint32 // consumer
	ProdEvent uint32 // consumer
	Pad1      [14]uint32

	Polling uint32 // host: not 0 while it looks at the ring without being told
	Pad2    [PageSize - 132]byte

	Data [PacketRingBytes]byte
}

// PacketHeader stands in front of a frame, which begins with its Ethernet header.
// From Flags on it is laid out as struct virtio_net_hdr (Virtual I/O Device (VIRTIO)
// Version 1.2, "Device Operation" of the network device).
type PacketHeader struct {
	Length         uint32 // of the frame, in bytes: MinFrame to MaxFrame; or PacketSkip
	Flags          uint8  // PacketPartial, PacketChecked
	GSO            uint8  // PacketWhole, PacketTCP4, PacketTCP6
	HeaderLen      uint16 // bytes up to the end of the TCP header, where GSO is not PacketWhole
	SegmentSize    uint16 // bytes of TCP payload in each frame that it is cut into
	ChecksumStart  uint16 // where the checksum begins, for PacketPartial
	ChecksumOffset uint16 // from there to where it is stored
	Pad            uint16
}

// Bits of PacketHeader.Flags.
const (
	// PacketPartial: the field at ChecksumStart+ChecksumOffset has the sum of the
	// pseudo header, and the rest from ChecksumStart on is still to be added.
	PacketPartial = 1
	// PacketChecked: the host has found the checksum right.
	PacketChecked = 2
)

// Values of PacketHeader.GSO.
const (
	PacketWhole = 0 // one frame
	PacketTCP4  = 1 // TCP in IPv4, to be cut into frames
	PacketTCP6  = 4 // TCP in IPv6
)

const (
	// PacketRingBytes is the room of one ring, a power of two.
	PacketRingBytes = 512 << 10
	// PacketAlign is what a packet's place is a multiple of.
	PacketAlign = 16
	// PacketSkip in PacketHeader.Length leaves out the rest of PacketRing.Data.
	PacketSkip = 1<<32 - 1
	// EthernetHeader is how long a frame's own header is.
	EthernetHeader = 14
	// MinFrame and MaxFrame bound a frame, in bytes. One that is not to be cut is no
	// longer than EthernetHeader and the MTU.
	MinFrame = EthernetHeader
	MaxFrame = EthernetHeader + 65535
	// MinMTU and MaxMTU bound NIC.MTU. IPv6 needs 1280.
	MinMTU = 1280
	MaxMTU = 65521
	// MaxNICs is how many a machine may have.
	MaxNICs = 4
)

var (
	_ = [1]struct{}{}[unsafe.Sizeof(NIC{})-88]
	_ = [1]struct{}{}[unsafe.Sizeof(PacketRing{})-PageSize-PacketRingBytes]
	_ = [1]struct{}{}[unsafe.Offsetof(PacketRing{}.Data)-PageSize]
	_ = [1]struct{}{}[unsafe.Sizeof(NetRings{})-3*PageSize-2*PacketRingBytes]
	_ = [1]struct{}{}[unsafe.Sizeof(PacketHeader{})-16]
)

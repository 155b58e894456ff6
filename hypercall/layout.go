package hypercall

// The guest's address space. Everything from ReservedGVA up belongs to the
// contract: paging calls there are refused.
//
//	0x0000_0000_0000  never mapped (64 KiB)
//	0x0000_0040_0000  the image, where its ELF segments say
//	0x0000_0c00_0000… the guest's own
//	0x7f00_0000_0000  RootFSGVA: the root file system archive, read-only
//	0x7f80_0000_0000  DirectMapGVA: in trap mode, physical memory from 0 on
//	0x7ffd_0000_0000  HypercallGVA: one page of code, filled by the host
//	0x7ffd_0010_0000  StartInfoGVA: StartInfo and its strings, read-only
//	0x7ffd_0030_0000  SharedInfoGVA: one page, read-write
//	0x7ffd_0031_0000  VCPUInfoGVA: one page a vCPU, read-write; GS base
//	0x7ffd_0050_0000  BootStackTop: end of the first stack
//	0x7ffd_0060_0000  BlockRingGVA: the rings, read-write, BlockRingStride apart
//	0x7ffd_0100_0000  NetRingGVA: the NICs' rings, read-write, NetRingStride apart
//	0x7ffd_0800_0000  MessageGVA: the message queue, read-only
//	0x7ffd_0900_0000  MessageDataGVA: the messages' data, read-only, MessageStride apart
const (
	MinGVA        GVA = 0x10000
	ReservedGVA   GVA = 0x7f00_0000_0000
	RootFSGVA     GVA = 0x7f00_0000_0000
	DirectMapGVA  GVA = 0x7f80_0000_0000
	HypercallGVA  GVA = 0x7ffd_0000_0000
	StartInfoGVA  GVA = 0x7ffd_0010_0000
	SharedInfoGVA GVA = 0x7ffd_0030_0000
	VCPUInfoGVA   GVA = 0x7ffd_0031_0000
	BootStackTop  GVA = 0x7ffd_0050_0000
	BlockRingGVA  GVA = 0x7ffd_0060_0000
	NetRingGVA    GVA = 0x7ffd_0100_0000
	MessageGVA    GVA = 0x7ffd_0800_0000

	MessageDataGVA GVA = 0x7ffd_0900_0000
)

const (
	// BootStackSize is the size of the first stack, in bytes.
	BootStackSize = 128 << 10
	// MaxStartInfo bounds the start-info page and its strings, in bytes.
	MaxStartInfo = 1 << 20
	// BlockRingStride is from one ring to the next, in bytes: the disks' in their
	// order, then StartInfo.FileRing.
	BlockRingStride = 64 << 10
	// NetRingStride is from one NIC's rings to the next's, in bytes.
	NetRingStride = 2 << 20
	// MessageStride is from one message's data to the next's, in bytes.
	MessageStride = 8 << 20
	// MaxVCPUs is how many vCPU pages fit between VCPUInfoGVA and the stack.
	MaxVCPUs = 64
)

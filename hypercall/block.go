package hypercall

import "unsafe"

// Disk is one disk of the machine. Its place in StartInfo.Disks is its number.
type Disk struct {
	Ring       GVA    // its [BlockRing]; 0 in ModeTrap, where it is an ATA disk
	Bytes      uint64 // its size, a multiple of SectorSize
	SectorSize uint32 // what offsets and lengths are multiples of: 512 or 4096
	Flags      uint32 // DiskReadOnly and others
	Path       Extent // where the guest mounts the volume on it; Len 0: nowhere
}

// Bits of Disk.Flags.
const (
	DiskReadOnly = 1 << iota // writes, discards and zeroes are EROFS
	DiskDiscard              // BlockDiscard works
	DiskZeroes               // BlockWriteZeroes works
)

// BlockRing is how a disk gets requests and gives answers, at Disk.Ring, in memory
// that the host has placed there. Indexes run freely and are taken modulo
// BlockRingSize.
//
// The guest fills Requests[ReqProd], raises ReqProd and, when that has passed
// ReqEvent, makes CallDoorbell. The host fills Responses[RspProd], raises RspProd
// and, when that has passed RspEvent, raises EventBlock. The guest raises RspCons as
// it takes responses; no more than BlockRingSize requests are ever without a response
// that was taken. A ReqProd that is further ahead ends the machine.
//
// An index that goes from old to new has passed event when new-event < new-old,
// unsigned: its owner sets it to one past the entry that it wants to be told of.
type BlockRing struct {
	ReqProd  uint32 // guest
	RspEvent uint32 // guest
	RspCons  uint32 // guest
	Pad0     [13]uint32

	ReqEvent uint32 // host
	RspProd  uint32 // host
	Polling  uint32 // host: whether it is worth while to wait for a response
	Pad1     [13]uint32

	Pad2 [PageSize - 128]byte

	Requests  [BlockRingSize]BlockRequest
	Responses [BlockRingSize]BlockResponse
}

// BlockOp is what a request asks for. 0 is reserved.
type BlockOp uint32

const (
	BlockRead        BlockOp = 1 // Offset, Length, segments
	BlockWrite       BlockOp = 2 // Offset, Length, segments
	BlockFlush       BlockOp = 3 // what was answered before stays whatever happens
	BlockDiscard     BlockOp = 4 // Offset, Length: nobody wants the contents any more
	BlockWriteZeroes BlockOp = 5 // Offset, Length
	// BlockHostFile, on StartInfo.FileRing and there alone, is CallHostFile with the
	// HostFileArgs at Segments[0].Addr; of the operations only some.
	BlockHostFile BlockOp = 6
	BlockOpEnd    BlockOp = 7
)

// BlockRequest is one request; all fields are IN. Requests are not ordered but by
// BlockFlush, and complete in any order.
type BlockRequest struct {
	ID       uint64 // comes back in the response
	Op       BlockOp
	Count    uint32 // segments, of read and write
	Offset   uint64 // bytes from the start of the disk
	Length   uint64 // bytes; of read and write at most MaxBlockBytes and the segments' sum
	Segments [BlockSegments]BlockSegment
}

// BlockSegment is a part of a request's buffer. When Count is more than
// BlockSegments, the first one is the memory of an array of Count segments.
type BlockSegment struct {
	Addr GVA
	Len  uint64 // bytes, not 0
}

// BlockResponse answers one request.
type BlockResponse struct {
	ID     uint64
	Result int64 // 0, or what the call returns, or minus a Status
}

// Values of BlockRing.Polling but 0.
const (
	PollingRequests = 1 // the host looks at ReqProd without being told
	PollingDone     = 2 // it does not, but will soon have done what it was asked for
)

const (
	// BlockRingSize is how many requests may be under way on one ring.
	BlockRingSize = 256
	// BlockSegments is how many segments fit into a request.
	BlockSegments = 2
	// MaxBlockSegments bounds BlockRequest.Count.
	MaxBlockSegments = 128
	// MaxBlockBytes bounds BlockRequest.Length of read and write.
	MaxBlockBytes = 1 << 20
	// MaxDisks is how many disks a machine may have.
	MaxDisks = 16
	// MaxEventDelayNS is how long the host may keep EventBlock from a guest that
	// runs, to spare it what it may be about to see by itself, in ns.
	MaxEventDelayNS = 100_000
)

var (
	_ = [1]struct{}{}[unsafe.Sizeof(Disk{})-40]
	_ = [1]struct{}{}[unsafe.Sizeof(BlockRing{})-6*PageSize]
	_ = [1]struct{}{}[unsafe.Offsetof(BlockRing{}.Requests)-PageSize]
	_ = [1]struct{}{}[unsafe.Sizeof(BlockRequest{})-64]
	_ = [1]struct{}{}[unsafe.Sizeof(BlockSegment{})-16]
	_ = [1]struct{}{}[unsafe.Sizeof(BlockResponse{})-16]
)

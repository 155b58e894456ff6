package vol

import "hash/crc32"

// The format; docs/volume.md says what each is for.
const (
	Magic          = "pvrunvol"
	Version        = 1
	BlockSize      = 4096 // bytes
	SuperSize      = 512  // bytes: a sector, which is written whole or not at all
	Supers         = 2    // blocks 0 and 1
	PointerSize    = 16   // bytes
	NodePointers   = BlockSize / PointerSize
	MaxHeight      = 4 // levels of nodes above the data
	InodeSize      = 256
	BlockInodes    = BlockSize / InodeSize
	RootInode      = 1
	SlotHeader     = 16                           // bytes
	SlotBits       = (BlockSize - SlotHeader) * 8 // blocks that one bitmap block tells of
	EntryHeader    = 12                           // bytes
	EntryAlign     = 4
	MaxName        = 255
	MaxTarget      = 4095
	InlineTarget   = 152 // bytes of a link's target that fit into its inode
	MaxLinks       = 65000
	MinBlocks      = 256
	MaxBlocks      = 1 << 32
	nodeShift      = 8 // log2 of NodePointers
	superChecksum  = SuperSize - 4
	maxSize        = int64(BlockSize) << (nodeShift * MaxHeight)
	maxInodeBlocks = 1 << 28
)

// Offsets in a superblock.
const (
	superMagic       = 0
	superVersion     = 8
	superBlockSize   = 12
	superUUID        = 16
	superGeneration  = 32
	superBlocks      = 40
	superTable       = 48 // the pointer to the inode file
	superHeight      = 64
	superInodes      = 72
	superFreeInodes  = 80
	superOrphans     = 88
	superFreeBlocks  = 96
	superCreated     = 104
	superCommitted   = 112
	inodeMode        = 0
	inodeNlink       = 4
	inodeUID         = 8
	inodeGID         = 12
	inodeSize        = 16
	inodeBlocks      = 24
	inodeAtime       = 32
	inodeMtime       = 40
	inodeCtime       = 48
	inodeBtime       = 56
	inodeRoot        = 64
	inodeHeight      = 80
	inodeTarget      = 96
	pointerBlock     = 0
	pointerChecksum  = 8
	slotGeneration   = 0
	slotChecksum     = 8
	entryInode       = 0
	entryLength      = 8
	entryNameLength  = 10
	entryType        = 11
	entryTypeShift   = 12 // of the mode
	firstBitmapBlock = Supers
)

func get16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
func put16(b []byte, v uint16) {
	b[0], b[1] = byte(v), byte(v>>8)
}
func get32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}
func get64(b []byte) uint64 { return uint64(get32(b)) | uint64(get32(b[4:]))<<32 }
func put64(b []byte, v uint64) {
	put32(b, uint32(v))
	put32(b[4:], uint32(v>>32))
}

// Checksum is CRC-32C.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// block is the contents of one.
type block [BlockSize]byte

// pointer leads to a block; no block is a hole.
type pointer struct {
	block uint64
	sum   uint32
}

// pending is the block of a pointer to what is only in memory so far.
const pending = ^uint64(0)

func getPointer(b []byte) pointer {
	return pointer{get64(b[pointerBlock:]), get32(b[pointerChecksum:])}
}

func (p pointer) put(b []byte) {
	clear(b[:PointerSize])
	put64(b[pointerBlock:], p.block)
	put32(b[pointerChecksum:], p.sum)
}

// slot is the bytes of pointer i of a node.
func (b *block) slot(i uint64) []byte {
	return b[i%NodePointers*PointerSize:][:PointerSize]
}

// super is a superblock.
type super struct {
	uuid        [16]byte
	generation  uint64
	blocks      uint64 // of the volume
	table       pointer
	height      uint8
	inodes      uint64 // in the inode file, used or not
	freeInodes  uint64
	orphans     uint64 // inodes without a name that were open
	freeBlocks  uint64
	created     int64
	committed   int64
	description error // why it is none
}

// encode is the superblock's block. Only its first sector says anything: the rest
// is there for devices whose sectors are as long as blocks.
func (s *super) encode() []byte {
	b := make([]byte, BlockSize)
	copy(b[superMagic:], Magic)
	put32(b[superVersion:], Version)
	put32(b[superBlockSize:], BlockSize)
	copy(b[superUUID:], s.uuid[:])
	put64(b[superGeneration:], s.generation)
	put64(b[superBlocks:], s.blocks)
	s.table.put(b[superTable:])
	put32(b[superHeight:], uint32(s.height))
	put64(b[superInodes:], s.inodes)
	put64(b[superFreeInodes:], s.freeInodes)
	put64(b[superOrphans:], s.orphans)
	put64(b[superFreeBlocks:], s.freeBlocks)
	put64(b[superCreated:], uint64(s.created))
	put64(b[superCommitted:], uint64(s.committed))
	put32(b[superChecksum:], Checksum(b[:superChecksum]))
	return b
}

// decodeSuper reads a superblock for a device of that many blocks.
func decodeSuper(b []byte, device uint64) (s super, err error) {
	switch v := get32(b[superVersion:]); {
	case string(b[superMagic:superMagic+8]) != Magic:
		return s, errMagic
	case v != Version:
		return s, &versionError{v}
	case get32(b[superChecksum:]) != Checksum(b[:superChecksum]):
		return s, errChecksum
	}
	copy(s.uuid[:], b[superUUID:])
	s.generation = get64(b[superGeneration:])
	s.blocks = get64(b[superBlocks:])
	s.table = getPointer(b[superTable:])
	s.height = uint8(min(get32(b[superHeight:]), 255))
	s.inodes = get64(b[superInodes:])
	s.freeInodes = get64(b[superFreeInodes:])
	s.orphans = get64(b[superOrphans:])
	s.freeBlocks = get64(b[superFreeBlocks:])
	s.created = int64(get64(b[superCreated:]))
	s.committed = int64(get64(b[superCommitted:]))
	switch {
	case get32(b[superBlockSize:]) != BlockSize, s.blocks < MinBlocks, s.blocks > MaxBlocks, s.height > MaxHeight,
		s.inodes%BlockInodes != 0, s.inodes < BlockInodes, s.inodes/BlockInodes > s.blocks,
		s.freeInodes > s.inodes, s.orphans > s.inodes, s.freeBlocks > s.blocks, s.generation > 1<<62:
		return s, errFields
	case s.blocks > device:
		return s, errShort
	}
	return s, nil
}

// dataStart is the first block after the bitmap.
func dataStart(blocks uint64) uint64 { return firstBitmapBlock + 2*bitmapBlocks(blocks) }

func bitmapBlocks(blocks uint64) uint64 { return (blocks + SlotBits - 1) / SlotBits }

// valid is whether a pointer can lead to a block of trees.
func (s *super) valid(p pointer) bool {
	return p.block >= dataStart(s.blocks) && p.block < s.blocks
}

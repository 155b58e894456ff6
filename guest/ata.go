package guest

import "unsafe"

// The disk of a bare machine: device 0 of the primary ATA channel, by programmed
// I/O (T13/1410D, "AT Attachment with Packet Interface - 6"). Its interrupt stays
// masked: a device that has data says so in the same access that one would begin
// with after an interrupt.
//
// Goroutines call what follows, one at a time, as the library's door sees to it.

const (
	ataData    = 0x1f0
	ataCount   = 0x1f2
	ataLow     = 0x1f3
	ataMid     = 0x1f4
	ataHigh    = 0x1f5
	ataDevice  = 0x1f6
	ataCommand = 0x1f7 // status when read
	ataAltStat = 0x3f6

	ataBusy  = 0x80
	ataFault = 0x20
	ataReady = 0x08 // DRQ: to transfer a block
	ataError = 0x01

	ataLBA = 0x40 // of the device register: addresses are numbers of sectors

	ataReadExt       = 0x24
	ataReadMulExt    = 0x29
	ataWriteExt      = 0x34
	ataWriteMulExt   = 0x39
	ataSetMultiple   = 0xc6
	ataFlushExt      = 0xea
	ataIdentify      = 0xec
	ataTimeout       = 30_000_000_000 // ns for one block
	ataLBA48         = 1 << 10        // word 83
	ataWordsInSector = 256
)

// SectorSize is in bytes.
const SectorSize = 512

// DiskMost is how many sectors one command moves at the most.
const DiskMost = 256

// disk is what is known of it; written by the first call of DiskSectors.
var disk struct {
	probed  bool
	sectors uint64
	block   uint64 // sectors a transfer
}

// DiskSectors is the size of the machine's disk in sectors, 0 without one.
func DiskSectors() uint64 {
	if isNative && !disk.probed {
		disk.probed = true
		disk.block = 1
		probeDisk()
	}
	return disk.sectors
}

// probeDisk looks for a disk. Where nobody answers, the lines are high.
func probeDisk() {
	if in8(ataCommand) == 0xff {
		return
	}
	id := new([ataWordsInSector]uint16)
	out8(ataDevice, ataLBA)
	out8(ataCommand, ataIdentify)
	if !awaitBlock() {
		return
	}
	inWords(ataData, uintptr(unsafe.Pointer(id)), ataWordsInSector)
	if id[83]&ataLBA48 == 0 {
		return
	}
	disk.sectors = diskSize(id)
	if n := uint8(id[47]); n > 1 {
		out8(ataCount, n)
		out8(ataCommand, ataSetMultiple)
		if awaitDisk()&(ataError|ataFault) == 0 {
			disk.block = uint64(n)
		}
	}
}

// diskSize is in words 100 to 103 of what IDENTIFY DEVICE says.
func diskSize(id *[ataWordsInSector]uint16) (n uint64) {
	for i := range 4 {
		n |= uint64(id[100+i]) << (16 * i)
	}
	return n
}

// awaitDisk waits until the device has done its part, and returns its status. The
// first reading is only there to be long enough for the status to be true.
func awaitDisk() uint8 {
	in8(ataAltStat)
	for end := Monotonic() + ataTimeout; ; {
		if s := in8(ataCommand); s&ataBusy == 0 {
			return s
		}
		if Monotonic() > end {
			return ataFault
		}
	}
}

// awaitBlock waits until the device wants to transfer a block.
func awaitBlock() bool {
	return awaitDisk()&(ataError|ataFault|ataReady) == ataReady
}

// diskCommand starts a command on n sectors, 256 at the most. Each register takes
// the high half of its 48 bits first.
func diskCommand(command uint8, first, n uint64) {
	out8(ataCount, uint8(n>>8))
	out8(ataLow, uint8(first>>24))
	out8(ataMid, uint8(first>>32))
	out8(ataHigh, uint8(first>>40))
	out8(ataCount, uint8(n))
	out8(ataLow, uint8(first))
	out8(ataMid, uint8(first>>8))
	out8(ataHigh, uint8(first>>16))
	out8(ataDevice, ataLBA)
	out8(ataCommand, command)
}

// DiskRead reads whole sectors to heap memory, DiskMost at the most.
func DiskRead(b []byte, first uint64) bool {
	command := uint8(ataReadExt)
	if disk.block > 1 {
		command = ataReadMulExt
	}
	diskCommand(command, first, uint64(len(b)/SectorSize))
	for len(b) >= SectorSize {
		if !awaitBlock() {
			return false
		}
		n := min(len(b), int(disk.block)*SectorSize)
		inWords(ataData, uintptr(unsafe.Pointer(&b[0])), uintptr(n/2))
		b = b[n:]
	}
	return true
}

// DiskWrite writes whole sectors from heap memory, DiskMost at the most.
func DiskWrite(b []byte, first uint64) bool {
	command := uint8(ataWriteExt)
	if disk.block > 1 {
		command = ataWriteMulExt
	}
	diskCommand(command, first, uint64(len(b)/SectorSize))
	for len(b) >= SectorSize {
		if !awaitBlock() {
			return false
		}
		n := min(len(b), int(disk.block)*SectorSize)
		outWords(ataData, uintptr(unsafe.Pointer(&b[0])), uintptr(n/2))
		b = b[n:]
	}
	return awaitDisk()&(ataError|ataFault) == 0
}

// DiskFlush has the disk keep what it was given.
func DiskFlush() bool {
	out8(ataDevice, ataLBA)
	out8(ataCommand, ataFlushExt)
	return awaitDisk()&(ataError|ataFault) == 0
}

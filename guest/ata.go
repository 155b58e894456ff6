package guest

import "unsafe"

// The disks of a bare machine: devices 0 and 1 of the primary ATA channel, then of
// the secondary, by programmed I/O (T13/1410D, "AT Attachment with Packet Interface
// - 6"). Their interrupts stay masked: a device that has data says so in the same
// access that one would begin with after an interrupt.
//
// Goroutines call what follows, one at a time for each channel, as the library's
// door sees to it.

// ataChannels are the channels' first ports, of command and control registers.
var ataChannels = [MaxATA / 2]struct{ command, control uint16 }{{0x1f0, 0x3f6}, {0x170, 0x376}}

// MaxATA is how many disks a bare machine can have.
const MaxATA = 4

// Registers, as offsets from a channel's first port.
const (
	ataData    = 0
	ataCount   = 2
	ataLow     = 3
	ataMid     = 4
	ataHigh    = 5
	ataDevice  = 6
	ataCommand = 7 // status when read

	ataBusy  = 0x80
	ataFault = 0x20
	ataReady = 0x08 // DRQ: to transfer a block
	ataError = 0x01

	ataLBA    = 0x40 // of the device register: addresses are numbers of sectors
	ataSecond = 0x10 // and they are device 1's

	ataReadExt       = 0x24
	ataReadMulExt    = 0x29
	ataWriteExt      = 0x34
	ataWriteMulExt   = 0x39
	ataSetMultiple   = 0xc6
	ataFlushExt      = 0xea
	ataIdentify      = 0xec
	ataTimeout       = 30_000_000_000 // ns for one block
	ataWordsInSector = 256
)

// SectorSize is in bytes.
const SectorSize = 512

// DiskMost is how many sectors one command moves at the most.
const DiskMost = 256

// ataDisk is where a disk is and what is known of it.
type ataDisk struct {
	base, control uint16
	device        uint8  // of the device register
	block         uint64 // sectors a transfer; 0: it has not been asked yet
}

// ataDisks are guarded by the locks of their channels.
var ataDisks [MaxATA]ataDisk

// ataOf is disk n, which is there: start info says so.
func ataOf(n int) *ataDisk {
	d := &ataDisks[n]
	if d.block == 0 {
		c := &ataChannels[n/2]
		d.base, d.control, d.device, d.block = c.command, c.control, ataLBA, 1
		if n%2 == 1 {
			d.device |= ataSecond
		}
		d.probe()
	}
	return d
}

// probe asks how many sectors the disk moves at once, and has it do so.
func (d *ataDisk) probe() {
	id := new([ataWordsInSector]uint16)
	d.out(ataDevice, d.device)
	d.out(ataCommand, ataIdentify)
	if !d.awaitBlock() {
		return
	}
	inWords(d.base+ataData, uintptr(unsafe.Pointer(id)), ataWordsInSector)
	if n := uint8(id[47]); n > 1 {
		d.out(ataCount, n)
		d.out(ataCommand, ataSetMultiple)
		if d.await()&(ataError|ataFault) == 0 {
			d.block = uint64(n)
		}
	}
}

func (d *ataDisk) out(register uint16, v uint8) { out8(d.base+register, v) }

// await waits until the device has done its part, and returns its status. The
// first reading is only there to be long enough for the status to be true.
func (d *ataDisk) await() uint8 {
	in8(d.control)
	for end := Monotonic() + ataTimeout; ; {
		if s := in8(d.base + ataCommand); s&ataBusy == 0 {
			return s
		}
		if Monotonic() > end {
			return ataFault
		}
	}
}

// awaitBlock waits until the device wants to transfer a block.
func (d *ataDisk) awaitBlock() bool {
	return d.await()&(ataError|ataFault|ataReady) == ataReady
}

// command starts a command on n sectors, 256 at the most. Each register takes the
// high half of its 48 bits first.
func (d *ataDisk) command(command uint8, first, n uint64) {
	d.out(ataDevice, d.device)
	d.out(ataCount, uint8(n>>8))
	d.out(ataLow, uint8(first>>24))
	d.out(ataMid, uint8(first>>32))
	d.out(ataHigh, uint8(first>>40))
	d.out(ataCount, uint8(n))
	d.out(ataLow, uint8(first))
	d.out(ataMid, uint8(first>>8))
	d.out(ataHigh, uint8(first>>16))
	d.out(ataCommand, command)
}

// each calls move for each block of a command on heap memory.
func (d *ataDisk) each(b []byte, move func(port uint16, at, words uintptr)) bool {
	for len(b) >= SectorSize {
		if !d.awaitBlock() {
			return false
		}
		n := min(len(b), int(d.block)*SectorSize)
		move(d.base+ataData, uintptr(unsafe.Pointer(&b[0])), uintptr(n/2))
		b = b[n:]
	}
	return true
}

// DiskRead reads whole sectors of disk n to heap memory, DiskMost at the most.
func DiskRead(n int, b []byte, first uint64) bool {
	d := ataOf(n)
	command := uint8(ataReadExt)
	if d.block > 1 {
		command = ataReadMulExt
	}
	d.command(command, first, uint64(len(b)/SectorSize))
	return d.each(b, inWords)
}

// DiskWrite writes whole sectors of disk n from heap memory, DiskMost at the most.
func DiskWrite(n int, b []byte, first uint64) bool {
	d := ataOf(n)
	command := uint8(ataWriteExt)
	if d.block > 1 {
		command = ataWriteMulExt
	}
	d.command(command, first, uint64(len(b)/SectorSize))
	return d.each(b, outWords) && d.await()&(ataError|ataFault) == 0
}

// DiskFlush has disk n keep what it was given.
func DiskFlush(n int) bool {
	d := ataOf(n)
	d.out(ataDevice, d.device)
	d.out(ataCommand, ataFlushExt)
	return d.await()&(ataError|ataFault) == 0
}

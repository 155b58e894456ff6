package device

import "io"

// Disk is what an ATA device keeps its sectors in: 512 bytes each, as many as
// Size has whole.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Size() int64 // bytes
	Sync() error
}

// ATA is one device of a [Channel], by programmed I/O: ATA/ATAPI-6 (T13/1410D), 28-bit and 48-bit addresses, no DMA, no packets, no
// CHS addresses. Transfers with the host are done within the access that asks
// for them, so the device is never seen busy but while it is reset.
//
// A sector that the host cannot read is an uncorrectable error. One that it
// cannot write, and a flush that fails, is a device fault with the command
// aborted; after a flush has failed none ever succeeds.
type ATA struct {
	irq     Line
	number  uint8 // deviceTwo for device 1, else 0
	mate    bool  // there is a device 1 beside device 0
	level   bool  // of irq, last told
	disk    Disk
	sectors uint64

	features, count, low, mid, high register
	device, status, failure         uint8
	control                         uint8
	pending                         bool // an interrupt, which a read of status ends

	command  command
	sector   uint64 // the next to be transferred
	left     int    // sectors that are not in the buffer yet, or not written
	buffer   [maxMultiple * sectorSize]byte
	at, end  int // of the buffer: what is to be transferred
	multiple int // sectors of a block, of the commands that have blocks

	writeThrough bool
	noFlush      bool // one has failed
}

const (
	sectorSize  = 512
	maxMultiple = 16
	lba28       = 1 << 28 // sectors that 28 bits reach
)

// The registers, as offsets from the data port, and their bits: clause 7.
const (
	ataError    = 1
	ataFeatures = 1
	ataCount    = 2
	ataLow      = 3
	ataMid      = 4
	ataHigh     = 5
	ataDevice   = 6
	ataCommand  = 7

	statusBusy  = 0x80
	statusReady = 0x40
	statusFault = 0x20
	statusSeek  = 0x10 // obsolete, and set by all disks
	statusData  = 0x08
	statusError = 0x01

	errorUncorrectable = 0x40
	errorNotFound      = 0x10
	errorAborted       = 0x04

	deviceLBA = 0x40
	deviceTwo = 0x10

	controlHOB   = 0x80
	controlReset = 0x04
	controlNIEN  = 0x02
)

// register is one that two writes fill: for 48-bit commands the first is the
// high order byte.
type register struct{ now, before uint8 }

func (r *register) write(v uint8) { r.before, r.now = r.now, v }

// command is what the device does.
type command struct {
	write bool
	ext   bool // 48 bits
	block int  // sectors an interrupt
}

// newDevice makes one. The size of the disk is asked for once.
func newDevice(irq Line, disk Disk) *ATA {
	a := &ATA{irq: irq, disk: disk, sectors: uint64(max(disk.Size(), 0)) / sectorSize}
	a.reset()
	return a
}

// reset is a hardware or software reset: what it finds says that it is an ATA
// disk, clause 9.12.
func (a *ATA) reset() {
	a.end, a.at, a.left, a.multiple = 0, 0, 0, 0
	a.pending, a.writeThrough = false, false
	a.signature()
	a.device = 0
	a.status = statusReady | statusSeek
}

func (a *ATA) signature() {
	a.count.now, a.low.now, a.mid.now, a.high.now = 1, 1, 0, 0
	a.failure = 1 // it passed its diagnostics, and so did a device 1
}

// absent reports whether the other device is selected.
func (a *ATA) absent() bool { return a.device&deviceTwo != a.number }

// settle brings INTRQ up to date. A device that is not selected, or told not to,
// does not drive it.
func (a *ATA) settle() {
	level := a.pending && a.control&(controlNIEN|controlReset) == 0 && !a.absent()
	if level != a.level {
		a.level = level
		a.irq(level)
	}
}

func (a *ATA) in(port uint16) uint8 {
	if port == ataControl {
		return a.alternate()
	}
	reg := port - ataData
	if a.status&statusBusy != 0 && reg != 0 {
		return a.alternate()
	}
	switch reg {
	case 0:
		return uint8(a.inData())
	case ataError:
		return a.failure
	case ataCount:
		return a.read(&a.count)
	case ataLow:
		return a.read(&a.low)
	case ataMid:
		return a.read(&a.mid)
	case ataHigh:
		return a.read(&a.high)
	case ataDevice:
		return a.device
	}
	return a.readStatus()
}

// alternate is the status without an end to the interrupt. Device 0 answers for
// the other that nothing is there.
func (a *ATA) alternate() uint8 {
	if a.absent() {
		return 0
	}
	return a.status
}

func (a *ATA) readStatus() uint8 {
	v := a.alternate()
	if !a.absent() {
		a.pending = false
		a.settle()
	}
	return v
}

func (a *ATA) read(r *register) uint8 {
	if a.control&controlHOB != 0 {
		return r.before
	}
	return r.now
}

func (a *ATA) out(port uint16, v uint8) {
	defer a.settle()
	if port == ataControl {
		a.setControl(v)
		return
	}
	if a.status&statusBusy != 0 {
		return
	}
	a.control &^= controlHOB
	switch port - ataData {
	case 0:
		a.outData(uint16(v))
	case ataFeatures:
		a.features.write(v)
	case ataCount:
		a.count.write(v)
	case ataLow:
		a.low.write(v)
	case ataMid:
		a.mid.write(v)
	case ataHigh:
		a.high.write(v)
	case ataDevice:
		a.device = v
	case ataCommand:
		a.execute(v)
	}
}

// setControl is the device control register. The reset lasts as long as its bit.
func (a *ATA) setControl(v uint8) {
	was := a.control & controlReset
	a.control = v
	switch {
	case v&controlReset != 0:
		a.reset()
		a.status = statusBusy
	case was != 0:
		a.status = statusReady | statusSeek
	}
}

// inData is the data port, 16 bits wide. A narrower read takes all of them.
func (a *ATA) inData() uint16 {
	if a.status&statusData == 0 || a.command.write {
		return 0
	}
	v := uint16(a.buffer[a.at]) | uint16(a.buffer[a.at+1])<<8
	if a.at += 2; a.at == a.end {
		a.emptied()
	}
	return v
}

func (a *ATA) outData(v uint16) {
	if a.status&statusData == 0 || !a.command.write {
		return
	}
	a.buffer[a.at], a.buffer[a.at+1] = uint8(v), uint8(v>>8)
	if a.at += 2; a.at == a.end {
		a.filled()
	}
	a.settle()
}

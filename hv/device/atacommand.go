package device

// The commands: ATA/ATAPI-6, clause 8.
const (
	cmdReadSectors     = 0x20
	cmdReadNoRetry     = 0x21
	cmdReadExt         = 0x24
	cmdReadMultipleExt = 0x29
	cmdWriteSectors    = 0x30
	cmdWriteNoRetry    = 0x31
	cmdWriteExt        = 0x34
	cmdWriteMultiExt   = 0x39
	cmdVerify          = 0x40
	cmdVerifyNoRetry   = 0x41
	cmdVerifyExt       = 0x42
	cmdDiagnostic      = 0x90
	cmdReadMultiple    = 0xc4
	cmdWriteMultiple   = 0xc5
	cmdSetMultiple     = 0xc6
	cmdStandbyNow      = 0xe0
	cmdIdleNow         = 0xe1
	cmdStandby         = 0xe2
	cmdIdle            = 0xe3
	cmdCheckPower      = 0xe5
	cmdSleep           = 0xe6
	cmdFlush           = 0xe7
	cmdFlushExt        = 0xea
	cmdIdentify        = 0xec
	cmdSetFeatures     = 0xef

	powerActive = 0xff // in the count register
)

// execute is a write of the command register. A transfer that was under way is
// given up.
func (a *ATA) execute(code uint8) {
	if a.absent() && code != cmdDiagnostic {
		return
	}
	a.at, a.end, a.left, a.pending = 0, 0, 0, false
	a.failure, a.command = 0, command{}
	switch code {
	case cmdReadSectors, cmdReadNoRetry, cmdReadExt, cmdReadMultiple, cmdReadMultipleExt:
		a.transfer(code, false)
	case cmdWriteSectors, cmdWriteNoRetry, cmdWriteExt, cmdWriteMultiple, cmdWriteMultiExt:
		a.transfer(code, true)
	case cmdVerify, cmdVerifyNoRetry, cmdVerifyExt:
		a.verify(code == cmdVerifyExt)
	case cmdIdentify:
		a.identify()
	default:
		a.simple(code)
	}
}

// simple are the commands without data.
func (a *ATA) simple(code uint8) {
	switch code {
	case cmdDiagnostic:
		a.signature()
		a.device = 0
		a.finish(0, a.failure)
		a.pending = a.number == 0 // which speaks for both
	case cmdFlush, cmdFlushExt:
		a.flush()
	case cmdSetMultiple:
		a.setMultiple(a.count.now)
	case cmdSetFeatures:
		a.setFeatures()
	case cmdCheckPower:
		a.count.now = powerActive
		a.finish(0, 0)
	case cmdStandbyNow, cmdIdleNow, cmdStandby, cmdIdle, cmdSleep: // it needs no rest
		a.finish(0, 0)
	default:
		a.abort()
	}
}

// finish ends a command with bits of status and error.
func (a *ATA) finish(status, failure uint8) {
	a.at, a.end, a.left = 0, 0, 0
	a.status = statusReady | statusSeek | status
	a.failure = failure
	a.pending = true
}

func (a *ATA) finishIf(ok bool) {
	if ok {
		a.finish(0, 0)
		return
	}
	a.abort()
}

func (a *ATA) abort() { a.finish(statusError, errorAborted) }

// fault is what the host could not write.
func (a *ATA) fault() { a.finish(statusError|statusFault, errorAborted) }

// fail ends a command at a sector, and says at which.
func (a *ATA) fail(failure uint8) {
	a.setAddress(a.sector)
	a.finish(statusError, failure)
}

func (a *ATA) setAddress(sector uint64) {
	a.low.now, a.mid.now, a.high.now = uint8(sector), uint8(sector>>8), uint8(sector>>16)
	if a.command.ext {
		a.low.before, a.mid.before, a.high.before = uint8(sector>>24), uint8(sector>>32), uint8(sector>>40)
		return
	}
	a.device = a.device&0xf0 | uint8(sector>>24)&0x0f
}

// address takes what the registers say of a transfer; not ok is an address of
// cylinders and heads.
func (a *ATA) address(ext bool) (ok bool) {
	low := uint64(a.high.now)<<16 | uint64(a.mid.now)<<8 | uint64(a.low.now)
	if ext {
		a.sector = uint64(a.high.before)<<40 | uint64(a.mid.before)<<32 | uint64(a.low.before)<<24 | low
		a.left = (int(a.count.before)<<8|int(a.count.now)-1)&0xffff + 1
	} else {
		a.sector = uint64(a.device&0x0f)<<24 | low
		a.left = (int(a.count.now)-1)&0xff + 1
	}
	a.command.ext = ext
	return a.device&deviceLBA != 0
}

// transfer begins a command that reads or writes sectors.
func (a *ATA) transfer(code uint8, write bool) {
	ext := code == cmdReadExt || code == cmdWriteExt || code == cmdReadMultipleExt || code == cmdWriteMultiExt
	a.command = command{write: write, block: 1}
	switch code {
	case cmdReadMultiple, cmdReadMultipleExt, cmdWriteMultiple, cmdWriteMultiExt:
		a.command.block = a.multiple
	}
	switch {
	case a.command.block == 0 || !a.address(ext):
		a.abort()
	case a.sector >= a.sectors:
		a.fail(errorNotFound)
	case write: // the first block is asked for without an interrupt
		a.ask()
	default:
		a.fetch()
	}
}

// verify finds all sectors that there are; which of them the host cannot read,
// reading them will tell.
func (a *ATA) verify(ext bool) {
	if !a.address(ext) {
		a.abort()
		return
	}
	if a.sector+uint64(a.left) > a.sectors {
		a.sector = max(a.sector, a.sectors)
		a.fail(errorNotFound)
		return
	}
	a.finish(0, 0)
}

// ready is a block of data that is to be transferred.
func (a *ATA) ready(bytes int) {
	a.at, a.end = 0, bytes
	a.status = statusReady | statusSeek | statusData
}

// block is the next block of a transfer, in bytes. When it goes beyond the last
// sector, the command ends there.
func (a *ATA) block() (bytes int, ok bool) {
	n := min(a.left, a.command.block)
	if uint64(n) > a.sectors-a.sector {
		a.sector = a.sectors
		a.fail(errorNotFound)
		return 0, false
	}
	return n * sectorSize, true
}

// fetch reads the next block for the guest.
func (a *ATA) fetch() {
	n, ok := a.block()
	if !ok {
		return
	}
	if got, _ := a.disk.ReadAt(a.buffer[:n], int64(a.sector)*sectorSize); got < n {
		a.sector += uint64(max(got, 0) / sectorSize)
		a.fail(errorUncorrectable)
		return
	}
	a.advance(n)
	a.ready(n)
	a.pending = true
}

func (a *ATA) advance(bytes int) {
	a.sector += uint64(bytes / sectorSize)
	a.left -= bytes / sectorSize
}

// emptied is a block that the guest has read.
func (a *ATA) emptied() {
	if a.left > 0 {
		a.fetch()
		a.settle()
		return
	}
	a.status &^= statusData // no interrupt: the last was for this block
	a.at, a.end = 0, 0
}

// ask wants the next block from the guest.
func (a *ATA) ask() {
	if n, ok := a.block(); ok {
		a.ready(n)
	}
}

// filled is a block that the guest has written.
func (a *ATA) filled() {
	n := a.end
	if _, err := a.disk.WriteAt(a.buffer[:n], int64(a.sector)*sectorSize); err != nil {
		a.setAddress(a.sector)
		a.fault()
		return
	}
	a.advance(n)
	switch {
	case a.left > 0:
		a.ask()
		a.pending = true
	case a.writeThrough:
		a.flush()
	default:
		a.finish(0, 0)
	}
}

// flush makes all that was written last. A host that has failed at it may have
// lost writes, so it is not asked again.
func (a *ATA) flush() {
	if !a.noFlush && a.disk.Sync() == nil {
		a.finish(0, 0)
		return
	}
	a.noFlush = true
	a.fault()
}

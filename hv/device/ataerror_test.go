package device

import (
	"bytes"
	"testing"
)

func TestATABeyondTheEnd(t *testing.T) {
	a := newATA(t)
	for _, code := range []uint32{cmdReadSectors, cmdWriteSectors} {
		a.issue(code, 40, 1)
		a.is("first sector beyond", true, failed)
		eq(t, "error", a.get(ataError), errorNotFound)
		a.endedAt("first sector beyond", 40)
	}
	a.issue(cmdReadSectors, 39, 2)
	a.is("last sector", true, data)
	a.take(1)
	a.is("beyond", true, failed)
	eq(t, "error", a.get(ataError), errorNotFound)
	a.endedAt("beyond", 40)
	a.issue(cmdWriteSectors, 39, 2)
	a.send(make([]byte, sectorSize))
	a.is("beyond", true, failed)
	a.issueExt(cmdReadExt, 1<<48-1, 0)
	a.is("the last of all", true, failed)
	eq(t, "low", a.get(ataLow), 0xff)
	a.issueExt(cmdReadExt, 0x123456789a, 1)
	want := []uint32{0x9a, 0x78, 0x56}
	for i, reg := range []uint16{ataLow, ataMid, ataHigh} {
		eq(t, "low half", a.get(reg), want[i])
	}
	a.drive(controlHOB)
	for i, reg := range []uint16{ataLow, ataMid, ataHigh} {
		eq(t, "high half", a.get(reg), []uint32{0x34, 0x12, 0}[i])
	}

	a.issue(cmdReadSectors, 1<<24, 1)
	a.is("the upper bits of 28", true, failed)
	a.endedAt("the upper bits of 28", 1<<24)
	a.issue(cmdSetMultiple, 0, 1)
	for _, code := range []uint32{cmdReadExt, cmdWriteExt, cmdReadMultipleExt, cmdWriteMultiExt, cmdVerifyExt} {
		a.issueExt(code, 1<<30, 1) // which is 0 in 28 bits
		a.is("48 bits", true, failed)
	}

	none := withDisk(t, &testDisk{data: make([]byte, 511), bad: -1})
	none.issue(cmdReadSectors, 0, 1)
	none.is("of a disk without sectors", true, failed)
	none.issue(cmdVerify, 0, 1)
	none.is("of a disk without sectors", true, failed)
}

func TestATAVerify(t *testing.T) {
	a := newATA(t)
	for _, code := range []uint32{cmdVerify, cmdVerifyNoRetry} {
		a.issue(code, 0, 40)
		a.is("all", true, idle)
		a.issue(code, 1, 40)
		a.is("one more", true, failed)
		a.endedAt("one more", 40)
	}
	a.issueExt(cmdVerifyExt, 30, 10)
	a.is("48 bits", true, idle)
	a.issueExt(cmdVerifyExt, 1<<48-1, 0)
	a.is("48 bits, beyond", true, failed)
	a.put(ataDevice, 0)
	a.put(ataCommand, cmdVerify)
	a.is("cylinder, head, sector", true, failed)
}

func TestATAHostErrors(t *testing.T) {
	a := newATA(t)
	a.disk.bad = 6*sectorSize + 9
	a.issue(cmdReadSectors, 5, 3)
	a.take(1)
	a.is("bad sector", true, failed)
	eq(t, "error", a.get(ataError), errorUncorrectable)
	a.endedAt("bad sector", 6)
	eq(t, "data", a.bus.In(ataData, 2), 0)

	a.issue(cmdWriteSectors, 5, 3)
	a.send(make([]byte, 2*sectorSize))
	a.is("bad sector", true, failed|statusFault)
	eq(t, "error", a.get(ataError), errorAborted)
	a.endedAt("bad sector", 6)

	for _, code := range []uint32{cmdFlush, cmdFlushExt} {
		a.put(ataCommand, code)
		a.is("flush", true, idle)
	}
	eq(t, "syncs", a.disk.syncs, 2)
	a.disk.syncFail = true
	a.put(ataCommand, cmdFlush)
	a.is("flush that fails", true, failed|statusFault)
	a.disk.syncFail = false
	a.put(ataCommand, cmdFlushExt)
	a.is("flush after it", true, failed|statusFault)
	a.drive(controlReset)
	a.drive(0)
	a.put(ataCommand, cmdFlush)
	a.is("flush after a reset", true, failed|statusFault)
	eq(t, "syncs", a.disk.syncs, 3)
}

// Without the write cache a write is on the disk when it ends.
func TestATAWriteThrough(t *testing.T) {
	a := newATA(t)
	a.put(ataFeatures, featureNoCache)
	a.put(ataCommand, cmdSetFeatures)
	a.is("write cache off", true, idle)
	eq(t, "syncs", a.disk.syncs, 1)
	a.issue(cmdWriteSectors, 0, 2)
	a.send(make([]byte, 2*sectorSize))
	a.is("write", true, idle)
	eq(t, "syncs", a.disk.syncs, 2)
	a.disk.syncFail = true
	a.issue(cmdWriteSectors, 0, 1)
	a.send(make([]byte, sectorSize))
	a.is("write that fails", true, failed|statusFault)
	a.put(ataFeatures, featureCache)
	a.put(ataCommand, cmdSetFeatures)
	a.issue(cmdWriteSectors, 0, 1)
	a.send(make([]byte, sectorSize))
	a.is("write with the cache", true, idle)
}

// TestATACommands tries every command without data: some are fine, the others
// are aborted, and none leaves it waiting.
func TestATACommands(t *testing.T) {
	fine := []byte{cmdDiagnostic, cmdStandbyNow, cmdIdleNow, cmdStandby, cmdIdle, cmdCheckPower, cmdSleep,
		cmdFlush, cmdFlushExt, cmdSetMultiple, cmdVerify, cmdVerifyNoRetry, cmdVerifyExt}
	asking := []byte{cmdReadSectors, cmdReadNoRetry, cmdReadExt, cmdWriteSectors, cmdWriteNoRetry, cmdWriteExt, cmdIdentify}
	for code := range 256 {
		a := newATA(t)
		want := uint32(failed)
		switch c := byte(code); {
		case bytes.IndexByte(asking, c) >= 0:
			want = data
		case bytes.IndexByte(fine, c) >= 0:
			want = idle
		}
		a.issueExt(uint32(code), 0, 1)
		eq(t, "interrupt", a.irq.level, want != data || !a.command.write)
		eq(t, "status", a.get(ataStatusReg), want)
		if want == failed {
			eq(t, "error", a.get(ataError), errorAborted)
		}
		for range 2 * sectorSize { // twice what it wants, either way
			a.bus.Out(ataData, 4, 0xa5a5a5a5)
			a.bus.In(ataData, 4)
		}
		eq(t, "asks for more", a.get(ataStatusReg)&statusData, 0)
	}
	a := newATA(t)
	a.put(ataCommand, cmdCheckPower)
	eq(t, "power", a.get(ataCount), powerActive)
	a.put(ataCommand, cmdDiagnostic)
	eq(t, "diagnostics", a.get(ataError), 1)
	a.put(ataDevice, 0) // no LBA bit
	a.put(ataCommand, cmdReadSectors)
	a.is("cylinder, head, sector", true, failed)
}

func TestATAFeatures(t *testing.T) {
	a := newATA(t)
	for _, c := range []struct {
		feature, count uint32
		ok             bool
	}{
		{0x02, 0, true}, {0x82, 0, true}, {0x55, 0, true}, {0xaa, 0, true}, {0xcc, 0, true},
		{0x03, 0, true}, {0x03, 1, true}, {0x03, 0x08, true}, {0x03, 0x0c, true},
		{0x03, 0x0d, false}, {0x03, 0x02, false}, {0x03, 0x20, false}, {0x03, 0x45, false},
		{0x00, 0, false}, {0x05, 0, false}, {0x66, 0, false}, {0xff, 0, false},
	} {
		a.put(ataFeatures, c.feature)
		a.put(ataCount, c.count)
		a.put(ataCommand, cmdSetFeatures)
		eq(t, show(uint8(c.feature)), a.get(ataStatusReg)&statusError == 0, c.ok)
	}
}

// There is no device 1: its status is 0, and commands are nobody's.
func TestATASecondDevice(t *testing.T) {
	a := newATA(t)
	a.put(ataCommand, cmdIdentify)
	eq(t, "line", a.irq.level, true)
	a.put(ataDevice, deviceTwo)
	eq(t, "line with device 1", a.irq.level, false)
	eq(t, "status", a.get(ataStatusReg), 0)
	eq(t, "alternate status", a.bus.In(ataControl, 1), 0)
	a.put(ataLow, 0x5a)
	eq(t, "registers are device 0's", a.get(ataLow), 0x5a)
	a.put(ataCommand, cmdFlush)
	eq(t, "syncs", a.disk.syncs, 0)
	a.put(ataDevice, 0)
	eq(t, "line", a.irq.level, true)
	a.is("device 0 as it was", true, data)
	a.put(ataDevice, deviceTwo)
	a.put(ataCommand, cmdDiagnostic) // which both do
	a.is("diagnostics", true, idle)
	eq(t, "device", a.get(ataDevice), 0)
}

func TestATAControl(t *testing.T) {
	a := newATA(t)
	a.drive(controlNIEN)
	a.put(ataCommand, cmdFlush)
	eq(t, "line with nIEN", a.irq.level, false)
	a.drive(0)
	eq(t, "line", a.irq.level, true)
	a.put(ataCommand, cmdIdentify)
	eq(t, "interrupts", a.irq.rises, 1)
	a.get(ataStatusReg)
	a.put(ataCommand, cmdFlush)
	eq(t, "interrupts", a.irq.rises, 2)

	for _, reg := range []uint16{ataCount, ataLow, ataMid, ataHigh} {
		a.put(reg, 0x12)
		a.put(reg, 0x34)
		eq(t, "register", a.get(reg), 0x34)
		a.drive(controlHOB)
		eq(t, "with HOB", a.get(reg), 0x12)
		a.put(ataDevice, deviceLBA) // a write ends it
		eq(t, "after a write", a.get(reg), 0x34)
	}
}

// The data port takes 16 bits, 32 as two of them; of 8, the other half is lost.
func TestATADataWidths(t *testing.T) {
	a := newATA(t)
	a.issue(cmdReadSectors, 3, 1)
	d := a.disk.data[3*sectorSize:]
	eq(t, "32 bits", a.bus.In(ataData, 4), uint32(d[0])|uint32(d[1])<<8|uint32(d[2])<<16|uint32(d[3])<<24)
	eq(t, "16 bits", a.bus.In(ataData, 2), uint32(d[4])|uint32(d[5])<<8)
	eq(t, "8 bits", a.bus.In(ataData, 1), uint32(d[6]))
	eq(t, "16 bits", a.bus.In(ataData, 2), uint32(d[8])|uint32(d[9])<<8)
	a.issue(cmdWriteSectors, 3, 1)
	a.bus.Out(ataData, 4, 0x44332211)
	a.bus.Out(ataData, 2, 0x6655)
	a.bus.Out(ataData, 1, 0x77)
	a.send(make([]byte, sectorSize-8))
	eq(t, "written", string(d[:9]), "\x11\x22\x33\x44\x55\x66\x77\x00\x00")
}

// FuzzATA: any accesses of any width. The disk keeps its size, and only sectors
// of it are touched.
func FuzzATA(f *testing.F) {
	f.Add([]byte{6, 0x40, 2, 3, 7, 0x20, 20, 255, 21, 200, 15, 0, 7, 0x30, 22, 255, 23, 255, 16, 0})
	f.Add([]byte{2, 4, 7, 0xc6, 6, 0x40, 2, 9, 3, 38, 7, 0xc4, 21, 255, 7, 0xc5, 23, 255, 24, 4, 24, 0x80, 11, 0, 7, 0xea})
	f.Fuzz(func(t *testing.T, ops []byte) {
		a := newATA(t)
		a.disk.bad = 20*sectorSize + 3
		for i := 0; i+1 < len(ops); i += 2 {
			switch op, v := ops[i]%26, uint32(ops[i+1]); {
			case op < 8:
				a.put(uint16(op), v)
			case op < 16:
				a.get(uint16(op - 8))
			case op < 20:
				a.bus.In(ataControl-2+uint16(op-16), 4)
			case op < 22:
				for range v {
					a.bus.In(ataData, 2<<(op-20))
				}
			case op < 24:
				for range v {
					a.bus.Out(ataData, 2<<(op-22), v*0x01010101)
				}
			default:
				a.drive(v)
			}
			asks := a.status&statusData != 0
			if a.at >= a.end == asks || a.end > len(a.buffer) || asks && a.sector > a.sectors || len(a.disk.data) != 40*sectorSize {
				t.Fatalf("status %#x, %d of %d bytes, sector %d", a.status, a.at, a.end, a.sector)
			}
			eq(t, "line", a.irq.level, a.pending && a.control&6 == 0 && !a.absent())
		}
	})
}

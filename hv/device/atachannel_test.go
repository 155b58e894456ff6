package device

import (
	"bytes"
	"testing"
)

// secondATA is a channel with two disks, on the ports of the secondary one.
type secondATA struct {
	*testing.T
	bus   *Bus
	disks [2]*testDisk
	irq   wire
}

func newSecondATA(t *testing.T) *secondATA {
	a := &secondATA{T: t, disks: [2]*testDisk{newDisk(40), newDisk(50)}}
	a.bus = &Bus{ATA2: NewChannel(a.irq.set, a.disks[0], a.disks[1])}
	return a
}

func (a *secondATA) put(reg uint16, v uint32) { a.bus.Out(ata2Data+reg, 1, v) }
func (a *secondATA) get(reg uint16) uint32    { return a.bus.In(ata2Data+reg, 1) }

// issue gives a command with a 28-bit address to a device.
func (a *secondATA) issue(device, code, sector, count uint32) {
	a.put(ataDevice, deviceLBA|device*deviceTwo)
	a.put(ataCount, count)
	a.put(ataLow, sector)
	a.put(ataMid, 0)
	a.put(ataHigh, 0)
	a.put(ataCommand, code)
}

func (a *secondATA) take() []byte {
	b := make([]byte, sectorSize)
	for i := 0; i < len(b); i += 4 {
		v := a.bus.In(ata2Data, 4)
		b[i], b[i+1], b[i+2], b[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	return b
}

// TestATATwoDevices: each has its own disk, size and state.
func TestATATwoDevices(t *testing.T) {
	a := newSecondATA(t)
	for device, d := range a.disks {
		a.issue(uint32(device), cmdIdentify, 0, 0)
		eq(t, "line", a.irq.level, true)
		b := a.take()
		eq(t, "sectors", int(b[120])|int(b[121])<<8, len(d.data)/sectorSize)
		eq(t, "device 1 in word 93", b[187]&1, byte(device))
		eq(t, "line", a.irq.level, true)
		a.get(ataStatusReg)
		eq(t, "line after status", a.irq.level, false)
		a.issue(uint32(device), cmdReadSectors, uint32(7+device), 1)
		a.get(ataStatusReg)
		if got := a.take(); !bytes.Equal(got, d.data[(7+device)*sectorSize:][:sectorSize]) {
			t.Errorf("device %d: sector reads as %x", device, got[:8])
		}
		a.issue(uint32(device), cmdWriteSectors, 3, 1)
		for range sectorSize / 2 {
			a.bus.Out(ata2Data, 2, uint32(0x1111*(device+1)))
		}
		eq(t, "written", d.data[3*sectorSize], byte(0x11*(device+1)))
		a.issue(uint32(device), cmdFlush, 0, 0)
		eq(t, "syncs", d.syncs, 1)
	}
	eq(t, "the first disk", a.disks[0].data[3*sectorSize], 0x11)
	a.issue(0, cmdReadSectors, 45, 1)
	eq(t, "beyond device 0", a.get(ataStatusReg), failed)
	a.issue(1, cmdReadSectors, 45, 1)
	eq(t, "the same of device 1", a.get(ataStatusReg), data)
}

// TestATASharedLine: the device that is selected drives it.
func TestATASharedLine(t *testing.T) {
	a := newSecondATA(t)
	a.issue(0, cmdFlush, 0, 0)
	eq(t, "device 0", a.irq.level, true)
	a.put(ataDevice, deviceTwo)
	eq(t, "device 1 selected", a.irq.level, false)
	eq(t, "its status", a.get(ataStatusReg), idle)
	a.put(ataCommand, cmdFlush)
	eq(t, "device 1", a.irq.level, true)
	a.put(ataDevice, 0)
	eq(t, "both, device 0 selected", a.irq.level, true)
	a.get(ataStatusReg)
	eq(t, "taken", a.irq.level, false)
	a.put(ataDevice, deviceTwo)
	eq(t, "device 1 again", a.irq.level, true)
	a.put(ataCommand, cmdDiagnostic)
	eq(t, "diagnostics: device", a.get(ataDevice), 0)
	eq(t, "diagnostics: interrupt", a.irq.level, true)
	eq(t, "diagnostics: status", a.get(ataStatusReg), idle)
	eq(t, "diagnostics: result", a.get(ataError), 1)
	a.put(ataDevice, deviceTwo)
	eq(t, "device 1 after them", a.irq.level, false)
	a.bus.Out(ata2Control, 1, controlReset)
	eq(t, "device 1 in reset", a.get(ataStatusReg), statusBusy)
	a.bus.Out(ata2Control, 1, 0)
	a.put(ataDevice, deviceTwo)
	eq(t, "device 1 after it", a.get(ataStatusReg), idle)
}

// FuzzATAChannel: any accesses to two devices, of which only sectors are touched.
func FuzzATAChannel(f *testing.F) {
	f.Add([]byte{6, 0x50, 2, 3, 7, 0x20, 20, 255, 6, 0x40, 7, 0x30, 22, 255, 6, 0x50, 7, 0x90})
	f.Fuzz(func(t *testing.T, ops []byte) {
		a := newSecondATA(t)
		for i := 0; i+1 < len(ops); i += 2 {
			switch op, v := ops[i]%25, uint32(ops[i+1]); {
			case op < 8:
				a.put(uint16(op), v)
			case op < 16:
				a.get(uint16(op - 8))
			case op < 20:
				a.bus.In(ata2Control-2+uint16(op-16), 4)
			case op < 22:
				for range v {
					a.bus.In(ata2Data, 2<<(op-20))
				}
			case op < 24:
				for range v {
					a.bus.Out(ata2Data, 2<<(op-22), v*0x01010101)
				}
			default:
				a.bus.Out(ata2Control, 1, v)
			}
			line := false
			for _, d := range a.bus.ATA2.devices {
				if d.status&statusData != 0 && (d.at >= d.end || d.end > len(d.buffer) || d.sector > d.sectors) {
					t.Fatalf("status %#x, %d of %d bytes, sector %d", d.status, d.at, d.end, d.sector)
				}
				line = line || d.pending && d.control&6 == 0 && !d.absent()
			}
			eq(t, "line", a.irq.level, line)
		}
	})
}

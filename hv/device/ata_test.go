package device

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// testDisk is in memory; some of it is broken.
type testDisk struct {
	data     []byte
	bad      int64 // the byte that neither can be read nor written; -1: none
	syncs    int
	syncFail bool
}

var errBroken = errors.New("broken")

// newDisk has sectors that begin with their number and are full of it.
func newDisk(sectors int) *testDisk {
	d := &testDisk{data: make([]byte, sectors*sectorSize), bad: -1}
	for i := range d.data {
		d.data[i] = byte(i/sectorSize + i%sectorSize)
	}
	return d
}

func (d *testDisk) Size() int64 { return int64(len(d.data)) }

// upTo is how much can be transferred before what is broken.
func (d *testDisk) upTo(n int, at int64) (int, error) {
	if d.bad >= at && d.bad < at+int64(n) {
		return int(d.bad - at), errBroken
	}
	return n, nil
}

func (d *testDisk) ReadAt(b []byte, at int64) (int, error) {
	n, err := d.upTo(len(b), at)
	return copy(b[:n], d.data[at:]), err
}

func (d *testDisk) WriteAt(b []byte, at int64) (int, error) {
	n, err := d.upTo(len(b), at)
	return copy(d.data[at:], b[:n]), err
}

func (d *testDisk) Sync() error {
	d.syncs++
	if d.syncFail {
		return errBroken
	}
	return nil
}

type testATA struct {
	*testing.T
	*ATA
	disk *testDisk
	irq  wire
	bus  *Bus
}

func newATA(t *testing.T) *testATA { return withDisk(t, newDisk(40)) }

func withDisk(t *testing.T, d *testDisk) *testATA {
	a := &testATA{T: t, disk: d}
	c := NewChannel(a.irq.set, d)
	a.ATA = c.devices[0]
	a.bus = &Bus{ATA: c}
	return a
}

func (a *testATA) put(reg uint16, v uint32) { a.bus.Out(ataData+reg, 1, v) }
func (a *testATA) get(reg uint16) uint32    { return a.bus.In(ataData+reg, 1) }
func (a *testATA) drive(v uint32)           { a.bus.Out(ataControl, 1, v) }

// issue gives a command with a 28-bit address.
func (a *testATA) issue(code, sector, count uint32) {
	a.put(ataCount, count)
	a.put(ataLow, sector)
	a.put(ataMid, sector>>8)
	a.put(ataHigh, sector>>16)
	a.put(ataDevice, deviceLBA|sector>>24)
	a.put(ataCommand, code)
}

// issueExt gives one with 48 bits.
func (a *testATA) issueExt(code uint32, sector uint64, count uint32) {
	for i, reg := range []uint16{ataLow, ataMid, ataHigh} {
		a.put(reg, uint32(sector>>(24+8*i)&0xff))
		a.put(reg, uint32(sector>>(8*i)&0xff))
	}
	a.put(ataCount, count>>8)
	a.put(ataCount, count&0xff)
	a.put(ataDevice, deviceLBA)
	a.put(ataCommand, code)
}

// is checks the state after a command or a block: interrupt, then status.
func (a *testATA) is(what string, irq bool, status uint32) {
	a.Helper()
	eq(a.T, what+": alternate status", a.bus.In(ataControl, 1), status)
	eq(a.T, what+": interrupt", a.irq.level, irq)
	eq(a.T, what+": status", a.get(ataStatusReg), status)
	eq(a.T, what+": interrupt after status", a.irq.level, false)
}

const (
	ataStatusReg = ataStatus - ataData
	idle         = statusReady | statusSeek
	data         = idle | statusData
	failed       = idle | statusError
)

func (a *testATA) take(n int) []byte {
	b := make([]byte, n*sectorSize)
	for i := 0; i < len(b); i += 2 {
		v := a.bus.In(ataData, 2)
		b[i], b[i+1] = byte(v), byte(v>>8)
	}
	return b
}

func (a *testATA) send(b []byte) {
	for i := 0; i < len(b); i += 2 {
		a.bus.Out(ataData, 2, uint32(b[i])|uint32(b[i+1])<<8)
	}
}

// endedAt checks the address that a command ended at.
func (a *testATA) endedAt(what string, sector uint32) {
	a.Helper()
	got := a.get(ataLow) | a.get(ataMid)<<8 | a.get(ataHigh)<<16 | a.get(ataDevice)&15<<24
	eq(a.T, what+": sector", got, sector)
}

func TestATAReset(t *testing.T) {
	a := newATA(t)
	a.is("after reset", false, idle)
	for reg, want := range []uint32{0, 1, 1, 1, 0, 0, 0, idle} {
		eq(t, fmt.Sprint("register ", reg), a.get(uint16(reg)), want)
	}
	a.issue(cmdReadSectors, 1, 2)
	a.drive(controlReset)
	eq(t, "line in reset", a.irq.level, false)
	for reg := uint16(1); reg < 8; reg++ {
		a.put(reg, 0x55)
		eq(t, "register in reset", a.get(reg), statusBusy)
	}
	eq(t, "data in reset", a.bus.In(ataData, 2), 0)
	a.drive(0)
	a.is("after software reset", false, idle)
	for reg, want := range []uint32{0, 1, 1, 1, 0, 0, 0, idle} {
		eq(t, fmt.Sprint("register ", reg), a.get(uint16(reg)), want)
	}
}

func TestATAIdentify(t *testing.T) {
	a := newATA(t)
	a.put(ataCommand, cmdIdentify)
	a.is("IDENTIFY DEVICE", true, data)
	b := a.take(1)
	a.is("after it", false, idle)
	word := func(i int) uint16 { return uint16(b[2*i]) | uint16(b[2*i+1])<<8 }
	for i, want := range map[int]uint16{0: 0x40, 47: 0x8010, 59: 0, 60: 40, 61: 0, 80: 0x7e, 83: 0x7400, 84: 0x4000, 87: 0x4000, 86: 0x3400,
		85: 0x28, 100: 40, 103: 0, 27: 'p'<<8 | 'v', 46: ' '<<8 | ' '} {
		eq(t, fmt.Sprint("word ", i), word(i), want)
	}
	eq(t, "LBA", word(49)>>9&1, 1)
	eq(t, "DMA", word(49)>>8&1, 0)
	sum := byte(0)
	for _, c := range b {
		sum += c
	}
	eq(t, "sum", sum, 0)
	eq(t, "signature", b[510], 0xa5)

	a.issue(cmdSetMultiple, 0, 8)
	a.put(ataFeatures, featureNoCache)
	a.put(ataCommand, cmdSetFeatures)
	w := a.words()
	eq(t, "blocks of multiple", w[59], 0x108)
	eq(t, "write cache", w[85]>>5&1, 0)
	a.sectors = 1 << 40
	w = a.words()
	eq(t, "sectors of 28 bits", uint32(w[60])|uint32(w[61])<<16, 0x0fffffff)
	eq(t, "sectors of 48 bits", w[102], 1<<8)
}

func TestATARead(t *testing.T) {
	for name, issue := range map[string]func(*testATA){
		"28 bits":  func(a *testATA) { a.issue(cmdReadSectors, 5, 3) },
		"no retry": func(a *testATA) { a.issue(cmdReadNoRetry, 5, 3) },
		"48 bits":  func(a *testATA) { a.issueExt(cmdReadExt, 5, 3) },
	} {
		a := newATA(t)
		issue(a)
		for i := range 3 {
			a.is(name, true, data) // an interrupt before each block
			got := a.take(1)
			if want := a.disk.data[(5+i)*sectorSize:][:sectorSize]; !bytes.Equal(got, want) {
				t.Errorf("%s: sector %d reads as %x", name, 5+i, got)
			}
		}
		a.is(name+": end", false, idle)
		eq(t, name+": data after it", a.bus.In(ataData, 2), 0)
	}
}

func TestATAWrite(t *testing.T) {
	for name, issue := range map[string]func(*testATA){
		"28 bits":  func(a *testATA) { a.issue(cmdWriteSectors, 5, 2) },
		"no retry": func(a *testATA) { a.issue(cmdWriteNoRetry, 5, 2) },
		"48 bits":  func(a *testATA) { a.issueExt(cmdWriteExt, 5, 2) },
	} {
		a := newATA(t)
		want := bytes.Clone(a.disk.data)
		issue(a)
		a.is(name+": first block", false, data) // no interrupt
		text := bytes.Repeat([]byte("sector"), 512)[:2*sectorSize]
		copy(want[5*sectorSize:], text)
		a.send(text[:sectorSize])
		a.is(name+": second block", true, data)
		a.send(text[sectorSize:])
		a.is(name+": end", true, idle)
		a.send(text) // nobody takes it
		if !bytes.Equal(a.disk.data, want) {
			t.Errorf("%s: the disk is not as it should be", name)
		}
		eq(t, name+": syncs", a.disk.syncs, 0)
	}
}

// The counts of 0 are the largest.
func TestATACounts(t *testing.T) {
	a := withDisk(t, newDisk(300))
	a.issue(cmdReadSectors, 0, 0)
	eq(t, "28 bits", a.left, 255)
	a.issueExt(cmdReadExt, 0, 0)
	eq(t, "48 bits", a.left, 65535)
	a.issueExt(cmdReadExt, 0, 0x102)
	eq(t, "48 bits", a.left, 257)
	a.take(258)
	eq(t, "status at the end", a.get(ataStatusReg), idle)
}

func TestATAMultiple(t *testing.T) {
	a := newATA(t)
	a.issue(cmdReadMultiple, 0, 1)
	a.is("before SET MULTIPLE", true, failed)
	for _, n := range []uint32{3, 17, 32, 255} {
		a.issue(cmdSetMultiple, 0, n)
		a.is("SET MULTIPLE of what is not", true, failed)
	}
	a.issue(cmdSetMultiple, 0, 4)
	a.is("SET MULTIPLE", true, idle)
	for _, ext := range []bool{false, true} {
		read, write := func() { a.issue(cmdReadMultiple, 2, 6) }, func() { a.issue(cmdWriteMultiple, 2, 6) }
		if ext {
			read, write = func() { a.issueExt(cmdReadMultipleExt, 2, 6) }, func() { a.issueExt(cmdWriteMultiExt, 2, 6) }
		}
		read()
		a.is("first block", true, data)
		got := a.take(4)
		a.is("second block", true, data)
		got = append(got, a.take(2)...)
		a.is("end", false, idle)
		if !bytes.Equal(got, a.disk.data[2*sectorSize:8*sectorSize]) {
			t.Error("other data than on the disk")
		}
		for i := range got {
			got[i] ^= 0xff
		}
		write()
		a.is("first block", false, data)
		a.send(got[:4*sectorSize])
		a.is("second block", true, data)
		a.send(got[4*sectorSize:])
		a.is("end", true, idle)
		if !bytes.Equal(got, a.disk.data[2*sectorSize:8*sectorSize]) {
			t.Error("other data on the disk")
		}
	}
	a.issue(cmdReadMultiple, 38, 4) // the block goes beyond the end
	a.is("beyond the end", true, failed)
	a.endedAt("beyond the end", 40)
	a.disk.bad = 5*sectorSize + 7
	a.issue(cmdReadMultiple, 4, 4)
	a.is("bad sector", true, failed)
	a.endedAt("bad sector", 5)
	a.issue(cmdSetMultiple, 0, 3)
	a.issue(cmdReadMultiple, 0, 1)
	a.is("after one that was refused", true, failed)
	a.issue(cmdSetMultiple, 0, 4)
	a.issue(cmdSetMultiple, 0, 0)
	a.issue(cmdWriteMultiple, 0, 1)
	a.is("after none was set", true, failed)
}

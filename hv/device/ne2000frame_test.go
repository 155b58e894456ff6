package device

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// testFrame is one to an address, with a length and bytes that tell it from others.
func testFrame(to [6]byte, length int) []byte {
	b := make([]byte, length)
	for i := range b {
		b[i] = byte(i*7 + length)
	}
	copy(b, to[:])
	return b
}

var everybody = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func TestNICTransmit(t *testing.T) {
	n := newNIC(t)
	n.start()
	n.put(nicIMR, isrTransmitted|isrTransmitErr)
	for _, c := range []struct {
		length   int
		sent     bool
		isr, tsr uint32
	}{
		{0, false, isrTransmitted, 0x03}, {13, false, isrTransmitted, 0x03}, {14, true, isrTransmitted, 0x03},
		{60, true, isrTransmitted, 0x03}, {61, true, isrTransmitted, 0x03}, {1514, true, isrTransmitted, 0x03},
		{1518, true, isrTransmitted, 0x03}, {1519, false, isrTransmitErr, 0x08}, {65535, false, isrTransmitErr, 0x08},
	} {
		n.sent = nil
		frame := testFrame(everybody, min(c.length, 2000))
		n.put(nicISR, 0xff)
		n.remote(crWrite, ramStart, uint16(len(frame)))
		n.writeWords(append(bytes.Clone(frame), 0))
		n.put(nicISR, 0xff)
		n.send(c.length)
		eq(t, "ISR", n.get(nicISR), c.isr)
		eq(t, "TSR", n.get(nicTSR), c.tsr)
		eq(t, "CR", n.get(nicCR), crAbort|crStart)
		eq(t, "line", n.irq.level, true)
		eq(t, "sent", len(n.sent) == 1, c.sent)
		if c.sent && len(n.sent) == 1 && !bytes.Equal(n.sent[0], frame) {
			t.Errorf("frame of %d bytes: got %x", c.length, n.sent[0])
		}
	}
}

// A cable that takes nothing keeps the transmitter busy, and STP gives up.
func TestNICBusy(t *testing.T) {
	n := newNIC(t)
	n.start()
	n.full = true
	frame := testFrame(everybody, 100)
	n.put(nicISR, 0xff)
	n.transmitted(frame)
	eq(t, "CR", n.get(nicCR), crAbort|crStart|crTransmit)
	eq(t, "busy", n.Busy(), true)
	n.Resume()
	n.put(nicCR, crAbort|crStart|crTransmit)
	eq(t, "ISR", n.get(nicISR)&isrTransmitted, 0)
	n.full = false
	n.put(nicIMR, isrTransmitted)
	n.Resume()
	n.Resume()
	eq(t, "CR", n.get(nicCR), crAbort|crStart)
	eq(t, "line", n.irq.level, true)
	eq(t, "sent", len(n.sent), 1)
	n.full = true
	n.transmitted(frame)
	n.put(nicCR, crAbort|crStop)
	n.full = false
	n.Resume()
	n.put(nicCR, crAbort|crStop|crTransmit)
	eq(t, "sent after a stop", len(n.sent), 1)
	eq(t, "CR", n.get(nicCR), crAbort|crStop)
}

// TestNICLoop: the data sheet's table of loopback tests, section 11.0.
func TestNICLoop(t *testing.T) {
	frame := testFrame(testAddress, 64)
	good := binary.LittleEndian.AppendUint32(bytes.Clone(frame[:60]), crc32.ChecksumIEEE(frame[:60]))
	for _, c := range []struct {
		frame    []byte
		tcr      uint32
		tsr, rsr uint32
	}{
		{frame, 0x02, 0x53, 0x02}, {frame, 0x04, 0x43, 0x02}, {frame, 0x06, 0x03, 0x02},
		{good, 0x03, 0x53, 0x01}, {frame, 0x03, 0x53, 0x02}, {good, 0x02, 0x53, 0x02},
		{testFrame(everybody, 64), 0x02, 0x53, 0x22}, {testFrame([6]byte{2}, 64), 0x02, 0x53, 0x00},
		{nil, 0x02, 0x53, 0x00},
	} {
		n := newNIC(t)
		n.start()
		n.put(nicTCR, c.tcr)
		n.put(nicDCR, dcrWord)
		n.transmitted(c.frame)
		eq(t, "TSR", n.get(nicTSR), c.tsr)
		eq(t, "RSR", n.get(nicRSR), c.rsr)
		eq(t, "ISR", n.get(nicISR)&^isrRemote, isrTransmitted)
		eq(t, "sent", len(n.sent), 0)
		n.Receive(testFrame(testAddress, 60))
		eq(t, "received meanwhile", n.curr, testFirst)
	}
}

// TestNICReceive: the packet in the ring, and both ways to take it from there.
func TestNICReceive(t *testing.T) {
	n := newNIC(t)
	n.start()
	n.put(nicIMR, isrReceived)
	at, from := uint32(testFirst), n.irq.rises
	for _, length := range []int{14, 59, 60, 61, 248, 249, 1514, 1518, 1519} {
		frame := testFrame(testAddress, length)
		eq(t, "room", n.Room(), true)
		n.Receive(frame)
		eq(t, "line", n.irq.level, length <= maxFrame)
		if length > maxFrame {
			eq(t, "CURR after a long one", uint32(n.curr), at)
			continue
		}
		want := append(bytes.Clone(frame), make([]byte, max(60-length, 0))...)
		next := at + uint32(4+len(want)+4+255)/256
		head := []byte{0x01, byte(next), byte(len(want) + 4), byte((len(want) + 4) >> 8)}
		n.put(nicISR, 0xff)
		n.remote(crRead, uint16(at)<<8, uint16(len(want)+4))
		if got := n.words((len(want) + 5) / 2)[:len(want)+4]; !bytes.Equal(got, append(head, want...)) {
			t.Errorf("frame of %d bytes: got %x", length, got)
		}
		eq(t, "BNRY", n.get(nicBNRY), at)
		n.put(nicCR, crSend|crStart)
		if got := n.words((len(want) + 5) / 2)[4 : len(want)+4]; !bytes.Equal(got, want) {
			t.Errorf("frame of %d bytes by Send Packet: got %x", length, got)
		}
		eq(t, "BNRY after Send Packet", n.get(nicBNRY), next)
		eq(t, "read on", string(n.words(1)), "\xff\xff")
		n.put(nicISR, 0xff)
		at = next
	}
	eq(t, "interrupts", n.irq.rises-from, 8)
}

// TestNICRing goes round the ring with frames of all lengths, some of which wait.
func TestNICRing(t *testing.T) {
	n := newNIC(t)
	n.start()
	var waiting [][]byte
	for i := range 2000 {
		frame := testFrame(testAddress, 60+i*37%1455)
		if !n.Room() {
			n.fetch(waiting[0])
			waiting = waiting[1:]
		}
		if n.Room() {
			n.Receive(frame)
			waiting = append(waiting, frame)
		}
	}
	if len(waiting) < 5 {
		t.Errorf("%d frames in the ring", len(waiting))
	}
	for _, frame := range waiting {
		n.fetch(frame)
	}
	eq(t, "empty", n.curr, n.bnry)
	eq(t, "ISR", n.isr&(isrOverwrite|isrReceiveErr), 0)
}

// fetch takes the next packet, which must be frame.
func (n *testNIC) fetch(frame []byte) {
	n.put(nicCR, crSend|crStart)
	got := n.words((len(frame) + 5) / 2)
	if got = got[4 : 4+len(frame)]; !bytes.Equal(got, frame) {
		n.Fatalf("got %x, want %x", got[:16], frame[:16])
	}
}

// TestNICOverflow: what is in the ring stays, misses are counted, and room ends it.
func TestNICOverflow(t *testing.T) {
	n := newNIC(t)
	n.start()
	n.put(nicIMR, isrOverwrite)
	const fit = testEnd - testFirst - 1
	for i := range fit {
		n.Receive(testFrame(testAddress, 60+i))
	}
	eq(t, "ISR", n.get(nicISR), isrReceived)
	n.put(nicISR, 0xff)
	eq(t, "room", n.Room(), false)
	for range 300 {
		n.Receive(testFrame(testAddress, 60))
	}
	eq(t, "ISR", n.get(nicISR), isrOverwrite|isrReceiveErr|isrReset|isrCounter)
	eq(t, "RSR", n.get(nicRSR), 0x10)
	eq(t, "line", n.irq.level, true)
	eq(t, "missed", n.get(nicCNTR0+2), 192)
	eq(t, "missed, read again", n.get(nicCNTR0+2), 0)
	n.put(nicISR, 0xff)
	eq(t, "ISR", n.get(nicISR), isrReset)
	for i := range fit {
		n.fetch(testFrame(testAddress, 60+i))
		eq(t, "RST", n.get(nicISR)&isrReset, 0)
	}
	n.Receive(testFrame(testAddress, 70))
	n.fetch(testFrame(testAddress, 70))
}

// TestNICFilter: section 6.0, "Address Recognition Logic".
func TestNICFilter(t *testing.T) {
	group, other := [6]byte{1, 0, 0x5e, 0, 0, 1}, [6]byte{2}
	for _, c := range []struct {
		to   [6]byte
		rcr  uint32
		want bool
		rsr  uint32
	}{
		{testAddress, 0, true, 0x01}, {other, 0, false, 0}, {other, rcrPromiscuous, true, 0x01},
		{everybody, 0, false, 0}, {everybody, rcrPromiscuous, false, 0}, {everybody, rcrBroadcast, true, 0x21},
		{group, rcrBroadcast, false, 0}, {group, rcrMulticast, true, 0x21}, {[6]byte{1, 2, 3}, rcrMulticast, false, 0},
		{testAddress, rcrMonitor, false, 0x50}, {other, rcrMonitor, false, 0},
	} {
		n := newNIC(t)
		n.start()
		n.put(nicRCR, c.rcr)
		n.put(nicCR, 0x40|crAbort|crStart)
		n.put(nicMAR0+3, 0x80) // bit 31, 224.0.0.1's
		n.put(nicCR, crAbort|crStart)
		n.Receive(testFrame(c.to, 60))
		eq(t, "received", n.curr != testFirst, c.want)
		eq(t, "RSR", n.get(nicRSR), c.rsr)
		eq(t, "missed", n.get(nicCNTR0+2) == 1, c.rsr == 0x50)
	}
	n := newNIC(t)
	n.start()
	n.Receive(testFrame(testAddress, 13))
	n.Receive(nil)
	n.put(nicCR, crAbort|crStop)
	n.Receive(testFrame(testAddress, 60))
	eq(t, "received without a header, or stopped", n.curr, testFirst)
	eq(t, "room of one that is stopped", n.Room(), true)
}

// TestNICBadRing: rings that make no sense take frames or do not, and touch packet
// memory alone.
func TestNICBadRing(t *testing.T) {
	frame := testFrame(testAddress, maxFrame)
	for _, pages := range [][4]uint8{ // PSTART, PSTOP, BNRY, CURR
		{0x80, 0x40, 0x46, 0x46}, {0x46, 0x46, 0x46, 0x46}, {0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff},
		{0x46, 0x47, 0x46, 0x46}, {0x46, 0x80, 0x10, 0x50}, {0x46, 0x80, 0x46, 0xfe}, {0, 0xff, 0x90, 0x7e},
		{0x3e, 0x41, 0x3e, 0x3e}, {0x20, 0x30, 0x2f, 0x20},
	} {
		n := newNIC(t)
		n.start()
		n.pstart, n.pstop, n.curr = pages[0], pages[1], pages[3]
		n.put(nicBNRY, uint32(pages[2]))
		for range 600 {
			n.Receive(frame)
			n.put(nicCR, crSend|crStart)
			n.words(800)
		}
		n.put(nicTPSR, uint32(pages[0]))
		n.sent = nil
		n.send(maxFrame)
		n.put(nicTPSR, uint32(pages[0]))
		n.put(nicCR, crAbort|crStart|crTransmit)
		for _, f := range n.sent {
			eq(t, "length", len(f), maxFrame)
		}
	}
}

package device

import (
	"bytes"
	"testing"
)

// testNIC is an NE2000 on a bus, with a cable that remembers.
type testNIC struct {
	*testing.T
	*NE2000
	bus  *Bus
	irq  wire
	sent [][]byte
	full bool // the cable takes nothing
}

var testAddress = [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}

func newNIC(t *testing.T) *testNIC {
	n := &testNIC{T: t}
	n.NE2000 = NewNE2000(n.irq.set, testAddress, n)
	n.bus = &Bus{NE2000: [4]*NE2000{n.NE2000}}
	return n
}

func (n *testNIC) Send(frame []byte) bool {
	if !n.full {
		n.sent = append(n.sent, bytes.Clone(frame))
	}
	return !n.full
}

const nicBase = 0x300

func (n *testNIC) put(reg uint16, v uint32) { n.bus.Out(nicBase+reg, 1, v) }
func (n *testNIC) get(reg uint16) uint32    { return n.bus.In(nicBase+reg, 1) }

// The ring of tests: pages 0x46 to 0x7f, behind six for transmission.
const (
	testFirst = 0x46
	testEnd   = 0x80
)

// start is the data sheet's initialization: section 10.0, "Initialization Procedures".
func (n *testNIC) start() {
	n.put(nicCR, crAbort|crStop)
	n.put(nicDCR, dcrWord|dcrNormal|dcrAutoInit)
	n.put(nicRBCR0, 0)
	n.put(nicRBCR1, 0)
	n.put(nicRCR, rcrBroadcast)
	n.put(nicTCR, 0x02)
	n.put(nicBNRY, testFirst)
	n.put(nicPSTART, testFirst)
	n.put(nicPSTOP, testEnd)
	n.put(nicISR, 0xff)
	n.put(nicIMR, 0)
	n.put(nicCR, 0x40|crAbort|crStop)
	for i, b := range testAddress {
		n.put(nicPAR0+uint16(i), uint32(b))
	}
	n.put(nicCURR, testFirst)
	n.put(nicCR, crAbort|crStart)
	n.put(nicTCR, 0)
}

// remote begins remote DMA.
func (n *testNIC) remote(op uint32, at, count uint16) {
	n.put(nicRSAR0, uint32(at&0xff))
	n.put(nicRSAR1, uint32(at>>8))
	n.put(nicRBCR0, uint32(count&0xff))
	n.put(nicRBCR1, uint32(count>>8))
	n.put(nicCR, op|crStart)
}

func (n *testNIC) words(count int) (b []byte) {
	for range count {
		v := n.bus.In(nicBase+nicData, 2)
		b = append(b, byte(v), byte(v>>8))
	}
	return b
}

func (n *testNIC) writeWords(b []byte) {
	for i := 0; i+1 < len(b); i += 2 {
		n.bus.Out(nicBase+nicData, 2, uint32(b[i])|uint32(b[i+1])<<8)
	}
}

// transmitted puts a frame of any bytes at 0x4000 and sends it.
func (n *testNIC) transmitted(frame []byte) {
	n.remote(crWrite, ramStart, uint16(len(frame)))
	n.writeWords(append(bytes.Clone(frame), 0))
	n.send(len(frame))
}

func (n *testNIC) send(length int) {
	n.put(nicTPSR, ramStart>>8)
	n.put(nicTBCR0, uint32(length&0xff))
	n.put(nicTBCR1, uint32(length>>8))
	n.put(nicCR, crAbort|crStart|crTransmit)
}

// TestNICReset: what a reset leaves, section 10.0, and that reading the reset port
// is one.
func TestNICReset(t *testing.T) {
	n := newNIC(t)
	n.start()
	n.put(nicIMR, isrTransmitted)
	n.transmitted(make([]byte, 60))
	eq(t, "line", n.irq.level, true)
	n.get(nicReset)
	eq(t, "line after reset", n.irq.level, false)
	eq(t, "CR", n.get(nicCR), 0x21)
	eq(t, "ISR", n.get(nicISR), isrReset)
	n.put(nicISR, 0xff)
	eq(t, "ISR, which RST stays in", n.get(nicISR), isrReset)
	n.put(nicCR, 0x80|crAbort|crStop)
	eq(t, "IMR", n.get(nicIMR), 0)
	eq(t, "TCR", n.get(nicTCR), 0)
	eq(t, "PSTART, which stays", n.get(nicPSTART), testFirst)
	n.put(nicCR, crAbort|crStart)
	eq(t, "ISR", n.get(nicISR), 0)
	n.put(nicCR, 0)
	eq(t, "CR after no command", n.get(nicCR), crAbort|crStart)
}

// TestNICRegisters: what each register keeps, and where it is read.
func TestNICRegisters(t *testing.T) {
	for _, r := range []struct {
		name             string
		writeAt, readAt  uint32 // pages of CR
		writeReg, readAs uint16
		keeps            uint32
	}{
		{"BNRY", 0, 0, nicBNRY, nicBNRY, 0xff},
		{"PSTART", 0, 2, nicPSTART, nicPSTART, 0xff},
		{"PSTOP", 0, 2, nicPSTOP, nicPSTOP, 0xff},
		{"TPSR", 0, 2, nicTPSR, nicTPSR, 0xff},
		{"RSAR0", 0, 0, nicRSAR0, nicCRDA0, 0xff},
		{"RSAR1", 0, 0, nicRSAR1, nicCRDA1, 0xff},
		{"RCR", 0, 2, nicRCR, nicRCR, 0xff},
		{"TCR", 0, 2, nicTCR, nicTCR, 0xff},
		{"DCR", 0, 2, nicDCR, nicDCR, 0xff},
		{"IMR", 0, 2, nicIMR, nicIMR, 0x7f},
		{"PAR0", 1, 1, nicPAR0, nicPAR0, 0xff},
		{"PAR5", 1, 1, nicPAR0 + 5, nicPAR0 + 5, 0xff},
		{"CURR", 1, 1, nicCURR, nicCURR, 0xff},
		{"MAR0", 1, 1, nicMAR0, nicMAR0, 0xff},
		{"MAR7", 1, 1, nicMAR0 + 7, nicMAR0 + 7, 0xff},
		{"TBCR0, which nobody reads", 0, 0, nicTBCR0, nicNCR, 0},
		{"a page 2 that nobody writes", 2, 2, nicRCR, nicRCR, 0},
		{"page 3", 3, 3, nicRCR, nicRCR, 0},
	} {
		for _, v := range []uint32{0xff, 0x00, 0xa5, 0x5a} {
			n := newNIC(t)
			n.put(nicCR, r.writeAt<<6|crAbort|crStop)
			n.put(r.writeReg, v)
			n.put(nicCR, r.readAt<<6|crAbort|crStop)
			eq(t, r.name, n.get(r.readAs), v&r.keeps)
			eq(t, "CR", n.get(nicCR), r.readAt<<6|crAbort|crStop)
		}
	}
}

// TestNICWideRegisters: a wide access is one of bytes.
func TestNICWideRegisters(t *testing.T) {
	n := newNIC(t)
	n.bus.Out(nicBase+nicRSAR0, 4, 0x0102_4567)
	eq(t, "RSAR", n.rsar, 0x4567)
	eq(t, "RBCR", n.rbcr, 0x0102)
	n.isr = 0x7f
	n.bus.Out(nicBase+nicTPSR, 4, 0x03_1234_40)
	eq(t, "TPSR", n.tpsr, 0x40)
	eq(t, "TBCR", n.tbcr, 0x1234)
	eq(t, "ISR", n.isr, 0x7c)
	eq(t, "CRDA and more", n.bus.In(nicBase+nicCRDA0, 4), 0x4567)
}

// TestNICPROM: the address and the mark of a wide card.
func TestNICPROM(t *testing.T) {
	n := newNIC(t)
	n.put(nicDCR, dcrNormal)
	n.remote(crRead, 0, promSize)
	for i := range uint16(promSize) {
		want := uint32(0)
		if i < 12 {
			want = uint32(testAddress[i/2])
		} else if i >= 28 {
			want = 'W'
		}
		eq(t, "byte of the PROM", n.get(nicData), want)
	}
	eq(t, "behind the end", n.get(nicData), 0xff)
	eq(t, "ISR", n.get(nicISR), isrRemote)
	n.remote(crWrite, 0, 4)
	n.put(nicData, 1)
	n.remote(crRead, 0, 1)
	eq(t, "what was written", n.get(nicData), uint32(testAddress[0]))
}

// TestNICRemote: words and bytes, both ends of packet memory, and the ring's.
func TestNICRemote(t *testing.T) {
	n := newNIC(t)
	n.start()
	n.put(nicISR, 0xff)
	n.remote(crWrite, 0x4010, 6)
	n.bus.Out(nicBase+nicData, 2, 0x2211)
	eq(t, "ISR on the way", n.get(nicISR), 0)
	n.bus.Out(nicBase+nicData, 4, 0x66554433)
	eq(t, "ISR at the end", n.get(nicISR), isrRemote)
	n.bus.Out(nicBase+nicData, 2, 0x8877)
	n.remote(crRead, 0x4010, 8)
	eq(t, "read back", string(n.words(4)), "\x11\x22\x33\x44\x55\x66\x00\x00")
	n.remote(crRead, 0x4011, 3)
	eq(t, "an odd place and length", string(n.words(3)), "\x11\x22\x33\x44\xff\xff")
	eq(t, "CRDA", n.get(nicCRDA1)<<8|n.get(nicCRDA0), 0x4015)

	n.remote(crWrite, 0x7ffe, 4)
	n.writeWords([]byte("wrap"))
	n.remote(crRead, testFirst<<8, 2)
	eq(t, "round the ring", string(n.words(1)), "ap")
	n.put(nicPSTOP, 0x90)
	n.remote(crWrite, 0x7ffe, 4)
	n.writeWords([]byte("lost"))
	n.remote(crRead, 0x7ffe, 4)
	eq(t, "beyond the end", string(n.words(2)), "lo\xff\xff")
	n.remote(crWrite, 0x3ffe, 4)
	n.writeWords([]byte("lost"))
	n.remote(crRead, 0x3ffe, 4)
	eq(t, "before the start", string(n.words(2)), "\xff\xffst")
	n.remote(crRead, 0xfffe, 6)
	eq(t, "round the address space", string(n.words(3)), "\xff\xff\x52\x52\x54\x54")

	n.put(nicISR, 0xff)
	n.remote(crRead, 0x4000, 0)
	eq(t, "ISR after nothing", n.get(nicISR), isrRemote)
	n.remote(crAbort, 0x4000, 2)
	eq(t, "read without a command", string(n.words(1)), "\xff\xff")
	n.remote(crWrite, 0x4000, 2)
	eq(t, "read of a write", string(n.words(1)), "\xff\xff")
}

// FuzzNE2000: any accesses of any width and any frames. Interrupts are as ISR and
// IMR say, and the ring is never full up to BNRY.
func FuzzNE2000(f *testing.F) {
	f.Add([]byte{0, 0x22, 1, 0x46, 2, 0x80, 3, 0x46, 0x2c, 0x1f, 0x70, 60, 0x71, 255, 0, 0x18, 0x58, 9})
	f.Add([]byte{0, 0x22, 4, 0x40, 5, 60, 6, 0, 0, 0x26, 8, 0, 9, 0x40, 10, 255, 0, 0x0a, 0x50, 100, 0x38, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		n := newNIC(t)
		ops = ops[:min(len(ops), 600)]
		if len(ops)%2 == 0 {
			n.start()
		}
		for i := 0; i+1 < len(ops); i += 2 {
			n.poke(ops[i], uint32(ops[i+1]))
			eq(t, "line", n.irq.level, n.isr&n.imr&isrMaskable != 0)
			if n.sending && n.stopped() || len(n.sent) > len(ops) {
				t.Fatalf("CR %#x, %d frames", n.command, len(n.sent))
			}
		}
	})
}

// poke is one access, or a frame.
func (n *testNIC) poke(op byte, v uint32) {
	reg := uint16(op % nicPorts)
	switch op >> 5 {
	case 0:
		n.put(reg, v)
	case 1:
		n.get(reg)
	case 2:
		n.bus.In(nicBase+reg, 4)
		for range v {
			n.bus.In(nicBase+nicData, 2)
		}
	case 3:
		frame := make([]byte, int(v)*int(reg&7))
		copy(frame, testAddress[:])
		n.Receive(frame)
	case 4:
		n.bus.Out(nicBase+reg, 4, v*0x01010101)
	case 5:
		n.full = v&1 != 0
		n.Resume()
	case 6:
		before := n.curr
		if n.Room() && n.listens() {
			n.Receive(append(bytes.Repeat([]byte{0xff}, 6), make([]byte, maxFrame-6)...))
			if n.isr&isrOverwrite == 0 && n.curr == n.bnry && before != n.curr {
				n.Fatalf("the ring from %#x to %#x is full up to %#x", n.pstart, n.pstop, n.bnry)
			}
		}
	default:
		for range v {
			n.bus.Out(nicBase+nicData, 2, v)
		}
	}
}

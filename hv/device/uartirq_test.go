package device

import "testing"

// The outputs come back as inputs, and bytes as bytes; nothing leaves.
func TestUARTLoopback(t *testing.T) {
	u := newUART(t).ready(0)
	u.host.input = []byte("x")
	for _, c := range []struct{ mcr, msr uint32 }{
		{0, 0x0b},                    // CTS, DSR and DCD went
		{mcrDTR, msrDSR | 0x02},      //
		{mcrRTS, msrCTS | 0x03},      // DSR went, CTS came
		{mcrOut1, msrRI | 0x01},      // CTS went; RI came, which is no change yet
		{mcrOut2, msrDCD | 0x04 | 8}, // RI went
	} {
		u.put(uartMCR, mcrLoop|c.mcr)
		u.reads("MSR in loopback", uartMSR, c.msr)
		u.reads("MSR again", uartMSR, c.msr&0xf0)
	}
	u.host.input = nil
	u.put(uartIER, ierReceived|ierEmpty)
	u.write("abc")
	u.reads("IIR", uartIIR, iirFIFO|iirTimeout)
	u.reads("byte", uartData, 'a')
	u.get(uartData)
	u.get(uartData)
	u.reads("IIR", uartIIR, iirFIFO|iirEmpty)
	u.write("d")
	u.line("OUT2 is off in loopback", false)
	u.put(uartMCR, 0x0b)
	u.line("after loopback", true)
	u.reads("MSR", uartMSR, msrCTS|msrDSR|msrDCD|0x03)
	eq(t, "output", len(u.host.output), 0)
}

func TestUARTOverrun(t *testing.T) {
	u := newUART(t).ready(0xf)
	u.put(uartMCR, mcrLoop)
	u.get(uartMSR)
	u.write("0123456789abcdef")
	u.reads("LSR", uartLSR, lsrReady|lsrTHRE|lsrTEMT)
	u.write("X")
	u.reads("IIR", uartIIR, iirFIFO|iirLine)
	u.reads("LSR", uartLSR, lsrReady|lsrOverrun|lsrTHRE|lsrTEMT)
	u.reads("LSR again", uartLSR, lsrReady|lsrTHRE|lsrTEMT)
	for _, c := range "0123456789abcdef" {
		u.reads("byte", uartData, uint32(c))
	}
	u.put(uartIIR, 0) // without FIFOs the new one stays
	u.write("ab")
	u.reads("LSR", uartLSR, lsrReady|lsrOverrun|lsrTHRE|lsrTEMT)
	u.reads("byte", uartData, 'b')
}

// Each source hides those below it, and each ends in its own way.
func TestUARTPriorities(t *testing.T) {
	u := newUART(t).ready(0)
	u.put(uartMCR, mcrLoop) // changes of the modem
	u.write("0123456789abcdefX")
	u.put(uartIER, 0xf)
	u.reads("IIR", uartIIR, iirFIFO|iirLine)
	u.get(uartLSR)
	u.reads("IIR", uartIIR, iirFIFO|iirReceived)
	for range 9 {
		u.get(uartData)
	}
	u.reads("IIR", uartIIR, iirFIFO|iirTimeout)
	for range 7 {
		u.get(uartData)
	}
	u.reads("IIR", uartIIR, iirFIFO|iirEmpty)
	u.reads("IIR", uartIIR, iirFIFO|iirModem)
	u.get(uartMSR)
	u.reads("IIR", uartIIR, iirFIFO|iirNone)
}

// IER lets each source through alone, and without OUT2 none.
func TestUARTEnables(t *testing.T) {
	for ier, want := range map[uint32]uint32{
		0: iirNone, ierReceived: iirReceived, ierEmpty: iirEmpty, ierLine: iirLine, ierModem: iirModem,
	} {
		u := newUART(t).ready(0)
		u.put(uartMCR, mcrLoop)
		u.write("0123456789abcdefX")
		u.put(uartIER, ier)
		u.reads("IIR", uartIIR, iirFIFO|want)
		u.put(uartIER, 0)
		u.put(uartIER, ier)
		u.put(uartMCR, mcrRTS)
		u.line("without OUT2", false)
		u.put(uartMCR, mcrRTS|mcrOut2)
		u.line("with OUT2", want != iirNone)
	}
}

// An edge-triggered controller sees each reason to interrupt, for the line falls
// between two.
func TestUARTEdges(t *testing.T) {
	u := newUART(t).ready(ierEmpty)
	eq(t, "rises when enabled", u.irq.rises, 1)
	u.put(uartIIR, 0)
	u.write("a") // sent at once, without FIFOs
	eq(t, "rises after a byte", u.irq.rises, 2)
	u.put(uartIIR, 0x87)
	u.put(uartIER, ierReceived)
	u.host.input = []byte("abc")
	u.Update()
	eq(t, "rises after input", u.irq.rises, 3)
	u.get(uartData)
	eq(t, "rises with bytes left", u.irq.rises, 4)
	u.get(uartData)
	u.host.input = []byte("0123456789abcdef")
	u.get(uartData)
	eq(t, "rises with more from the host", u.irq.rises, 6)
	u.get(uartData)
	eq(t, "rises above the trigger", u.irq.rises, 6)
	for range 15 {
		u.get(uartData)
	}
	u.line("empty", false)
}

// A host may answer nonsense.
type wrongHost struct{ n int }

func (h wrongHost) Write([]byte) int        { return h.n }
func (h wrongHost) Read([]byte) (int, bool) { return h.n, false }

func TestUARTWrongHost(t *testing.T) {
	for _, n := range []int{-1, 17, 1 << 40} {
		u := newUART(t)
		u.UART = NewUART(u.clock, u.irq.set, wrongHost{n})
		u.bus.COM1 = u.UART
		u.ready(0xf).write("0123456789abcdefghi")
		u.Update()
		for range 40 {
			u.get(uartData)
			u.get(uartLSR)
		}
	}
}

// FuzzUART: any accesses, and a host that sometimes takes and sometimes has
// something. What comes out is what was written, in order.
func FuzzUART(f *testing.F) {
	f.Add([]byte{2, 0x87, 4, 0x0b, 1, 0x0f, 0, 'h', 0, 'i', 13, 0, 16, 9, 8, 0, 18, 3, 17, 5, 18, 0xff})
	f.Add([]byte{4, 0x1b, 0, 1, 0, 2, 8, 0, 13, 0, 14, 0, 19, 1, 3, 0x80, 0, 3, 1, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		u := newUART(t)
		u.host.room = 0
		written := 0
		for i := 0; i+1 < len(ops); i += 2 {
			switch op, v := ops[i]%20, ops[i+1]; {
			case op < 8:
				u.put(uint16(op), uint32(v))
				written++
			case op < 16:
				u.get(uint16(op - 8))
			case op == 16:
				u.host.input = append(u.host.input, make([]byte, v)...)
			case op == 17:
				u.host.room += int(v)
			case op == 18:
				runTo(t, u.clock, u, u.clock.now+int64(v)*1000, 2)
			default:
				u.host.eof = true
			}
			eq(t, "line", u.irq.level, u.cause() != iirNone && u.mcr&0x18 == mcrOut2)
			if u.tx.n > fifoSize || u.rx.n > fifoSize || len(u.host.output) > written {
				t.Fatalf("%d to send, %d received, %d sent of %d", u.tx.n, u.rx.n, len(u.host.output), written)
			}
		}
	})
}

package device

import (
	"bytes"
	"testing"
)

// testHost is the host's end of a line: it has input, and takes room bytes.
type testHost struct {
	input  []byte
	eof    bool // after the input
	room   int  // -1: any
	output []byte
	writes int
	reads  int
}

func (h *testHost) Write(b []byte) int {
	h.writes++
	n := len(b)
	if h.room >= 0 {
		n = min(n, h.room)
		h.room -= n
	}
	h.output = append(h.output, b[:n]...)
	return n
}

func (h *testHost) Read(b []byte) (n int, eof bool) {
	h.reads++
	n = copy(b, h.input)
	h.input = h.input[n:]
	return n, h.eof && len(h.input) == 0
}

type testUART struct {
	*testing.T
	*UART
	clock *testClock
	irq   wire
	host  *testHost
	bus   *Bus
}

func newUART(t *testing.T) *testUART {
	u := &testUART{T: t, clock: newClock(), host: &testHost{room: -1}}
	u.UART = NewUART(u.clock, u.irq.set, u.host)
	u.bus = &Bus{COM1: u.UART}
	return u
}

// ready sets it up as a driver does: FIFOs with trigger 8, DTR, RTS and OUT2.
func (u *testUART) ready(ier uint32) *testUART {
	u.put(uartIIR, 0x87)
	u.put(uartMCR, 0x0b)
	u.put(uartIER, ier)
	return u
}

func (u *testUART) put(reg uint16, v uint32) { u.bus.Out(com1+reg, 1, v) }

func (u *testUART) get(reg uint16) uint32 { return u.bus.In(com1+reg, 1) }

func (u *testUART) reads(what string, reg uint16, want uint32) {
	u.Helper()
	eq(u.T, what, u.get(reg), want)
}

func (u *testUART) write(text string) {
	for _, c := range []byte(text) {
		u.put(uartData, uint32(c))
	}
}

func (u *testUART) line(what string, want bool) {
	u.Helper()
	eq(u.T, "line, "+what, u.irq.level, want)
}

// waits says for what: input from the host, room for output.
func (u *UART) waits() (input, output bool) { return u.listens(), u.busy }

func TestUARTReset(t *testing.T) {
	u := newUART(t)
	for reg, want := range []uint32{0, 0, 0x01, 0, 0, 0x60, 0xb0, 0} {
		u.reads("register after reset", uint16(reg), want)
	}
	eq(t, "reads from the host before RTS", u.host.reads, 0)
	eq(t, "next", u.Next(), never)
}

func TestUARTRegisters(t *testing.T) {
	u := newUART(t)
	for _, c := range []struct{ reg, wrote, want uint32 }{
		{uartIER, 0xff, 0x0f},
		{uartMCR, 0xff, 0x1f},
		{uartScratch, 0xa5, 0xa5},
		{uartLCR, 0x7f, 0x7f},
		{uartLSR, 0xff, 0x60}, // read only
	} {
		u.put(uint16(c.reg), c.wrote)
		u.reads("register", uint16(c.reg), c.want)
	}
	u.put(uartMCR, 0)
	u.put(uartIER, 0)
	u.put(uartLCR, 0x83)
	u.put(0, 0x34)
	u.put(1, 0x12)
	u.reads("DLL", 0, 0x34)
	u.reads("DLM", 1, 0x12)
	u.put(uartLCR, 0x03)
	u.reads("IER behind DLM", uartIER, 0)
	eq(t, "bytes sent through DLL", len(u.host.output), 0)
}

func TestUARTTransmit(t *testing.T) {
	u := newUART(t).ready(0)
	u.write("fifteen bytes..")
	eq(t, "writes before it is full", u.host.writes, 0)
	u.write("!")
	eq(t, "writes of a full FIFO", u.host.writes, 1)
	u.write("ab")
	eq(t, "next", u.Next(), u.clock.now+pause)
	u.clock.now += pause - 1
	u.Update()
	eq(t, "writes before the pause", u.host.writes, 1)
	u.clock.now++
	u.Update()
	eq(t, "writes after the pause", u.host.writes, 2)
	u.write("cd")
	u.reads("LSR", uartLSR, lsrTHRE|lsrTEMT)
	eq(t, "writes when the guest looks", u.host.writes, 3)
	u.write("ef")
	u.put(uartIIR, 0x07) // clearing the FIFO finds nothing in it
	eq(t, "output", string(u.host.output), "fifteen bytes..!abcdef")
	eq(t, "next", u.Next(), never)
}

func TestUARTWithoutFIFO(t *testing.T) {
	u := newUART(t)
	u.put(uartIIR, 0x86) // without enable the rest does not count
	u.reads("IIR", uartIIR, iirNone)
	u.write("abc")
	eq(t, "writes", u.host.writes, 3)
	u.host.room, u.host.input = 0, []byte("xyz")
	u.write("d")
	u.reads("LSR of a busy one", uartLSR, 0)
	u.put(uartMCR, 0x0b)
	u.put(uartIER, ierReceived)
	u.reads("IIR", uartIIR, iirReceived)
	u.reads("RBR", uartData, 'x')
	u.reads("RBR", uartData, 'y')
	u.reads("LSR", uartLSR, lsrReady)
	u.reads("RBR", uartData, 'z')
	u.reads("LSR", uartLSR, 0)
	u.reads("RBR of none", uartData, 'z')
	eq(t, "output", string(u.host.output), "abc")
}

// A host that takes nothing is a transmitter that is busy.
func TestUARTBusy(t *testing.T) {
	u := newUART(t).ready(ierEmpty)
	u.reads("IIR", uartIIR, iirFIFO|iirEmpty)
	u.host.room = 5
	u.write("0123456789abcdef")
	u.line("busy", false)
	u.reads("LSR", uartLSR, 0)
	_, output := u.waits()
	eq(t, "wants output", output, true)
	eq(t, "next", u.Next(), never)
	u.write("ghijkZ") // there was room for five
	u.host.room = 15
	u.Update()
	u.reads("LSR", uartLSR, 0)
	u.line("one byte left", false)
	u.host.room = -1
	u.Update()
	u.line("empty", true)
	u.reads("IIR", uartIIR, iirFIFO|iirEmpty)
	u.line("told", false)
	u.reads("IIR", uartIIR, iirFIFO|iirNone)
	_, output = u.waits()
	eq(t, "wants output", output, false)
	eq(t, "output", string(u.host.output), "0123456789abcdefghijk")
}

func TestUARTEmptyInterrupt(t *testing.T) {
	u := newUART(t).ready(0)
	u.line("not enabled", false)
	u.put(uartIER, ierEmpty)
	u.line("enabled while empty", true)
	u.write("a") // ends it as reading IIR does
	u.line("byte in the FIFO", false)
	u.clock.now = u.Next()
	u.Update()
	u.line("gone", true)
	u.put(uartIER, 0)
	u.line("disabled", false)
	u.put(uartIER, ierEmpty)
	u.line("enabled again", true)
	u.host.room = 0
	u.write("b")
	u.reads("LSR", uartLSR, 0)
	u.put(uartIIR, 0x83) // clear the receiver
	u.line("not cleared", false)
	u.put(uartIIR, 0x85) // clear the transmitter
	u.line("cleared", true)
	u.reads("LSR", uartLSR, lsrTHRE|lsrTEMT)
	_, output := u.waits()
	eq(t, "wants output", output, false)
	u.get(uartIIR)
	u.put(uartIIR, 0x85) // which was empty
	u.line("cleared while empty", false)
}

func TestUARTReceive(t *testing.T) {
	for i, trigger := range []int{1, 4, 8, 14} {
		u := newUART(t).ready(ierReceived)
		u.put(uartIIR, uint32(i<<6|1))
		u.host.input = bytes.Repeat([]byte{'x'}, trigger-1)
		u.Update()
		want := uint32(iirFIFO | iirTimeout)
		if trigger == 1 {
			want = iirFIFO | iirNone
		}
		u.reads("IIR below the trigger", uartIIR, want)
		u.host.input = []byte("yz")
		u.Update()
		u.reads("IIR above the trigger", uartIIR, iirFIFO|iirReceived)
		u.reads("first byte", uartData, map[bool]uint32{true: 'y', false: 'x'}[trigger == 1])
		u.reads("IIR at the trigger", uartIIR, iirFIFO|iirReceived)
		u.get(uartData)
		for range trigger - 1 {
			u.reads("IIR after", uartIIR, iirFIFO|iirTimeout)
			u.line("timeout", true)
			u.get(uartData)
		}
		u.line("empty", false)
		u.reads("LSR", uartLSR, lsrTHRE|lsrTEMT)
	}
}

// No more is taken than there is room for, and nothing while RTS is off.
func TestUARTFlow(t *testing.T) {
	u := newUART(t).ready(0)
	text := "a text that is longer than two FIFOs are"
	u.host.input = []byte(text)
	for range 3 {
		u.Update()
	}
	eq(t, "left at the host", len(u.host.input), len(text)-fifoSize)
	input, _ := u.waits()
	eq(t, "wants input when full", input, false)
	eq(t, "next when full", u.Next(), never)
	got := []byte{}
	for u.get(uartLSR)&lsrReady != 0 {
		got = append(got, byte(u.get(uartData)))
	}
	eq(t, "received", string(got), text)
	input, _ = u.waits()
	eq(t, "wants input", input, true)

	u.put(uartMCR, mcrDTR|mcrOut2)
	u.host.input = []byte("x")
	u.Update()
	input, _ = u.waits()
	eq(t, "wants input without RTS", input, false)
	reads := u.host.reads
	u.reads("LSR without RTS", uartLSR, lsrTHRE|lsrTEMT)
	u.put(uartMCR, mcrDTR|mcrOut2|mcrRTS)
	eq(t, "reads with RTS", u.host.reads, reads+1)
	u.reads("LSR", uartLSR, lsrReady|lsrTHRE|lsrTEMT)
	u.put(uartIIR, 0x83) // clear the receiver
	u.reads("LSR", uartLSR, lsrTHRE|lsrTEMT)
}

// What the FIFO control register clears.
func TestUARTClear(t *testing.T) {
	for fcr, kept := range map[uint32]bool{0x01: true, 0xc1: true, 0x05: true, 0x03: false, 0x00: false} {
		u := newUART(t).ready(ierReceived)
		u.host.input = []byte("abc")
		u.reads("IIR", uartIIR, iirFIFO|iirTimeout) // which looks at the host
		u.put(uartIIR, fcr)
		eq(t, show(fcr), u.get(uartLSR)&lsrReady != 0, kept)
	}
}

// The end of the input is a carrier that is lost once all has been read.
func TestUARTCarrier(t *testing.T) {
	u := newUART(t).ready(ierModem)
	u.reads("MSR", uartMSR, msrDCD|msrDSR|msrCTS)
	u.host.input, u.host.eof = []byte("ab"), true
	u.Update()
	u.reads("MSR with bytes to read", uartMSR, msrDCD|msrDSR|msrCTS)
	input, _ := u.waits()
	eq(t, "wants input", input, false)
	u.get(uartData)
	u.line("a byte left", false)
	u.get(uartData)
	u.line("carrier lost", true)
	u.reads("IIR", uartIIR, iirFIFO|iirModem)
	u.reads("MSR", uartMSR, msrDSR|msrCTS|0x08)
	u.line("told", false)
	u.reads("MSR", uartMSR, msrDSR|msrCTS)
	reads := u.host.reads
	u.Update()
	u.get(uartLSR)
	eq(t, "reads after the end", u.host.reads, reads)

	u = newUART(t).ready(ierModem)
	u.host.eof = true
	u.Update()
	u.line("an end without a byte", true)
	u = newUART(t) // and one that was before anybody asked
	u.host.eof = true
	u.reads("MSR", uartMSR, msrDCD|msrDSR|msrCTS)
	u.ready(0).reads("MSR", uartMSR, msrDSR|msrCTS|0x08)
}

func TestUARTNoInput(t *testing.T) {
	u := newUART(t)
	u.SendOnly()
	u.ready(0xf)
	u.reads("MSR", uartMSR, msrDSR|msrCTS)
	u.write("x")
	u.reads("LSR", uartLSR, lsrTHRE|lsrTEMT)
	eq(t, "output", string(u.host.output), "x")
	eq(t, "reads", u.host.reads, 0)

	u.UART = NewUART(u.clock, u.irq.set, nil)
	u.bus.COM1 = u.UART
	u.ready(0xf).write("into nowhere, and more than a FIFO")
	u.reads("LSR", uartLSR, lsrTHRE|lsrTEMT)
	u.reads("MSR", uartMSR, msrDSR|msrCTS)
	input, output := u.waits()
	eq(t, "wants", input || output, false)
}

package device

import (
	"bytes"
	"testing"
)

// The devices together, as a guest uses them.

// wired sets the controllers up as a PC's, all but the second's unmasked.
func wired() *machine {
	m := newMachine()
	for _, w := range [][2]uint32{{0x20, 0x11}, {0x21, 0x20}, {0x21, 0x04}, {0x21, 1},
		{0xa0, 0x11}, {0xa1, 0x28}, {0xa1, 0x02}, {0xa1, 1}} {
		m.Out(uint16(w[0]), 1, w[1])
	}
	return m
}

// takes acknowledges an interrupt and ends it.
func (m *machine) takes(t *testing.T, what string, want uint8) {
	t.Helper()
	if !m.intr.level {
		t.Errorf("%s: no interrupt", what)
		return
	}
	eq(t, what, m.PIC.Acknowledge(), want)
	if want >= 0x28 {
		m.Out(0xa0, 1, 0x20)
	}
	m.Out(0x20, 1, 0x20)
}

func TestMachineInterrupts(t *testing.T) {
	m := wired()
	m.Out(0x43, 1, 0x34)
	m.Out(0x40, 1, 0)
	m.Out(0x40, 1, 0x10) // 4096 ticks
	eq(t, "next is the timer's", m.Next(), m.PIT.Next())
	for range 3 {
		m.clock.now = m.Next()
		m.Update()
		m.takes(t, "timer", 0x20)
	}
	m.Out(0x43, 1, 0x30)

	m.Out(0x70, 1, rtcB)
	m.Out(0x71, 1, b24Hours|bUpdated)
	eq(t, "next is the clock's", m.Next(), second)
	m.clock.now = m.Next()
	m.Update()
	m.takes(t, "clock", 0x28)
	m.Out(0x70, 1, rtcC)
	m.In(0x71, 1)

	m.Out(ataStatus, 1, cmdIdentify)
	m.takes(t, "disk", 0x2e)
	m.In(ataStatus, 1)

	for i, port := range []uint16{com2, com1} {
		m.Out(port+uartMCR, 1, 0x0b)
		m.Out(port+uartIER, 1, ierEmpty)
		m.takes(t, "serial line", uint8(0x23+i))
		m.Out(port, 1, 'x')
		m.takes(t, "serial line again", uint8(0x23+i))
		m.In(port+uartIIR, 1)
	}
	m.Control.Signal(15)
	m.takes(t, "signals", 0x29)
	eq(t, "another", m.intr.level, false)
}

// A driver that sleeps until an interrupt moves text both ways through a host
// that is slow.
func TestMachineEcho(t *testing.T) {
	m := wired()
	text := bytes.Repeat([]byte("a line of text, and another. "), 20)
	m.host.input, m.host.eof, m.host.room = bytes.Clone(text), true, 0
	m.Out(com1+uartIIR, 1, 0x87)
	m.Out(com1+uartMCR, 1, 0x0b)
	m.Out(com1+uartIER, 1, ierReceived|ierEmpty|ierModem)
	var queue []byte
	for turns := 0; len(m.host.output) < len(text); turns++ {
		if turns > 1000 {
			t.Fatalf("stuck with %d of %d bytes", len(m.host.output), len(text))
		}
		if !m.intr.level {
			m.host.room += 7
			m.clock.now = max(m.clock.now, min(m.Next(), m.clock.now+1_000_000))
			m.Update()
			continue
		}
		eq(t, "vector", m.PIC.Acknowledge(), 0x24)
		queue = m.serve(queue)
		m.Out(0x20, 1, 0x20)
	}
	eq(t, "output", string(m.host.output), string(text))
	eq(t, "carrier", m.In(com1+uartMSR, 1)&msrDCD, 0)
	if writes := m.host.writes; writes > len(text) {
		t.Errorf("%d writes for %d bytes", writes, len(text))
	}
}

// serve is the driver's interrupt handler. What it echoes waits in queue.
func (m *machine) serve(queue []byte) []byte {
	for {
		switch m.In(com1+uartIIR, 1) & 0x0f {
		case iirReceived, iirTimeout:
			for m.In(com1+uartLSR, 1)&lsrReady != 0 {
				queue = append(queue, byte(m.In(com1, 1)))
			}
		case iirModem:
			m.In(com1+uartMSR, 1)
		case iirNone:
			return m.transmit(queue)
		}
	}
}

func (m *machine) transmit(queue []byte) []byte {
	if m.In(com1+uartLSR, 1)&lsrTHRE == 0 {
		return queue
	}
	n := min(len(queue), fifoSize)
	for _, c := range queue[:n] {
		m.Out(com1, 1, uint32(c))
	}
	return queue[n:]
}

// FuzzMachine: any accesses of any port and width, with all devices on their
// controllers and on the APIC. The loop of a machine never spins.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 0x43, 0x34, 0, 0x40, 2, 0, 0x40, 0, 7, 0, 100, 8, 0, 0})
	f.Add([]byte{1, 0xf7, 0xec, 5, 0xf0, 0, 3, 0xf8, 0x41, 7, 0, 1, 9, 0, 15, 6, 0xf4, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := wired()
		apic := NewAPIC(m.clock, func() uint64 { return uint64(m.clock.now) }, second)
		m.PIC.intr = func(level bool) { m.intr.set(level); apic.LINT0(level) }
		bases := [4]uint16{0x000, 0x100, 0x200, 0x300}
		for i := 0; i+2 < len(ops); i += 3 {
			port := bases[ops[i]>>6] + uint16(ops[i+1])
			switch v := uint32(ops[i+2]) * 0x01010101; ops[i] & 15 {
			case 0, 1, 2:
				m.Out(port, 1<<(ops[i]&15), v)
			case 3, 4, 5:
				m.In(port, 1<<(ops[i]&15-3))
			case 6:
				m.In(port|0x400, 4)
			case 7:
				span := int64(v&0xff) * 5000
				runTo(t, m.clock, m, m.clock.now+span, 3*int(span/shortest)+9)
			case 8:
				if m.intr.level {
					m.PIC.Acknowledge()
				}
			case 9:
				m.Control.Signal(int(v & 0x7f))
			case 10:
				m.host.input = append(m.host.input, byte(v))
			case 11:
				apic.WriteMSR(0x800+uint32(ops[i+1]&0x3f), uint64(v&0x1ffff))
			default:
				m.host.room = int(v & 3)
			}
			m.Update()
			if next := m.Next(); next <= m.clock.now {
				t.Fatalf("up to date at %d, and wants %d", m.clock.now, next)
			}
		}
	})
}

package device

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// machine is all devices on a bus.
type machine struct {
	Bus
	clock *testClock
	host  *testHost
	disk  *testDisk
	intr  wire
}

func newMachine() *machine {
	m := &machine{clock: newClock(), host: &testHost{room: -1}, disk: newDisk(4)}
	pic := NewPIC(m.intr.set)
	m.Bus = Bus{
		PIC:     pic,
		PIT:     NewPIT(m.clock, pic.Line(0)),
		RTC:     NewRTC(m.clock, pic.Line(8)),
		ATA:     NewChannel(pic.Line(14), m.disk),
		ATA2:    NewChannel(pic.Line(15), newDisk(3), newDisk(5)),
		COM1:    NewUART(m.clock, pic.Line(4), m.host),
		COM2:    NewUART(m.clock, pic.Line(3), m.host),
		Control: NewControl(pic.Line(hypercall.ControlIRQ)),
	}
	for i := range m.NE2000 {
		m.NE2000[i] = NewNE2000(pic.Line(hypercall.NE2000IRQ+i), [6]byte{2, 0, 0, 0, 0, byte(i)}, new(testNIC))
	}
	m.COM2.SendOnly()
	return m
}

// claimed are the ports where a device is, for bytes.
func claimed() map[uint16]bool {
	list := map[uint16]bool{}
	for _, r := range [][2]uint16{{0x20, 0x21}, {0x40, 0x43}, {0x61, 0x61}, {0x70, 0x71}, {0xa0, 0xa1}, {0x4d0, 0x4d1}, {0x2f8, 0x2ff}, {0x3f8, 0x3ff}, {0x1f0, 0x1f7}, {0x170, 0x177}, {0x376, 0x376}, {0x3f6, 0x3f6},
		{0x300, 0x31f}, {0x340, 0x35f}, {0x380, 0x39f}, {0x3c0, 0x3df}} {
		for p := r[0]; p <= r[1]; p++ {
			list[p] = true
		}
	}
	return list
}

func TestControlPort(t *testing.T) {
	eq(t, "port", controlPort, hypercall.ControlPort)
	eq(t, "port above", controlHigh, hypercall.ControlPort+4)
	for i, first := range ne2000 {
		eq(t, "network interface", int(first), hypercall.NE2000Port+i*hypercall.NE2000Stride)
	}
	eq(t, "network interfaces", len(ne2000), hypercall.MaxNICs)
}

// split are the ports of an access where a device answers a byte, by their place
// in it. There is no port behind the last.
func split(isThere map[uint16]bool, port, size int) map[int]uint16 {
	list := map[int]uint16{}
	for i := range size {
		if p := port + i; p <= 0xffff && isThere[uint16(p)] {
			list[i] = uint16(p)
		}
	}
	return list
}

// native are the accesses that a device takes whole.
func native(port, size int) bool {
	data := port == ataData || port == ata2Data || port >= 0x300 && port < 0x3e0 && port&0x38 == 0x10
	return size == 4 && (port == controlPort || port == controlHigh) || size >= 2 && data
}

// everyAccess calls f for each port and width that is split, with what answers.
func everyAccess(f func(port, size int, bytes map[int]uint16)) {
	isThere := claimed()
	for port := range 1 << 16 {
		for _, size := range []int{1, 2, 4} {
			if !native(port, size) {
				f(port, size, split(isThere, port, size))
			}
		}
	}
}

// TestBusReads reads every port in every width: nobody is all ones, and what is
// wide is what its bytes are on a machine just like it.
func TestBusReads(t *testing.T) {
	idle := newMachine()
	everyAccess(func(port, size int, bytes map[int]uint16) {
		m, want := idle, uint32(1<<(8*size)-1)
		if len(bytes) > 0 {
			other := newMachine()
			m = newMachine()
			for i := range size {
				if p, ok := bytes[i]; ok {
					want &= other.In(p, 1)<<(8*i) | ^uint32(0xff<<(8*i))
				}
			}
		}
		if got := m.In(uint16(port), size); got != want {
			t.Fatalf("IN of %d bytes at %#x: got %#x, want %#x", size, port, got, want)
		}
	})
	eq(t, "state after reads of nobody", idle.state(), newMachine().state())
}

// state is all that a guest could see of a machine by reading bytes.
func (m *machine) state() string {
	var s strings.Builder
	for port := range uint16(0x500) {
		if Name(port, false) != "io.none" {
			fmt.Fprintf(&s, "%#x: %#x\n", port, m.In(port, 1))
		}
	}
	_, _, exited := m.Control.Exit()
	fmt.Fprintf(&s, "exit %t, output %q", exited, m.host.output)
	return s.String()
}

// TestBusWrites writes every port in every width: at nobody's nothing changes,
// and a wide write is as those of its bytes.
func TestBusWrites(t *testing.T) {
	const v = 0x9a5b3c1d
	idle := newMachine()
	everyAccess(func(port, size int, bytes map[int]uint16) {
		if len(bytes) == 0 {
			idle.Out(uint16(port), size, v)
			return
		}
		m, other := newMachine(), newMachine()
		m.Out(uint16(port), size, v)
		for i := range size {
			if p, ok := bytes[i]; ok {
				other.Out(p, 1, v>>(8*i)&0xff)
			}
		}
		if got, want := m.state(), other.state(); got != want {
			t.Fatalf("OUT of %d bytes at %#x: got\n%s\nwant\n%s", size, port, got, want)
		}
	})
	eq(t, "state after writes to nobody", idle.state(), newMachine().state())
}

// A bus without devices answers nothing.
func TestBusEmpty(t *testing.T) {
	b := new(Bus)
	for port := range 1 << 16 {
		for size, want := range map[int]uint32{1: 0xff, 2: 0xffff, 4: 0xffffffff} {
			if got := b.In(uint16(port), size); got != want {
				t.Fatalf("IN of %d bytes at %#x: got %#x", size, port, got)
			}
			b.Out(uint16(port), size, 0)
		}
	}
	eq(t, "next", b.Next(), never)
	b.Update()
}

// Two devices may meet in one wide access.
func TestBusStraddles(t *testing.T) {
	m := newMachine()
	m.Out(com1+uartScratch, 1, 0x77)
	eq(t, "IN of 2 bytes at the end of COM1", m.In(com1+uartScratch, 2), 0xff77)
	m.Out(com2-1, 4, 0x41000000|uint32('x')<<8)
	m.In(com2+uartLSR, 1)
	eq(t, "output", string(m.host.output), "x")
	eq(t, "IN of 4 bytes at the last port", m.In(0xffff, 4), 0xffffffff)
}

func TestNames(t *testing.T) {
	isThere, names := claimed(), map[string]bool{}
	for _, p := range []uint16{controlPort, controlHigh} {
		isThere[p] = true
	}
	for port := range 1 << 16 {
		for _, write := range []bool{false, true} {
			name := Name(uint16(port), write)
			names[name] = true
			if !strings.HasPrefix(name, "io.") {
				t.Errorf("port %#x is %q", port, name)
			}
			if isThere[uint16(port)] && name == "io.none" && port != controlHigh {
				t.Errorf("port %#x has no name", port)
			}
		}
	}
	for name, at := range map[string]struct {
		port  uint16
		write bool
	}{
		"io.uart.thr": {0x3f8, true}, "io.uart.rbr": {0x3f8, false}, "io.uart.lsr": {0x3fd, false},
		"io.uart2.thr": {0x2f8, true}, "io.pic.command": {0x20, true}, "io.pic2.data": {0xa1, false},
		"io.pit.counter0": {0x40, true}, "io.rtc.data": {0x71, false}, "io.ata.status": {0x1f7, false},
		"io.ata.command": {0x1f7, true}, "io.control.exit": {0xf4, true}, "io.control.signals": {0xf8, false},
		"io.none": {0x80, true},
	} {
		eq(t, "name", Name(at.port, at.write), name)
	}
	if len(names) > 64 {
		t.Errorf("%d names", len(names))
	}
}

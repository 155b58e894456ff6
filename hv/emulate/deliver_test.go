package emulate

import (
	"errors"
	"testing"
)

func (m *machine) deliver(e Exception) {
	m.t.Helper()
	if err := m.Deliver(&m.Regs, e, &m.testBus); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) framed(want ...uint64) {
	m.t.Helper()
	for i, v := range want {
		if got := m.peek(m.RSP + uint64(8*i)); got != v {
			m.t.Errorf("frame[%d] is %#x, want %#x", i, got, v)
		}
	}
}

func TestInterrupt(t *testing.T) {
	m := newMachine(t)
	m.IF, m.Shadow, m.IOPL = true, true, 1
	m.RSP = atStack - 5 // to be aligned
	m.RFLAGS |= flagTF | flagNT | flagRF | flagCF | flagAC
	if err := m.Interrupt(&m.Regs, 0x40, &m.testBus); err != nil {
		t.Fatal(err)
	}
	m.equal("RIP", m.RIP, handlers+0x40)
	m.equal("RSP", m.RSP, atStack-16-40)
	m.framed(atCode, kernelCS, flagOne|flagIF|flagTF|flagNT|flagRF|flagCF|flagAC|1<<12, atStack-5, kernelSS)
	m.equal("flags", m.Flags(&m.Regs), flagOne|flagCF|flagAC|1<<12)
	m.equal("accessed", m.peek(atGDT+kernelCS)>>40&1, 1)
	if m.Shadow || m.SS != kernelSS || m.CPL != 0 {
		t.Errorf("%+v", m.CPU)
	}
	m.logged()
}

func TestException(t *testing.T) {
	m := newMachine(t)
	m.user()
	m.IF = true
	m.deliver(Exception{Vector: vectorPF, Error: 6, HasError: true, CR2: 0xabc})
	m.equal("CR2", m.CR2, 0xabc)
	m.equal("RSP", m.RSP, atRSP0-48)
	m.framed(6, atCode, userCS, flagOne|flagIF|flagRF, atStack, userSS)
	m.logged("cpl")
	if m.CPL != 0 || m.CS != kernelCS || m.SS != 0 || m.IF {
		t.Errorf("%+v", m.CPU)
	}

	m = newMachine(t)
	m.deliver(Exception{Vector: vectorBP})
	m.framed(atCode, kernelCS, flagOne) // no RF after a trap
	m.setGate(vectorUD, conformingCS, typeTrap, 0, 1)
	m.user()
	m.IF = true
	m.deliver(Exception{Vector: vectorUD})
	m.equal("RSP", m.RSP, atIST1-40)
	if m.CPL != 3 || m.CS != conformingCS|3 || m.SS != userSS || !m.IF {
		t.Errorf("conforming handler: %+v", m.CPU)
	}
}

// What goes wrong on the way, by the vector of the handler that is entered and
// the error code there.
func TestExceptionWhileDelivering(t *testing.T) {
	kernelGP := uint64(0x40<<3 | 2)
	for _, c := range []struct {
		name         string
		do           func(m *machine)
		vector, code uint64
	}{
		{"beyond the IDT", func(m *machine) { m.IDT.Limit = 0x40*16 + 14 }, vectorGP, kernelGP | 1},
		{"not present", func(m *machine) { m.poke(atIDT+0x400, m.peek(atIDT+0x400)&^(1<<47)) }, vectorNP, kernelGP | 1},
		{"no gate", func(m *machine) { m.setGate(0x40, kernelCS, typeCallGate, 0, 0) }, vectorGP, kernelGP | 1},
		{"null selector", func(m *machine) { m.setGate(0x40, 0, typeTrap, 0, 0) }, vectorGP, 1},
		{"selector beyond", func(m *machine) { m.setGate(0x40, 0xf00, typeTrap, 0, 0) }, vectorGP, 0xf01},
		{"data", func(m *machine) { m.setGate(0x40, kernelSS, typeTrap, 0, 0) }, vectorGP, kernelSS | 1},
		{"narrow code", func(m *machine) { m.setGate(0x40, narrowCS, typeTrap, 0, 0) }, vectorGP, narrowCS | 1},
		{"outer code", func(m *machine) { m.setGate(0x40, userCS, typeTrap, 0, 0) }, vectorGP, userCS&^3 | 1},
		{"offset", func(m *machine) { m.poke(atIDT+0x408, 0x8000) }, vectorGP, 1},
		{"IST not canonical", func(m *machine) {
			m.setGate(0x40, kernelCS, typeTrap, 0, 2)
			m.poke(atTSS+44, 1<<47+16)
		}, vectorSS, 1},
		{"TSS too short", func(m *machine) {
			m.setGate(0x40, kernelCS, typeTrap, 0, 2)
			m.TSS.Limit = 50
		}, vectorTS, tssSelector | 1},
		{"no TSS", func(m *machine) {
			m.setGate(0x40, kernelCS, typeTrap, 0, 2)
			m.TSS = Segment{}
		}, vectorTS, tssSelector | 1},
		{"IDT not there", func(m *machine) { m.setGate(0x40, kernelCS, typeTrap, 0, 2); m.poke(atTSS+44, 0x90000) }, vectorPF, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			c.do(m)
			if err := m.Interrupt(&m.Regs, 0x40, &m.testBus); err != nil {
				t.Fatal(err)
			}
			m.equal("handler", m.RIP, handlers+c.vector)
			m.framed(c.code, atCode)
		})
	}
}

// The manual's table: which pairs make a double fault.
func TestCombination(t *testing.T) {
	const none = 0x100
	for _, c := range []struct{ first, second, want int }{
		{vectorUD, vectorGP, vectorGP}, {vectorUD, vectorPF, vectorPF},
		{vectorGP, vectorNP, vectorDF}, {vectorDE, vectorTS, vectorDF}, {vectorSS, vectorUD, vectorUD},
		{vectorGP, vectorPF, vectorPF},
		{vectorPF, vectorPF, vectorDF}, {vectorPF, vectorGP, vectorDF}, {vectorPF, vectorUD, vectorUD},
		{vectorDF, vectorGP, none}, {vectorDF, vectorPF, none},
	} {
		got, ok := combine(event{Exception: Exception{Vector: uint8(c.first)}}, Exception{Vector: uint8(c.second)})
		if ok != (c.want != none) || ok && int(got.Vector) != c.want {
			t.Errorf("%d then %d: %d, %v; want %d", c.first, c.second, got.Vector, ok, c.want)
		}
	}
	// A page fault's vector as an interrupt is benign.
	if got, _ := combine(event{Exception{Vector: vectorPF}, external}, Exception{Vector: vectorGP}); got.Vector != vectorGP {
		t.Errorf("interrupt 14 then #GP: %d", got.Vector)
	}
}

func TestDoubleAndTripleFault(t *testing.T) {
	m := newMachine(t)
	m.RSP = 0x90000
	m.deliver(Exception{Vector: vectorPF, CR2: 5, HasError: true}) // has no stack: #DF, which has its own
	m.equal("handler", m.RIP, handlers+vectorDF)
	m.equal("RSP", m.RSP, atIST1-48)
	m.framed(0, atCode)
	m.equal("CR2", m.CR2, 5)

	m = newMachine(t)
	m.RSP = 0x90000
	m.setGate(vectorDF, kernelCS, typeInterrupt, 0, 0)
	registers := m.Regs
	for _, v := range []uint8{0, 1, vectorUD, vectorGP, vectorPF, vectorDF, 0x40} {
		if err := m.Deliver(&m.Regs, Exception{Vector: v}, &m.testBus); !errors.Is(err, ErrTripleFault) {
			t.Errorf("vector %d without a stack: %v", v, err)
		}
	}
	if m.Regs != registers || m.CPL != 0 {
		t.Error("the registers have changed")
	}
	m.poke(atGDT+kernelCS, seg(0, 0, 0x1a, 1, 0xa, true))
	m.user()
	if err := m.Interrupt(&m.Regs, 0x40, &m.testBus); err == nil || errors.Is(err, ErrTripleFault) {
		t.Errorf("handler at CPL 1: %v", err)
	}
}

package device

import "testing"

// testPIC is the pair with its output, set up as a PC's: vectors 0x20 and 0x28.
type testPIC struct {
	*testing.T
	*PIC
	intr wire
	bus  *Bus
}

func bare(t *testing.T) *testPIC {
	p := &testPIC{T: t}
	p.PIC = NewPIC(p.intr.set)
	p.bus = &Bus{PIC: p.PIC}
	return p
}

func newPIC(t *testing.T) *testPIC {
	p := bare(t)
	p.setUp(1, 1)
	return p
}

// setUp gives both their words, with ICW4 first and second.
func (p *testPIC) setUp(first, second uint32) {
	p.outs(0x20, 0x11, 0x21, 0x20, 0x21, 0x04, 0x21, first)
	p.outs(0xa0, 0x11, 0xa1, 0x28, 0xa1, 0x02, 0xa1, second)
}

// outs writes bytes, port and value in turn.
func (p *testPIC) outs(list ...uint32) {
	for i := 0; i < len(list); i += 2 {
		p.bus.Out(uint16(list[i]), 1, list[i+1])
	}
}

func (p *testPIC) raise(irqs ...int) {
	for _, n := range irqs {
		p.Line(n)(true)
	}
}

func (p *testPIC) lower(irqs ...int) {
	for _, n := range irqs {
		p.Line(n)(false)
	}
}

// reads checks one of the registers.
func (p *testPIC) reads(what string, port uint16, want uint32) {
	p.Helper()
	eq(p.T, what, p.bus.In(port, 1), want)
}

// takes acknowledges the vectors that are expected, and then that there are no more.
func (p *testPIC) takes(want ...uint8) {
	p.Helper()
	for _, v := range want {
		if !p.intr.level {
			p.Errorf("no interrupt; want vector %#x", v)
			return
		}
		eq(p.T, "vector", p.Acknowledge(), v)
	}
	eq(p.T, "another interrupt", p.intr.level, false)
}

func TestPICInitialization(t *testing.T) {
	p := bare(t)
	p.reads("mask at power-up", 0x21, 0xff)
	p.raise(0, 1, 14)
	eq(t, "interrupt before any word", p.intr.level, false)
	p.outs(0x21, 0)
	eq(t, "interrupt with only a mask", p.intr.level, false)
	p.outs(0x20, 0x11, 0x21, 0x47, 0x21, 4)
	p.lower(1)
	p.raise(1)
	eq(t, "interrupt before ICW4", p.intr.level, false)
	p.outs(0x21, 1)
	p.reads("mask after ICW1", 0x21, 0)
	p.takes(0x41) // 0 was high at ICW1 and made no edge since; low bits of ICW2 do not count

	p = bare(t)
	p.outs(0x20, 0x13, 0x21, 0x30, 0x21, 1) // single: no ICW3
	p.raise(3)
	p.takes(0x33)
	p = bare(t)
	p.outs(0x20, 0x10, 0x21, 0x30, 0x21, 4) // no ICW4
	p.raise(3)
	p.takes(0x33)
}

// ICW1 clears mask, service, priorities, special mask, what the command port
// reads, and what ICW4 had said.
func TestPICAgain(t *testing.T) {
	p := newPIC(t)
	p.outs(0x21, 0x80, 0x20, 0xc3, 0x20, 0x6b)
	p.raise(1)
	p.takes(0x21)
	p.reads("ISR", 0x20, 2)
	p.setUp(1, 1)
	p.reads("mask", 0x21, 0)
	p.reads("IRR", 0x20, 0)
	p.raise(5, 6, 0)
	p.takes(0x20)
	p.outs(0x20, 0x20)
	p.takes(0x25)
	p.outs(0x20, 0x20)
	p.takes(0x26)
}

func TestPICFullyNested(t *testing.T) {
	p := newPIC(t)
	p.raise(4)
	p.takes(0x24)
	p.raise(6) // lower: waits
	p.takes()
	p.raise(3) // higher: nests
	p.takes(0x23)
	p.outs(0x20, 0x0b)
	p.reads("ISR", 0x20, 1<<4|1<<3)
	p.outs(0x20, 0x0a)
	p.reads("IRR", 0x20, 1<<6)
	p.outs(0x20, 0x20) // ends 3
	p.takes()
	p.outs(0x20, 0x0b)
	p.reads("ISR", 0x20, 1<<4)
	p.outs(0x20, 0x64) // ends 4
	p.takes(0x26)
	p.outs(0x20, 0x20, 0x20, 0x20)
	p.reads("ISR", 0x20, 0)
}

func TestPICMask(t *testing.T) {
	p := newPIC(t)
	p.outs(0x21, 0x10, 0xa1, 0x40)
	p.reads("IMR", 0x21, 0x10)
	p.reads("IMR of the second", 0xa1, 0x40)
	p.raise(4, 14)
	p.takes()
	p.reads("IRR", 0x20, 0x10)
	p.outs(0x21, 0)
	p.takes(0x24)
	p.outs(0x20, 0x20, 0xa1, 0)
	p.takes(0x2e)
	p.outs(0x21, 0x04) // the cascade masked masks all of the second
	p.outs(0xa0, 0x20, 0x20, 0x20)
	p.raise(8)
	p.takes()
}

func TestPICEdge(t *testing.T) {
	p := newPIC(t)
	p.raise(5)
	p.takes(0x25)
	p.outs(0x20, 0x20)
	p.raise(5) // still high: no edge
	p.takes()
	p.lower(5)
	p.raise(5)
	p.takes(0x25)
	p.lower(5)
	p.raise(5) // in service: pending until its end
	p.takes()
	p.outs(0x20, 0x20)
	p.takes(0x25)
}

func TestPICLevel(t *testing.T) {
	p := newPIC(t)
	p.outs(0x4d0, 0xff, 0x4d1, 0xff)
	p.reads("ELCR1", 0x4d0, 0xf8) // 0 to 2 can only be edges
	p.reads("ELCR2", 0x4d1, 0xde) // 8 and 13 as well
	p.raise(9)
	p.takes(0x29)
	p.outs(0xa0, 0x20, 0x20, 0x20)
	p.takes(0x29) // still high
	p.lower(9)
	p.outs(0xa0, 0x20, 0x20, 0x20)
	p.takes()
	p.raise(10)
	p.outs(0x4d1, 0) // an edge that was before does not count
	p.takes()
}

// A request that is gone when the processor acknowledges is input 7, which is
// not in service.
func TestPICSpurious(t *testing.T) {
	p := newPIC(t)
	p.raise(3)
	p.lower(3)
	eq(t, "INTR", p.intr.level, false)
	eq(t, "spurious vector", p.Acknowledge(), 0x27)
	p.outs(0x20, 0x0b)
	p.reads("ISR", 0x20, 0)

	// The second's request goes away after the first has seen it.
	p.raise(12)
	p.second.latch = 0
	eq(t, "spurious vector of the second", p.Acknowledge(), 0x2f)
	p.outs(0xa0, 0x0b)
	p.reads("ISR of the second", 0xa0, 0)
	p.reads("ISR of the first", 0x20, 1<<2)
	p.outs(0x20, 0x20)
	p.raise(7)
	p.takes(0x27)
	p.reads("ISR of a real 7", 0x20, 1<<7)
}

func TestPICCascade(t *testing.T) {
	p := newPIC(t)
	p.raise(14, 8, 3)
	p.takes(0x28) // through input 2, above 3
	p.outs(0x20, 0x0b, 0xa0, 0x0b)
	p.reads("ISR", 0x20, 1<<2)
	p.reads("ISR of the second", 0xa0, 1<<0)
	p.outs(0xa0, 0x20)
	p.takes() // input 2 is in service
	p.outs(0x20, 0x20)
	p.takes(0x2e)
	p.outs(0xa0, 0x20, 0x20, 0x20)
	p.takes(0x23)
}

// ICW3 says who is where; when they disagree nobody gives a vector.
func TestPICWrongCascade(t *testing.T) {
	p := bare(t)
	p.outs(0x20, 0x11, 0x21, 0x20, 0x21, 0x00, 0x21, 1)
	p.outs(0xa0, 0x11, 0xa1, 0x28, 0xa1, 0x02, 0xa1, 1)
	p.raise(9)
	p.takes(0x22) // input 2 is as any other
	p = bare(t)
	p.outs(0x20, 0x11, 0x21, 0x20, 0x21, 0x04, 0x21, 1)
	p.outs(0xa0, 0x11, 0xa1, 0x28, 0xa1, 0x05, 0xa1, 1)
	p.raise(9)
	p.takes(0xff)
}

func TestPICSpecialFullyNested(t *testing.T) {
	p := bare(t)
	p.setUp(0x11, 1)
	p.raise(14)
	p.takes(0x2e)
	p.raise(15) // lower than 14: the second does not ask
	p.takes()
	p.raise(8)
	p.takes(0x28)
	p.raise(3)
	p.takes()
}

func TestPICAutomaticEnd(t *testing.T) {
	p := bare(t)
	p.setUp(3, 3)
	p.raise(8, 9, 5)
	p.takes(0x28, 0x29, 0x25)
	p.outs(0x20, 0x0b)
	p.reads("ISR", 0x20, 0)

	p.outs(0x20, 0x80) // rotate
	p.lower(5)
	p.raise(5, 6)
	p.takes(0x25, 0x26)
	p.lower(5, 6)
	p.raise(5, 6, 7, 0) // 6 is lowest
	p.takes(0x27, 0x20, 0x25, 0x26)
	p.outs(0x20, 0x00) // and no more
	p.lower(7)
	p.raise(7)
	p.takes(0x27)
	p.lower(7, 0)
	p.raise(7, 0)
	p.takes(0x27, 0x20)
}

func TestPICRotation(t *testing.T) {
	p := newPIC(t)
	p.raise(3)
	p.takes(0x23)
	p.outs(0x20, 0xa0) // rotate on non-specific end: 3 is lowest
	p.raise(2, 4, 5)
	p.lower(3)
	p.raise(3)
	p.takes(0x24)
	p.outs(0x20, 0xe5) // rotate on specific end of 5, which is not in service: 5 is lowest
	p.takes(0x23)      // above 4 now
	p.outs(0x20, 0x40) // no operation
	p.outs(0x20, 0x63)
	p.takes()
	p.outs(0x20, 0x64)
	p.takes(0x25)
	p.outs(0x20, 0x65)
	p.outs(0x20, 0xc2, 0x20, 0x46) // set priority: 2 is lowest, 3 highest; no operation
	p.lower(3, 6)
	p.raise(3, 6)
	p.takes(0x23)
}

func TestPICSpecialMask(t *testing.T) {
	p := newPIC(t)
	p.raise(2 + 1)
	p.takes(0x23)
	p.raise(5)
	p.takes()
	p.outs(0x21, 1<<3, 0x20, 0x68) // 3 masked no longer holds 5 back
	p.takes(0x25)
	p.outs(0x20, 0x20) // ends 5, not the masked 3
	p.outs(0x20, 0x0b)
	p.reads("ISR", 0x20, 1<<3)
	p.outs(0x20, 0x48) // leave special mask mode
	p.raise(6)
	p.takes()
	p.outs(0x20, 0x08) // neither enabled nor disabled
	p.takes()
	p.outs(0x20, 0x20)
	p.takes(0x26)
}

func TestPICPoll(t *testing.T) {
	p := newPIC(t)
	p.outs(0x20, 0x0c)
	p.reads("poll of nothing", 0x20, 0)
	p.raise(6, 4)
	p.outs(0x20, 0x0c)
	p.reads("poll", 0x20, 0x84)
	p.outs(0x20, 0x0b)
	p.reads("ISR", 0x20, 1<<4)
	p.outs(0x20, 0x0f) // poll goes before reading a register
	p.reads("poll while a higher one is in service", 0x21, 0)
	p.outs(0x20, 0x20, 0x20, 0x0c)
	eq(t, "INTR before the poll", p.intr.level, true)
	p.reads("poll at the other address", 0x21, 0x86)
	eq(t, "INTR after the poll", p.intr.level, false)
	p.reads("IMR", 0x21, 0)
	p.reads("ISR, as before the poll", 0x20, 1<<6)
	p.outs(0x20, 0x20)

	p.raise(10, 11)
	p.outs(0x20, 0x0c)
	p.reads("poll", 0x20, 0x82)
	p.outs(0xa0, 0x0c)
	p.reads("poll of the second", 0xa0, 0x82)
	p.outs(0xa0, 0x20, 0x20, 0x20)
	p.takes(0x2b)
}

// FuzzPIC: any words, lines and acknowledgements. A vector comes from one of the
// bases, and an acknowledged interrupt leaves INTR as the state says.
func FuzzPIC(f *testing.F) {
	f.Add([]byte{0, 0x11, 1, 0x20, 1, 4, 1, 1, 2, 0x11, 3, 0x28, 3, 2, 3, 1, 16, 1, 30, 1, 32, 0, 0, 0x20})
	f.Add([]byte{0, 0x13, 1, 0x20, 1, 3, 0, 0x80, 21, 1, 22, 1, 32, 0, 32, 0, 0, 0x0c, 8, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var intr wire
		p := NewPIC(intr.set)
		bus := &Bus{PIC: p}
		list := [8]uint16{0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x20, 0xa0}
		for i := 0; i+1 < len(ops); i += 2 {
			switch op, v := ops[i], ops[i+1]; {
			case op < 8:
				bus.Out(list[op], 1, uint32(v))
			case op < 16:
				bus.In(list[op-8], 1)
			case op < 32:
				p.Line(int(op - 16))(v&1 != 0)
			default:
				asked := intr.level
				got := p.Acknowledge()
				if base := got &^ 7; base != p.first.base && base != p.second.base && got != 0xff {
					t.Fatalf("vector %#x; the bases are %#x, %#x", got, p.first.base, p.second.base)
				}
				if !asked && got&7 != 7 {
					t.Fatalf("vector %#x, and nobody asked", got)
				}
			}
			eq(t, "INTR", intr.level, p.first.asks())
			eq(t, "cascade", p.first.lines>>cascade&1 != 0, p.second.asks())
		}
	})
}

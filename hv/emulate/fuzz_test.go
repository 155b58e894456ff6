package emulate

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/pvrun/pvrun/hv/engine"
)

// pattern is memory made of bytes from outside, that faults here and there and
// forgets what is written.
func pattern(seed []byte) func(a uint64, f func(*byte, int), n int) *Exception {
	return func(a uint64, f func(*byte, int), n int) *Exception {
		if len(seed) == 0 {
			return &Exception{vectorPF, 0, true, a}
		}
		if b := seed[a>>12%uint64(len(seed))]; b%8 == 7 {
			return &Exception{vectorPF, uint64(b >> 3), true, a}
		}
		for i := range n {
			b := seed[(a+uint64(i))%uint64(len(seed))]
			f(&b, i)
		}
		return nil
	}
}

// words takes the state from bytes, and zeros when they are used up.
type words []byte

func (w *words) next() uint64 {
	var b [8]byte
	*w = (*w)[copy(b[:], *w):]
	return binary.LittleEndian.Uint64(b[:])
}

func (w *words) machine(t *testing.T, memory []byte) *machine {
	m := newMachine(t)
	m.wild = pattern(memory)
	for i := range 16 {
		*general(&m.Regs, i) = w.next()
	}
	m.RFLAGS, m.RIP = w.next(), w.next()
	m.GDT, m.IDT = Table{w.base(), uint16(w.next())}, Table{w.base(), uint16(w.next())}
	m.TSS, m.LDT = Segment{w.next(), uint32(w.next()), w.next()&1 == 0}, Segment{w.next(), uint32(w.next()), w.next()&1 == 0}
	bits := w.next()
	m.CPL, m.IOPL, m.IF = uint8(bits&1)*3, uint8(bits>>1&3), bits&8 != 0
	m.EFER, m.FMASK, m.LSTAR, m.STAR = bits&^flagOne|eferLMA|eferLME, w.next(), w.base(), w.next()
	m.fs, m.gs = w.base(), w.base()
	return m
}

// base is canonical, as LGDT and its like have made sure.
func (w *words) base() uint64 { return uint64(int64(w.next()<<16) >> 16) }

func FuzzStep(f *testing.F) {
	state := make([]byte, 400)
	for i := range state {
		state[i] = byte(i * 37)
	}
	for _, code := range []string{"\xfa", "\x48\xcf", "\x0f\x30", "\xf3\x6e", "\xf3\x66\x6d", "\x0f\x00\xd8", "\x48\xff\x2b", "\x0f\x02\xc3", "\x8e\xd8", "\xcd\x80", "\x0f\x01\x1c\x25", "\x0f\x05", "\x48\x0f\x07", "\x9d"} {
		f.Add([]byte(code), state, []byte("\x01\x00\x02\x00\x1b\x9a\xaf\x00\xff\xff\x00\x00\x8e\x20\x10\x00"))
	}
	names := Names()
	f.Fuzz(func(t *testing.T, code, state, memory []byte) {
		w := words(state)
		m := w.machine(t, memory)
		m.judge(code[:min(len(code), maxLength)], names)
		if m.bytes > 1<<17 { // INSD, 4,096 times: looked at, put back, and written
			t.Errorf("% x: %d bytes of memory touched", code, m.bytes)
		}
	})
}

// FuzzDeliver begins with tables that are right and changes bytes of them:
// each four of patches are a table, an offset in two bytes, and a value.
func FuzzDeliver(f *testing.F) {
	f.Add(uint8(14), true, false, uint64(atStack), []byte{})
	f.Add(uint8(64), false, true, uint64(1)<<47, []byte{0, 0x0d, 0, 0x9a, 1, 0x04, 0x04, 1, 2, 0x24, 0, 7})
	f.Fuzz(func(t *testing.T, vector uint8, interrupt, user bool, rsp uint64, patches []byte) {
		m := newMachine(t)
		m.RSP = rsp
		if user {
			m.user()
		}
		for p := patches; len(p) >= 4; p = p[4:] {
			page := m.pages[[]uint64{atGDT, atIDT, atTSS}[p[0]%3]/pageSize]
			page[(int(p[1])|int(p[2])<<8)%pageSize] = p[3]
		}
		registers := m.Regs
		var err error
		if interrupt {
			err = m.Interrupt(&m.Regs, vector, &m.testBus)
		} else {
			err = m.Deliver(&m.Regs, Exception{Vector: vector, HasError: vector&1 != 0}, &m.testBus)
		}
		judgeDelivery(t, m, registers, err)
	})
}

// FuzzDeliverWild is with nothing right at all.
func FuzzDeliverWild(f *testing.F) {
	f.Add(uint8(14), []byte("\x01\x02"), []byte("\x00\x10\x08\x00\x00\x8e\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Add(uint8(64), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, vector uint8, state, memory []byte) {
		w := words(state)
		m := w.machine(t, memory)
		registers := m.Regs
		err := m.Deliver(&m.Regs, Exception{Vector: vector, HasError: vector&1 != 0}, &m.testBus)
		judgeDelivery(t, m, registers, err)
	})
}

func judgeDelivery(t *testing.T, m *machine, before engine.Regs, err error) {
	switch {
	case err != nil && (m.Regs != before || !errors.Is(err, ErrTripleFault) && !errors.Is(err, errLevel)):
		t.Errorf("%v, registers %v", err, &m.Regs)
	case err == nil && (!canonical(m.RIP) || m.CPL != 0 && m.CPL != 3 || m.CS&3 != uint16(m.CPL) || m.RFLAGS&flagTF != 0):
		t.Errorf("entered at %v with %+v", &m.Regs, m.CPU)
	}
	if m.bytes > 1<<12 {
		t.Errorf("%d bytes of memory touched", m.bytes)
	}
}

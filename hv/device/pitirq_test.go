package device

import (
	"fmt"
	"testing"
)

func TestPITSystemPort(t *testing.T) {
	p := newPIT(t)
	eq(t, "after reset", p.bus.In(0x61, 1), systemOut)
	p.outs(0x61, 0xff)
	eq(t, "written", p.bus.In(0x61, 1), 0x0f|systemOut)
	p.step(refreshTicks)
	eq(t, "refresh", p.bus.In(0x61, 1), 0x0f|systemOut|systemRefresh)
	p.step(refreshTicks)
	eq(t, "refresh", p.bus.In(0x61, 1), 0x0f|systemOut)
}

func TestPITInterrupt(t *testing.T) {
	p := newPIT(t)
	eq(t, "next", p.Next(), never)
	p.outs(0x43, 0x34, 0x40, 0xa9, 0x40, 0x04) // 1193: 1000 Hz
	rises := p.irq.rises
	stops := runTo(t, p.clock, p, second, 1100)
	eq(t, "interrupts in a second", p.irq.rises-rises, 1000)
	eq(t, "updates in a second", stops, 1000)
	p.clock.now += second // all that are missed are one
	p.Update()
	eq(t, "interrupts", p.irq.rises-rises, 1001)

	p.outs(0x43, 0x36, 0x40, 0, 0x40, 0) // 18.2 Hz
	rises = p.irq.rises
	runTo(t, p.clock, p, p.clock.now+10*second, 200)
	eq(t, "interrupts in ten seconds", p.irq.rises-rises, 182)

	p.step(100) // into a high half
	eq(t, "line in mode 3", p.irq.level, true)
	p.outs(0x43, 0x30)
	eq(t, "line after a control word", p.irq.level, false)
	p.outs(0x40, 0xe8, 0x40, 3)
	eq(t, "line in mode 0", p.irq.level, false)
	rises = p.irq.rises
	due := scaleUp(p.tick()+1001, second, PITHz)
	eq(t, "next", p.Next(), due)
	runTo(t, p.clock, p, p.clock.now+second, 1)
	eq(t, "interrupts in mode 0", p.irq.rises-rises, 1)
	eq(t, "line", p.irq.level, true)
	eq(t, "next", p.Next(), never)

	p.outs(0x43, 0x38, 0x40, 5, 0x40, 0)
	rises = p.irq.rises
	runTo(t, p.clock, p, p.clock.now+second, 1)
	eq(t, "interrupts in mode 4", p.irq.rises-rises, 1)
}

// The shortest count that there is does not keep the host busy; one that is
// forbidden does nothing.
func TestPITShortest(t *testing.T) {
	for _, mode := range []uint32{2, 3} {
		p := newPIT(t)
		p.outs(0x43, 0x10|mode<<1, 0x40, 2)
		const span = 1_000_000
		runTo(t, p.clock, p, span, span/shortest+1)
		if p.irq.rises < span/shortest-5 {
			t.Errorf("mode %d: %d interrupts", mode, p.irq.rises)
		}
		p.outs(0x43, 0x10|mode<<1, 0x40, 1)
		runTo(t, p.clock, p, p.clock.now+span, 2)
		p.step(5)
		p.outs(0x40, 9) // and it can be left
		runTo(t, p.clock, p, p.clock.now+span, span/shortest+1)
		rises := p.irq.rises
		p.step(100)
		eq(t, "interrupts after leaving it", p.irq.rises > rises, true)
	}
}

// TestPITCatchUp: a timer that is looked at after every tick and one that sleeps
// in between come to the same.
func TestPITCatchUp(t *testing.T) {
	for mode := range uint32(6) {
		for count := uint32(1); count < 9; count++ {
			for split := int64(0); split < 12; split++ {
				for jump := int64(1); jump < 30; jump += 3 {
					name := fmt.Sprintf("mode %d, count %d, after %d, then %d", mode, count, split, jump)
					catchUp(t, name, mode, count, split, jump)
				}
			}
		}
	}
}

func catchUp(t *testing.T, name string, mode, count uint32, split, jump int64) {
	t.Helper()
	pits := [2]*testPIT{newPIT(t), newPIT(t)}
	var rises [2]int
	for i, p := range pits {
		p.outs(0x43, 0x30|mode<<1, 0x40, count, 0x40, 0)
		p.step(split)
		p.outs(0x40, 5, 0x40, 0) // another count
		rises[i] = p.irq.rises
		for step := jump; step > 0; {
			n := step
			if i == 0 {
				n = 1
			}
			p.step(n)
			step -= n
		}
		rises[i] = min(p.irq.rises-rises[i], 1)
	}
	a, b := &pits[0].counters[0], &pits[1].counters[0]
	eq(t, name+": count", b.value(), a.value())
	eq(t, name+": output", b.level, a.level)
	eq(t, name+": line", pits[1].irq.level, a.level)
	eq(t, name+": interrupt", rises[1], rises[0])
	eq(t, name+": next", b.nextRise(), a.nextRise())
	if want := b.nextRise(); want != never {
		before := pits[0].irq.rises
		pits[0].step(want - pits[0].tick() - 1)
		eq(t, name+": risen before its time", pits[0].irq.rises, before)
		pits[0].step(1)
		eq(t, name+": risen in time", pits[0].irq.rises, before+1)
	}
}

// FuzzPIT: any accesses and time; what it wants is never in the past for long.
func FuzzPIT(f *testing.F) {
	f.Add([]byte{3, 0x34, 0, 2, 0, 0, 16, 9, 3, 0xc2, 8, 0, 8, 0, 8, 0, 17, 200})
	f.Add([]byte{4, 1, 3, 0xbe, 2, 3, 2, 0, 16, 1, 2, 9, 2, 0, 4, 0, 16, 5, 4, 1, 12, 0, 10, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		p := newPIT(t)
		list := [8]uint16{0x40, 0x41, 0x42, 0x43, 0x61, 0x40, 0x43, 0x61}
		for i := 0; i+1 < len(ops); i += 2 {
			switch op, v := ops[i]%19, ops[i+1]; {
			case op < 8:
				p.bus.Out(list[op], 1, uint32(v))
			case op < 16:
				p.bus.In(list[op-8], 1)
			case op == 16:
				p.clock.now += int64(v) * 300
			case op == 17:
				span := int64(v) * 10_000
				runTo(t, p.clock, p, p.clock.now+span, int(span/shortest)+3)
			default:
				p.clock.now += int64(v) << 40
			}
			p.Update()
			eq(t, "line", p.irq.level, p.counters[0].output())
			if next := p.Next(); next <= p.clock.now {
				t.Fatalf("up to date at %d, and wants %d", p.clock.now, next)
			}
		}
	})
}

package proc

import (
	"testing"

	"github.com/pvrun/pvrun/hv/engine"
	"golang.org/x/sys/unix"
)

// mapped is what the child has mapped after commands, by page number.
func mapped(have map[uint64]bool, list []command) {
	for _, c := range list {
		first, n := c[1]/pageSize, c[2]/pageSize
		switch {
		case c[0] == unix.SYS_MMAP:
			for p := first; p < first+n; p++ {
				have[p] = true
			}
		default:
			for p := range have {
				if p >= first && p < first+n {
					delete(have, p)
				}
			}
		}
	}
}

// TestPendingMaps: a mapping that the child was not yet told of is taken away like one
// that it has, and one that it is told of together with a flush by the next flush.
func TestPendingMaps(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps func(*tlb)
	}{
		{"flush", func(l *tlb) { l.fill(3, pages{100, 4}, 1, false); l.flush() }},
		{"invalidate", func(l *tlb) { l.fill(3, pages{100, 4}, 1, false); l.invalidate(3, 4) }},
		{"flush, fill, flush", func(l *tlb) {
			l.fill(3, pages{100, 4}, 1, false)
			l.commands(nil)
			l.flush()
			l.fill(3, pages{100, 4}, 1, false)
			l.commands(nil)
			l.flush()
		}},
	} {
		l, have := newTLB(16), map[uint64]bool{100: true, 101: true, 102: true, 103: true}
		l.maps = 2
		test.steps(l)
		if mapped(have, l.commands(nil)); len(have) != 0 {
			t.Errorf("%s: mapped yet: %v", test.name, have)
		}
	}
}

// TestNotedMappings: what the host notes of a child's mappings is bounded, whatever page
// faults the child tells of.
func TestNotedMappings(t *testing.T) {
	const frames = 4096
	l := newTLB(frames)
	for range 1000 {
		l.fill(0, pages{1 << 20, frames}, 1, false)
		l.fill(0, pages{1 << 21, frames}, 1, false)
		l.commands(nil)
	}
	n := 0
	for _, list := range l.more {
		n += len(list)
	}
	if n > 10*frames {
		t.Errorf("%d pages are noted of %d frames", n, frames)
	}
}

// TestAddressSpace: a child cannot map its memory any number of times over: page tables
// are memory, too.
func TestAddressSpace(t *testing.T) {
	const hole = 0x10_0000_0000
	code := asm{}.byStub(textAt+1024, unix.SYS_MMAP, hole, 1<<31, unix.PROT_READ, mapFlags, 0, 0)
	code = append(append(code, make([]byte, 1024-len(code))...), asm{}.set(r11, hole).raw(0x4d, 0x8b, 0x23).call(7)...)
	m := newTestMachine(t, code)
	if e := m.out(t); e.Reason != engine.Exception || e.Vector != vectorPageFault || e.CR2 != hole {
		t.Fatalf("%v, vector %d, %q", e.Reason, e.Vector, e.Detail)
	}
}

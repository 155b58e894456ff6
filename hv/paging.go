package hv

import (
	"slices"
	"sync"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// Bits of a page-table entry (Intel SDM volume 3A, "4-Level Paging"). Bits 9
// to 11 are software's in a present entry; in one that is not present the host
// uses more of them.
const (
	ptePresent entry = 1 << 0
	pteWrite   entry = 1 << 1
	pteUser    entry = 1 << 2
	// pteUsed is the accessed and dirty flags, set from the start: a KVM that
	// shadows these tables then neither has to write them nor maps a page for
	// reading first and for writing after another fault, and it brings in
	// neighbours with a page only if they count as accessed.
	pteUsed entry = 1<<5 | 1<<6

	pteFinal  entry = 1 << 9  // the image's text: no call changes it
	pteLazy   entry = 1 << 10 // not present: a frame is taken at first touch
	pteOwed   entry = 1 << 8  // with pteLazy: that frame is promised
	pteParked entry = 1 << 11 // not present: the frame stays, nobody may touch it
	pteFile   entry = 1 << 52 // a page of the window, see hostwindow.go
	pteFixed  entry = 1 << 53 // with pteFile: it may not be written, whatever is asked
	pteNX     entry = 1 << 63
	pteAddr   entry = 0x000f_ffff_ffff_f000
)

func (e entry) frame() frame { return frameAt(hypercall.GPA(e & pteAddr)) }

// holds says whether the entry owns a frame. One that is lazy and parked waits
// for both: for its frame, and for a permission.
func (e entry) holds() bool {
	return e&ptePresent != 0 || e&(pteParked|pteLazy) == pteParked
}

// pageTables are the guest's page tables, in frames that no guest mapping
// covers. Tables are only ever added: a frame that has once been a table at
// one place stays that table, since a host's shadow of it may outlive what it
// said.
//
// Only not-present → present takes effect by itself. Every other change of an
// entry is followed by invalidate, before the frames are used again.
//
// What calls do to the tables, and to mem's frames, they do with mu held: a disk's
// worker looks guest addresses up while the guest runs.
type pageTables struct {
	mu   sync.Mutex
	mem  *memory
	root frame
	win  *window  // of files that are mapped; nil for none
	void []frame  // frames whose old translations may still be known
	gone []frame  // the same, and nobody's any more
	seen []uint64 // bit set: in void, which a frame with many aliases would flood
}

func newPageTables(m *memory) (*pageTables, error) {
	root, ok := m.takeTable()
	if !ok {
		return nil, errTooSmall
	}
	return &pageTables{mem: m, root: root, seen: make([]uint64, len(m.free))}, nil
}

// slot is the last-level entry for an address. With create, missing tables are
// made; nil when they are missing or cannot be.
func (t *pageTables) slot(a uint64, create bool) *entry {
	at := t.root
	for shift := 39; shift > 12; shift -= 9 {
		e := &t.mem.entries(at)[a>>shift&511]
		v := e.load()
		if v&ptePresent == 0 {
			if !create {
				return nil
			}
			f, ok := t.mem.takeTable()
			if !ok {
				return nil
			}
			v = entry(f.gpa()) | ptePresent | pteWrite | pteUser | pteUsed
			e.store(v)
		}
		at = v.frame()
	}
	return &t.mem.entries(at)[a>>12&511]
}

// tablesFor is how many new tables a range may need at the most.
func tablesFor(pages uint64) uint64 { return pages/512 + pages/512/512 + 6 }

// mapSystem maps the machine's own pages, for ring 0 only.
func (t *pageTables) mapSystem(eng engine.Engine, first frame) error {
	for i := range eng.SystemPages() {
		e := t.slot(engine.SystemGVA+uint64(i)*pageSize, true)
		if e == nil {
			return errTooSmall
		}
		e.store(systemEntry(eng, first, i))
	}
	return nil
}

// systemEntry maps system page i, of which the first has frame first.
func systemEntry(eng engine.Engine, first frame, i int) entry {
	v := entry((first + frame(i)).gpa()) | ptePresent | pteUsed
	if eng.SystemPageExecutable(i) {
		return v
	}
	return v | pteWrite | pteNX
}

// mapFrames maps n frames in a row at a, where nothing is mapped yet.
func (t *pageTables) mapFrames(a hypercall.GVA, first frame, n int, bits entry) error {
	for i := range n {
		e := t.slot(uint64(a)+uint64(i)*pageSize, true)
		if e == nil {
			return errTooSmall
		}
		e.store(entry((first + frame(i)).gpa()) | ptePresent | pteUser | pteUsed | bits)
	}
	return nil
}

// mapLazily lets [a, end) take frames at first touch.
func (t *pageTables) mapLazily(a, end hypercall.GVA, bits entry) error {
	for ; a < end; a += pageSize {
		e := t.slot(uint64(a), true)
		if e == nil {
			return errTooSmall
		}
		e.store(pteLazy | pteUser | pteUsed | bits)
	}
	return nil
}

// each calls f for every entry of a range. Without create, a table that is
// missing is one call with nil for all that it would hold: a guest can name
// ranges of any size at no cost of its own.
func (t *pageTables) each(r pageRange, create bool, f func(a uint64, e *entry) hypercall.Status) hypercall.Status {
	for a := r.start; a < r.end; {
		stop := min(r.end, a&^(1<<21-1)+1<<21)
		e := t.slot(a, create)
		if e == nil && create {
			return hypercall.ENOMEM
		}
		if e == nil {
			if s := f(a, nil); s != 0 {
				return s
			}
			a = stop
			continue
		}
		table := t.tableOf(a)
		for ; a < stop; a += pageSize {
			if s := f(a, &table[a>>12&511]); s != 0 {
				return s
			}
		}
	}
	return 0
}

// tableOf is the last-level table of an address whose slot exists.
func (t *pageTables) tableOf(a uint64) *[512]entry {
	at := t.root
	for shift := 39; shift > 12; shift -= 9 {
		at = t.mem.entries(at)[a>>shift&511].load().frame()
	}
	return t.mem.entries(at)
}

// clear takes a mapping away. The frame is released by invalidate.
func (t *pageTables) clear(e *entry) {
	v := e.load()
	if v == 0 {
		return
	}
	e.store(0)
	if v&pteFile != 0 {
		t.win.drop(v)
		return
	}
	if v&pteOwed != 0 {
		t.mem.owed--
	}
	if !v.holds() {
		return
	}
	f := v.frame()
	if t.mem.drop(f) {
		t.gone = append(t.gone, f)
	} else {
		t.voided(f)
	}
}

// voided notes a frame for invalidate, once.
func (t *pageTables) voided(f frame) {
	if w, b := &t.seen[f/64], uint64(1)<<(f%64); *w&b == 0 {
		*w |= b
		t.void = append(t.void, f)
	}
}

// set gives a page that holds a frame other permissions.
func (t *pageTables) set(e *entry, bits entry) {
	old := e.load()
	if old&pteFile != 0 {
		t.win.set(e, bits)
		return
	}
	v := old&pteAddr | bits
	if old&ptePresent != 0 && v != old {
		t.voided(old.frame())
	}
	e.store(v)
}

// invalidate makes all changes since the last call real. It is the one door
// through which a live entry changes. When the host refuses, the frames stay
// noted for the next time and are not used again before.
func (t *pageTables) invalidate() error {
	if err := t.win.invalidate(); err != nil {
		return err
	}
	if err := forRuns(t.void, t.mem.refresh); err != nil {
		return err
	}
	for _, f := range t.void {
		t.seen[f/64] &^= 1 << (f % 64)
	}
	t.void = t.void[:0]
	return t.releaseGone()
}

// releaseGone frees frames that nobody has any more.
func (t *pageTables) releaseGone() error {
	if err := forRuns(t.gone, t.mem.discard); err != nil {
		return err
	}
	for _, f := range t.gone {
		t.mem.release(f)
	}
	t.gone = t.gone[:0]
	return nil
}

// forRuns sorts a list and calls f for each run of neighbours.
func forRuns(list []frame, f func(first frame, n int) error) error {
	slices.Sort(list)
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n] == list[0]+frame(n) {
			n++
		}
		if err := f(list[0], n); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// fill puts a fresh zeroed frame behind an entry that is not present, with the
// permissions that bits says.
func (t *pageTables) fill(e *entry, bits entry) bool {
	take := t.mem.take
	if e.load()&pteOwed != 0 {
		take = t.mem.takeOwed
	}
	f, ok := take()
	if ok {
		e.store(entry(f.gpa()) | bits)
	}
	return ok
}

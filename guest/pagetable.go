package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// entry is a page-table entry (Intel SDM volume 3A, "4-Level Paging"). Bits 9
// to 11 are software's.
type entry uint64

const (
	ptePresent entry = 1 << 0
	pteWrite   entry = 1 << 1
	pteUser    entry = 1 << 2
	// pteUsed is the accessed and dirty flags, set from the start: whoever walks
	// the tables need not write them.
	pteUsed   entry = 1<<5 | 1<<6
	pteLarge  entry = 1 << 7
	pteGlobal entry = 1 << 8

	pteOwed   entry = 1 << 9  // with pteLazy: the frame is promised
	pteLazy   entry = 1 << 10 // not present: a frame is taken at first touch
	pteParked entry = 1 << 11 // not present: the frame stays, nobody may touch it
	pteNX     entry = 1 << 63
	pteAddr   entry = 0x000f_ffff_ffff_f000

	pageSize = hypercall.PageSize
)

func (e entry) frame() int { return int(e & pteAddr / pageSize) }

func frameEntry(n int) entry { return entry(n) * pageSize }

// holds says whether the entry owns a frame. One that is lazy and parked waits
// for both: for its frame, and for a permission.
func (e entry) holds() bool {
	return e&ptePresent != 0 || e&(pteParked|pteLazy) == pteParked
}

// final says whether the entry is of the image's text, which no call changes.
func (e entry) final() bool { return e&ptePresent != 0 && e&pteNX == 0 }

// pageTables are a bare machine's, begun by who loaded the program and gone on
// with here. Tables are only ever added.
//
// Only not-present → present takes effect by itself, and what allows more is
// brought about by the fault of who still knows less. All other changes are
// followed by flush, before the frames are used again.
type pageTables struct {
	ram   frames
	root  uint64 // physical address
	ahead readAhead

	// stale are the pages whose translations may still be known, as many as are
	// worth an INVLPG each.
	stale   [maxInvalidate]uintptr
	changed int // may be more than fit
	flushed int // changed at the last flush
}

// maxInvalidate is where loading CR3 anew begins to cost less.
const maxInvalidate = 33

// paging is a bare machine's memory; owned by the vCPU.
var paging pageTables

func (t *pageTables) table(at entry) *[512]entry {
	return (*[512]entry)(unsafe.Pointer(t.ram.base + uintptr(at&pteAddr)))
}

// lastTable is the last-level table for an address. With create, missing tables
// are made; nil when they are missing or cannot be.
func (t *pageTables) lastTable(a uintptr, create bool) *[512]entry {
	at := t.table(entry(t.root))
	for shift := 39; shift > 12; shift -= 9 {
		e := &at[a>>shift&511]
		switch {
		case *e&pteLarge != 0:
			return nil
		case *e&ptePresent == 0 && !create:
			return nil
		case *e&ptePresent == 0:
			n, ok := t.ram.take()
			if !ok {
				return nil
			}
			*e = frameEntry(n) | ptePresent | pteWrite | pteUser | pteUsed
		}
		at = t.table(*e)
	}
	return at
}

// slot is the last-level entry for an address, nil when there is none.
func (t *pageTables) slot(a uintptr) *entry {
	if table := t.lastTable(a, false); table != nil {
		return &table[a>>12&511]
	}
	return nil
}

// tablesFor is how many new tables a range may need at the most.
func tablesFor(pages uintptr) int { return int(pages/512 + pages/512/512 + 6) }

// walker goes through the entries of a range.
type walker struct {
	t       *pageTables
	at, end uintptr
	table   uintptr // a *[512]entry
	known   uintptr // up to where table holds
}

func (t *pageTables) walk(r pageRange) walker { return walker{t: t, at: r.start, end: r.end} }

// next is the next entry. A table that is missing is one nil for all that it
// would hold; with create it is made, and nil means that there is no memory.
func (w *walker) next(create bool) (a uintptr, e *entry, ok bool) {
	if w.at >= w.end {
		return 0, nil, false
	}
	if w.at >= w.known {
		w.known = w.at&^(1<<21-1) + 1<<21
		w.table = uintptr(unsafe.Pointer(w.t.lastTable(w.at, create)))
	}
	a = w.at
	if w.table == 0 {
		w.at = w.known
		return a, nil, true
	}
	w.at += pageSize
	return a, (*entry)(unsafe.Pointer(w.table + a>>12&511*8)), true
}

// clear takes a mapping away.
func (t *pageTables) clear(a uintptr, e *entry) {
	v := *e
	*e = 0
	if v&ptePresent == 0 && v&pteOwed != 0 {
		t.ram.owed--
	}
	if v.holds() {
		t.voided(a, v)
		t.ram.release(v.frame())
	}
}

// set gives a page that holds a frame other permissions.
func (t *pageTables) set(a uintptr, e *entry, bits entry) {
	old := *e
	*e = old&pteAddr | bits
	// More permissions need no flush: who still knows less faults, and looks again.
	if bits&ptePresent == 0 || bits&pteWrite == 0 && old&pteWrite != 0 {
		t.voided(a, old)
	}
}

// voided notes what an entry was whose translation may still be known.
func (t *pageTables) voided(a uintptr, old entry) {
	switch {
	case old&ptePresent == 0:
		return
	case old&pteGlobal != 0 && isNative:
		invalidatePage(a) // loading CR3 would leave it
		return
	case t.changed < maxInvalidate:
		t.stale[t.changed] = a
	}
	t.changed++
}

// flush makes the processor forget what has been noted.
func (t *pageTables) flush() {
	t.flushed, t.changed = t.changed, 0
	switch {
	case !isNative:
	case t.flushed > maxInvalidate:
		writeCR3(t.root)
	default:
		for _, a := range t.stale[:t.flushed] {
			invalidatePage(a)
		}
	}
}

// fill puts a fresh zeroed frame behind an entry that is not present.
func (t *pageTables) fill(e *entry, bits entry) bool {
	n, ok := t.ram.take()
	if ok {
		if *e&pteOwed != 0 {
			t.ram.owed--
		}
		*e = frameEntry(n) | bits
	}
	return ok
}

// lazyBits are the bits that an entry waiting for its frame will have.
func lazyBits(v entry) entry {
	bits := v &^ (pteLazy | pteOwed | pteAddr)
	if bits&pteParked == 0 {
		bits |= ptePresent
	}
	return bits
}

// setGlobal marks what stays as it is: the entries of a range, large ones
// included, whose tables are there.
func (t *pageTables) setGlobal(start, end uintptr) {
	const large = 1 << 21
	for a := start; a < end; {
		e := &t.table(entry(t.root))[a>>39&511]
		if *e&ptePresent == 0 {
			a = (a | (1<<39 - 1)) + 1
			continue
		}
		if e = &t.table(*e)[a>>30&511]; *e&ptePresent == 0 {
			a = (a | (1<<30 - 1)) + 1
			continue
		}
		e = &t.table(*e)[a>>21&511]
		switch {
		case *e&(ptePresent|pteLarge) == ptePresent|pteLarge:
			*e |= pteGlobal
		case *e&ptePresent != 0:
			table := t.table(*e)
			for p := a; p < min(end, a&^(large-1)+large); p += pageSize {
				if e := &table[p>>12&511]; *e&ptePresent != 0 {
					*e |= pteGlobal
				}
			}
		}
		a = a&^(large-1) + large
	}
}

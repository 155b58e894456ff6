package hv

import "github.com/pvrun/pvrun/hypercall"

// touch is what becomes of a page fault.
type touch int

const (
	touchRefused  touch = iota // the guest's own fault
	touchDone                  // the page has come
	touchKnown                 // the page was there: a translation older than the entry
	touchNoMemory              // promised lazily, and there is none
)

// Bits of a page fault's error code (Intel SDM volume 3A, "Page-Fault Error
// Code").
const (
	faultWrite   = 1 << 1
	faultExecute = 1 << 4
)

// Pages that one fault brings in: more where they are promised and so likely
// to be used, and more while a program walks upwards.
const (
	faultPagesMin  = 16
	faultPagesOwed = 128
	faultPagesMax  = 2048
)

// faultIn answers a page fault in memory that was mapped lazily.
func (t *pageTables) faultIn(a, code uint64, ahead *readAhead) touch {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a < uint64(hypercall.MinGVA) || a >= uint64(hypercall.ReservedGVA) {
		return touchRefused
	}
	e := t.slot(a, false)
	if e == nil {
		return touchRefused
	}
	v := e.load()
	if !allows(v, code) {
		return touchRefused
	}
	if v.holds() {
		return touchKnown
	}
	if v&pteFile != 0 {
		return t.touchFile(a, code)
	}
	var filled []frame
	start, n := ahead.next(a, v&pteOwed != 0)
	for p := start; p < start+n*pageSize; p += pageSize {
		if f, ok := t.fillNear(p, v); ok && (v&pteOwed != 0 || n > faultPagesMin) {
			filled = append(filled, f)
		}
	}
	t.populate(filled) // what is promised, or in the way of a program that walks upwards
	if !e.load().holds() && !t.fill(e, lazyBits(v)) {
		return touchNoMemory
	}
	return touchDone
}

// fillNear fills a neighbour that waits in the same way, while memory is not
// short.
func (t *pageTables) fillNear(p uint64, like entry) (frame, bool) {
	const short = 256
	if like&pteOwed == 0 && t.mem.spare() < short {
		return 0, false
	}
	e := t.slot(p, false)
	if e == nil || e.load() != like || !t.fill(e, lazyBits(like)) {
		return 0, false
	}
	return e.load().frame(), true
}

// allows says whether an entry, present or still lazy, permits an access.
func allows(v entry, code uint64) bool {
	switch {
	case v&(ptePresent|pteLazy) == 0 || v&pteParked != 0 || v&pteUser == 0:
		return false
	case code&faultWrite != 0 && v&pteWrite == 0:
		return false
	case code&faultExecute != 0 && v&pteNX != 0:
		return false
	}
	return true
}

// readAhead follows one program's faults.
type readAhead struct {
	end   uint64 // after the last range
	pages uint64
}

// next is the range to bring in for a fault at a, and its pages.
func (r *readAhead) next(a uint64, owed bool) (start, n uint64) {
	switch {
	case a >= r.end && a < r.end+pageSize*faultPagesMin:
		r.pages = min(2*r.pages, faultPagesMax)
	case owed:
		r.pages = faultPagesOwed
	default:
		r.pages = faultPagesMin
	}
	size := r.pages * pageSize
	start = a &^ (faultPagesMin*pageSize - 1)
	r.end = start + size
	return start, r.pages
}

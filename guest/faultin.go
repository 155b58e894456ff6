package guest

import "github.com/pvrun/pvrun/hypercall"

// touch is what becomes of a page fault.
type touch int

const (
	touchRefused  touch = iota // the program's own fault
	touchDone                  // the page has come
	touchKnown                 // the page was there: a translation older than the entry
	touchNoMemory              // promised lazily, and there is none
)

// faultExecute is another bit of a page fault's error code (Intel SDM volume 3A,
// "Page-Fault Error Code").
const faultExecute = 1 << 4

// Pages that one fault brings in: more where they are promised and so likely
// to be used, and more while a program walks upwards.
const (
	faultPagesMin  = 16
	faultPagesOwed = 128
	faultPagesMax  = 2048
)

// pageTouched answers a page fault, on the trap stack: of a thread, or of the
// kernel when it looks at a program's memory.
func pageTouched() {
	lastTrap.done = true
	switch paging.faultIn(lastTrap.addr, lastTrap.code) {
	case touchRefused:
		lastTrap.done = false
	case touchKnown:
		invalidatePage(lastTrap.addr)
	case touchNoMemory:
		outOfMemory()
	}
}

func outOfMemory() {
	var w textWriter
	w.text("out of memory: the machine's ")
	w.decimal(Info().MemBytes >> 20)
	w.text(" MiB are in use (-m)")
	w.crash()
}

// faultIn answers a page fault in memory that was mapped lazily.
func (t *pageTables) faultIn(a, code uintptr) touch {
	if a < uintptr(hypercall.MinGVA) || a >= uintptr(hypercall.ReservedGVA) {
		return touchRefused
	}
	e := t.slot(a)
	if e == nil {
		return touchRefused
	}
	v := *e
	if !allows(v, code) {
		return touchRefused
	}
	if v.holds() {
		return touchKnown
	}
	start, n := t.ahead.next(a, v&pteOwed != 0)
	w := t.walk(pageRange{start, start + n*pageSize})
	for _, p, ok := w.next(false); ok; _, p, ok = w.next(false) {
		if p != nil {
			t.fillNear(p, v)
		}
	}
	if !e.holds() && !t.fill(e, lazyBits(v)) {
		return touchNoMemory
	}
	return touchDone
}

// fillNear fills a neighbour that waits in the same way, while memory is not
// short.
func (t *pageTables) fillNear(e *entry, like entry) {
	const short = 256
	if *e != like || like&pteOwed == 0 && t.ram.spare() < short {
		return
	}
	t.fill(e, lazyBits(like))
}

// bring makes n bytes at a present as if they were touched, and says whether
// all may be.
func (t *pageTables) bring(a, n, code uintptr) bool {
	if a+n < a || a+n > 1<<47 {
		return false
	}
	for p := a &^ (pageSize - 1); p < a+n; p += pageSize {
		e := t.slot(p)
		if e == nil || !allows(*e, code) {
			return false
		}
		if !e.holds() && !t.fill(e, lazyBits(*e)) {
			outOfMemory()
		}
	}
	return true
}

// allows says whether an entry, present or still lazy, permits an access.
func allows(v entry, code uintptr) bool {
	switch {
	case v&(ptePresent|pteLazy) == 0 || v&pteParked != 0:
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
	end   uintptr // after the last range
	pages uintptr
}

// next is the range to bring in for a fault at a, and its pages.
func (r *readAhead) next(a uintptr, owed bool) (start, n uintptr) {
	switch {
	case a >= r.end && a < r.end+pageSize*faultPagesMin:
		r.pages = min(2*r.pages, faultPagesMax)
	case owed:
		r.pages = faultPagesOwed
	default:
		r.pages = faultPagesMin
	}
	start = a &^ (faultPagesMin*pageSize - 1)
	r.end = start + r.pages*pageSize
	return start, r.pages
}

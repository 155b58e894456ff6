package hv

import (
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// distrust makes all entries of files lazy, and says whether there were any.
func (t *pageTables) distrust() (found bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.win
	if w == nil {
		return false, nil
	}
	for _, a := range w.areas {
		t.each(pageRange{a.start, a.start + a.shown*pageSize}, false, func(p uint64, e *entry) hypercall.Status {
			if e == nil {
				return 0
			}
			v := e.load()
			if v&pteFile != 0 && v&ptePresent != 0 && v.frame() == a.first+frame((p-a.start)/pageSize) {
				e.store(v&^ptePresent | pteLazy)
				w.voided(v.frame())
				found = true
			}
			return 0
		})
		a.shown = 0
	}
	w.careful = carefulTouches
	return found, t.invalidate()
}

// touchFile looks whether the file has a page where an entry waits for one, in
// the way that the access in code needs it, and brings it in.
func (t *pageTables) touchFile(a, code uint64) touch {
	w, e := t.win, t.slot(a, false)
	v := e.load()
	if !reachable(w.page(v.frame()), code&faultWrite != 0) {
		return touchRefused
	}
	w.show(e, a)
	if w.careful > 0 {
		w.careful--
		return touchDone
	}
	t.touchNear(a, v)
	return touchDone
}

func (w *window) show(e *entry, a uint64) {
	v := e.load()
	e.store(v&^pteLazy | ptePresent)
	ar := w.of(v)
	ar.shown = max(ar.shown, (a-ar.start)/pageSize+1)
}

// touchNear brings in the neighbours that wait in the same way, if the file has
// them all.
func (t *pageTables) touchNear(a uint64, like entry) {
	const near = faultPagesMin
	start := a &^ (near*pageSize - 1)
	table := t.tableOf(a)[start>>12&511:][:near]
	at := int(a>>12) % near
	waits := func(i int) bool { return table[i].load() == like+entry(i-at)<<pageShift }
	from, to := at, at+1
	for from > 0 && waits(from-1) {
		from--
	}
	for to < near && waits(to) {
		to++
	}
	if to-from == 1 || !reachable(t.win.run(like.frame()-frame(at-from), frame(to-from)), false) {
		return
	}
	for i := from; i < to; i++ {
		if i != at {
			t.win.show(&table[i], start+uint64(i)*pageSize)
		}
	}
}

// reachable has the kernel bring pages in, to read or to write.
func reachable(b []byte, write bool) bool {
	advice := unix.MADV_POPULATE_READ
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	err := retried(func() error { return unix.Madvise(b, advice) })
	if err != unix.EINVAL {
		return err == nil
	}
	var c [1]byte // before Linux 5.14: the last page, to read
	return readFile(c[:], b[len(b)-1:]) == 0
}

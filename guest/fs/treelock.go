package fs

import "slices"

// outerLock is the handle with which a tree holds what an inode's locks are for
// everybody outside: one, since two handles of one machine would be strangers to
// each other. It is that of the description which locked first, and outlives it
// while there are locks. inode.mu guards it.
type outerLock struct {
	handle          uint64 // 0 for none
	reading, writes bool   // what the handle may do
	kept            bool   // its description is closed
}

// Locks of others are asked for again and again, ever more seldom, in ns.
const (
	lockPauseMin = 200e3
	lockPauseMax = 10e6
)

// pause waits between two attempts at a lock that somebody outside has, without
// n.mu, which the caller holds.
func (n *inode) pause(ns *int64) {
	n.mu.Unlock()
	n.fs.host.Sleep(*ns)
	n.mu.Lock()
	*ns = min(2**ns, lockPauseMax)
}

// tree is the body of an inode whose locks others see, or nil.
func (n *inode) tree() *treeNode {
	h, ok := n.body.(*treeNode)
	if !ok || !n.isReg() {
		return nil
	}
	return h
}

// lockRange takes a range outside, where nothing of the machine is in the way. The
// callers of this and what follows hold n.mu.
func (h *treeNode) lockRange(f *file, w rangeLock) Errno {
	h.chooseHandle(f, w.write)
	e := h.askRange(w, false)
	if e != 0 {
		h.settle()
	}
	return e
}

// chooseHandle makes f's handle the one for ranges if there is none that will do.
// What is locked goes over, and is free meanwhile.
func (h *treeNode) chooseHandle(f *file, write bool) {
	o := &h.ranges
	suits := write && o.writes || !write && o.reading
	switch {
	case o.handle == 0:
	case suits || write && !f.writable() || !write && !f.readable():
		return
	default:
		h.askRange(rangeLock{start: 0, end: lastByte}, true)
		h.release(o)
	}
	*o = outerLock{handle: f.handle, reading: f.readable(), writes: f.writable()}
	for _, r := range h.n.locks.ranges {
		h.askRange(r, false)
	}
}

func (h *treeNode) askRange(w rangeLock, free bool) Errno {
	l := TreeLock{Type: F_RDLCK, Off: w.start}
	switch {
	case free:
		l.Type = F_UNLCK
	case w.write:
		l.Type = F_WRLCK
	}
	if w.end != lastByte {
		l.N = w.end - w.start + 1
	}
	return h.ask(&h.ranges, l)
}

// ask leaves it at the locks of the machine where a tree has none.
func (h *treeNode) ask(o *outerLock, l TreeLock) Errno {
	if o.handle == 0 {
		return 0
	}
	e := h.m.Files.Lock(o.handle, l)
	if e == ENOTSUP || e == ENOSYS {
		return 0
	}
	return e
}

// giveRange gives back what of [start, end] nobody in the machine has locked any more.
func (h *treeNode) giveRange(start, end int64) {
	var others []rangeLock
	for _, r := range h.n.locks.ranges {
		if r.start <= end && start <= r.end {
			others = append(others, r)
		}
	}
	slices.SortFunc(others, func(a, b rangeLock) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	for _, r := range others {
		if r.start > start {
			h.askRange(rangeLock{start: start, end: r.start - 1}, true)
		}
		if r.end >= end {
			return
		}
		start = max(start, r.end+1)
	}
	h.askRange(rangeLock{start: start, end: end}, true)
}

// foreignRange is whether somebody outside has what w asks for. Where the machine
// itself has something in the range it is not asked: that would change it.
func (h *treeNode) foreignRange(f *file, w rangeLock) bool {
	for _, r := range h.n.locks.ranges {
		if r.start <= w.end && w.start <= r.end {
			return false
		}
	}
	h.chooseHandle(f, w.write)
	w.write = w.write && h.ranges.writes
	e := h.askRange(w, false)
	if e == 0 {
		h.askRange(w, true)
	}
	h.settle()
	return e == EAGAIN
}

// lockWhole makes the flock outside what the machine's are with one more.
func (h *treeNode) lockWhole(f *file, alone bool) Errno {
	l := TreeLock{Type: F_RDLCK, Whole: true}
	switch {
	case alone:
		l.Type = F_WRLCK
	case len(h.n.locks.sharing) > 0:
		return 0
	}
	if h.whole.handle == 0 {
		h.whole = outerLock{handle: f.handle}
	}
	return h.ask(&h.whole, l)
}

// giveWhole gives the flock back when nobody in the machine has one.
func (h *treeNode) giveWhole() {
	if h.whole.handle != 0 && !h.n.locks.flocked(true) {
		h.ask(&h.whole, TreeLock{Type: F_UNLCK, Whole: true})
		h.settle()
	}
}

// settle lets go of handles that hold no lock.
func (h *treeNode) settle() {
	if len(h.n.locks.ranges) == 0 {
		h.release(&h.ranges)
	}
	if !h.n.locks.flocked(true) {
		h.release(&h.whole)
	}
}

func (h *treeNode) release(o *outerLock) {
	old := *o
	*o = outerLock{}
	if old.kept && old.handle != h.ranges.handle && old.handle != h.whole.handle {
		h.m.Files.Close(old.handle)
	}
}

// keepForLocks is whether a handle whose description ends holds locks of others.
func (h *treeNode) keepForLocks(handle uint64) (kept bool) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.settle()
	for _, o := range []*outerLock{&h.ranges, &h.whole} {
		if o.handle == handle {
			o.kept, kept = true, true
		}
	}
	return kept
}

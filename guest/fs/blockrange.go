package fs

import "sync"

// writeRange is a write under way, of whole sectors. A partial one keeps bytes
// that it has read from the disk before.
type writeRange struct {
	first, last int64
	partial     bool
}

// writeRanges are a disk's writes under way. A partial one has its sectors for
// itself; others are as free as on Linux, where overlapping writes are in no order.
type writeRanges struct {
	mu      sync.Mutex
	list    []writeRange
	left    sync.Cond // one has left; its lock is mu
	waiting int
}

func (w *writeRanges) enter(r writeRange) {
	w.mu.Lock()
	for w.conflicts(r) {
		w.waiting++
		w.left.Wait()
		w.waiting--
	}
	w.list = append(w.list, r)
	w.mu.Unlock()
}

func (w *writeRanges) leave(r writeRange) {
	w.mu.Lock()
	for i, o := range w.list {
		if o == r {
			n := len(w.list) - 1
			w.list[i] = w.list[n]
			w.list = w.list[:n]
			break
		}
	}
	if w.waiting > 0 {
		w.left.Broadcast()
	}
	w.mu.Unlock()
}

// conflicts is whether r must wait for another. The caller holds w.mu.
func (w *writeRanges) conflicts(r writeRange) bool {
	for _, o := range w.list {
		if (o.partial || r.partial) && r.first < o.last && o.first < r.last {
			return true
		}
	}
	return false
}

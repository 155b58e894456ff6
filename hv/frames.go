package hv

import "math/bits"

// frames knows which page frames are free. Frames are handed out in ascending
// order as far as possible, so that what is loaded together lies together.
type frames struct {
	free  []uint64 // bit set: free
	left  int      // free frames
	owed  int      // of these, promised to mappings that have not touched them
	total int
	hint  int // no word before it has a free frame

	// notTables has a bit set for each frame that may not become a page table; nil for
	// none. Tables stay for ever, and a snapshot's frames have to get back what they had.
	notTables []uint64

	// apart is where page tables have frames of their own, beyond total; 0: they have
	// not. They count as frames that are in use.
	apart     frame
	apartNext frame
	apartFree []frame

	// extra counts the users beyond the first of a frame that several
	// mappings share.
	extra map[frame]int
}

func newFrames(n int) frames {
	f := frames{free: make([]uint64, (n+63)/64), left: n, total: n, extra: map[frame]int{}}
	for i := range f.free {
		f.free[i] = ^uint64(0)
	}
	if r := n % 64; r != 0 {
		f.free[len(f.free)-1] = 1<<r - 1
	}
	return f
}

// spare is how many free frames nobody has been promised.
func (f *frames) spare() int { return max(0, f.left-f.owed) }

// take hands out one free frame: the lowest. It may be one that was promised:
// the Go runtime maps more than it touches, and while there is memory nobody
// shall go without.
func (f *frames) take() (frame, bool) {
	if f.left == 0 { // the rest is for page tables
		return 0, false
	}
	for f.hint < len(f.free) {
		if w := f.free[f.hint]; w != 0 {
			b := bits.TrailingZeros64(w)
			f.free[f.hint] = w &^ (1 << b)
			f.left--
			return frame(f.hint*64 + b), true
		}
		f.hint++
	}
	return 0, false
}

// takeTable hands out a free frame for a page table.
func (f *frames) takeTable() (frame, bool) {
	if f.apart != 0 {
		return f.takeApart()
	}
	if f.notTables == nil {
		return f.take()
	}
	for i := f.hint; i < len(f.free); i++ {
		if w := f.free[i] &^ f.notTables[i]; w != 0 {
			b := bits.TrailingZeros64(w)
			f.free[i] &^= 1 << b
			f.left--
			return frame(i*64 + b), true
		}
	}
	return 0, false
}

// takeApart hands out a frame beyond total, which costs one before it.
func (f *frames) takeApart() (n frame, ok bool) {
	if f.left == 0 {
		return 0, false
	}
	f.left--
	if last := len(f.apartFree) - 1; last >= 0 {
		n, f.apartFree = f.apartFree[last], f.apartFree[:last]
		return n, true
	}
	n = f.apartNext
	f.apartNext++
	return n, true
}

// takeOwed keeps one promise.
func (f *frames) takeOwed() (frame, bool) {
	n, ok := f.take()
	if ok {
		f.owed--
	}
	return n, ok
}

// takeRun hands out n frames in a row.
func (f *frames) takeRun(n int) (frame, bool) {
	if n > f.spare() {
		return 0, false
	}
	start, length := 0, 0
	for i := f.hint * 64; i < f.total && length < n; i++ {
		if f.free[i/64]&(1<<(i%64)) == 0 {
			length = 0
			continue
		}
		if length == 0 {
			start = i
		}
		length++
	}
	if length < n {
		return 0, false
	}
	for i := start; i < start+n; i++ {
		f.free[i/64] &^= 1 << (i % 64)
	}
	f.left -= n
	return frame(start), true
}

// share adds a user to a frame that is in use.
func (f *frames) share(n frame) { f.extra[n]++ }

// shared says whether a frame has more than one user.
func (f *frames) shared(n frame) bool { return len(f.extra) != 0 && f.extra[n] != 0 }

// drop takes a user away and says whether it was the last. The frame is free
// only after release.
func (f *frames) drop(n frame) bool {
	if !f.shared(n) {
		return true
	}
	if f.extra[n]--; f.extra[n] == 0 {
		delete(f.extra, n)
	}
	return false
}

// release makes frames free again that nobody uses and no vCPU can reach.
func (f *frames) release(n frame) {
	if f.apart != 0 && n >= f.apart {
		f.left++
		f.apartFree = append(f.apartFree, n)
		return
	}
	w := int(n) / 64
	f.free[w] |= 1 << (n % 64)
	f.left++
	f.hint = min(f.hint, w)
}

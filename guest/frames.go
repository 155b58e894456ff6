package guest

import (
	"math/bits"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// frames are the page frames of a bare machine's memory: frame n begins at
// physical address n*PageSize. What is kept about them lies where free memory
// begins. Frames are handed out in ascending order, and zeroed; those that were
// never used are zero already.
type frames struct {
	base   uintptr // where physical address 0 is seen
	bitmap uintptr // of its words: bit set, frame free
	extra  uintptr // of a uint16 for each frame: its users beyond the first
	total  int
	left   int // free frames
	owed   int // of these, promised to mappings that have not touched them
	hint   int // no word before it has a free frame
	fresh  int // no frame from here on was ever used
	shares int // sum of extra
}

// initFrames takes [from, end) of the physical memory that is seen at base.
func (f *frames) init(base uintptr, from, end uint64) {
	first := int((from + hypercall.PageSize - 1) / hypercall.PageSize)
	*f = frames{base: base, total: int(end / hypercall.PageSize)}
	words := (f.total + 63) / 64
	f.bitmap = f.addr(first)
	f.extra = f.bitmap + uintptr(words)*8
	first += int(pageUp(uintptr(words)*8+uintptr(f.total)*2) / hypercall.PageSize)
	for i := first; i < f.total; {
		n := min(64-i%64, f.total-i)
		f.words()[i/64] |= (1<<n - 1) << (i % 64)
		i += n
	}
	f.left = max(0, f.total-first)
	f.fresh, f.hint = first, first/64
}

// addr is where a frame's bytes are seen.
func (f *frames) addr(n int) uintptr { return f.base + uintptr(n)*hypercall.PageSize }

func (f *frames) words() []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(f.bitmap)), (f.total+63)/64)
}

func (f *frames) users(n int) *uint16 { return (*uint16)(unsafe.Pointer(f.extra + 2*uintptr(n))) }

// spare is how many free frames nobody has been promised.
func (f *frames) spare() int { return max(0, f.left-f.owed) }

// take hands out the lowest free frame. It may be one that was promised: the Go
// runtime maps more than it touches, and while there is memory nobody shall go
// without.
func (f *frames) take() (int, bool) {
	words := f.words()
	for ; f.hint < len(words); f.hint++ {
		w := words[f.hint]
		if w == 0 {
			continue
		}
		words[f.hint] = w & (w - 1)
		f.left--
		n := f.hint*64 + bits.TrailingZeros64(w)
		if n < f.fresh {
			zeroPage(f.addr(n))
		} else {
			f.fresh = n + 1
		}
		return n, true
	}
	return 0, false
}

// release takes a user away. The frame of the last one is free again: by the
// time that it is handed out no translation may lead there.
func (f *frames) release(n int) {
	if f.shared(n) {
		*f.users(n)--
		f.shares--
		return
	}
	f.words()[n/64] |= 1 << (n % 64)
	f.left++
	f.hint = min(f.hint, n/64)
}

// share adds a user to a frame that is in use, unless it has too many.
func (f *frames) share(n int) bool {
	u := f.users(n)
	if *u == 1<<16-1 {
		return false
	}
	*u++
	f.shares++
	return true
}

// shared says whether a frame has more than one user.
func (f *frames) shared(n int) bool { return f.shares != 0 && *f.users(n) != 0 }

package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// region is a run of addresses that mmap gave out. What is mapped behind it
// only the host knows: the guest keeps the addresses.
type region struct {
	start, end uintptr
	reserved   bool  // takes no memory of its own
	prot       uint8 // what the program may do there
	file       fileKind
}

// fileKind is whether a region shows a file. The library's door fills it.
type fileKind uint8

const (
	noFile      fileKind = iota
	privateFile          // a copy, which nobody can make anew
	sharedFile           // pages are there as far as the file goes
)

// like is whether two regions that touch are one.
func (r region) like(o region) bool {
	return r.reserved == o.reserved && r.prot == o.prot && r.file == o.file
}

// regions is sorted and disjoint; owned by the vCPU.
var regions struct {
	at    uintptr // of the array: first until it is full, then kernel memory
	n     int
	cap   int
	first [512]region
	pool  struct{ next, end uintptr }  // mapped already, not given out
	hit   struct{ start, end uintptr } // part of one that may be read and written
}

// search returns the first region that ends after a.
func search(a uintptr) int {
	lo, hi := 0, regions.n
	for lo < hi {
		mid := (lo + hi) / 2
		if all()[mid].end > a {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

func overlaps(start, end uintptr) bool {
	i := search(start)
	return i < regions.n && all()[i].start < end
}

// place picks an address: the hint where it is free, else the lowest that is.
func place(hint, n uintptr) uintptr {
	if hint >= uintptr(Info().ImageEnd) && hint < mmapEnd && n <= mmapEnd-hint && !overlaps(hint, hint+n) {
		return hint
	}
	return findFree(mmapBase, n)
}

func findFree(from, n uintptr) uintptr {
	at := from
	for i := search(from); i < regions.n; i++ {
		if all()[i].start >= at && all()[i].start-at >= n {
			break
		}
		at = max(at, all()[i].end)
	}
	if at >= mmapEnd || n > mmapEnd-at {
		return 0
	}
	return at
}

// insert adds a region where none is, joining it with like neighbours.
func insert(r region) bool {
	i := search(r.start)
	list := all()
	before := i > 0 && list[i-1].end == r.start && list[i-1].like(r)
	after := i < len(list) && list[i].start == r.end && list[i].like(r)
	switch {
	case before && after:
		list[i-1].end = list[i].end
		closeGap(i)
	case before:
		list[i-1].end = r.end
	case after:
		list[i].start = r.start
	default:
		if !openGap(i) {
			return false
		}
		all()[i] = r
	}
	return true
}

// remove forgets a range; whatever reaches beyond it stays.
func remove(start, end uintptr) bool {
	regions.hit.end = 0
	for i := search(start); i < regions.n && all()[i].start < end; {
		r := &all()[i]
		switch {
		case r.start < start && r.end > end:
			if !openGap(i + 1) {
				return false
			}
			r = &all()[i]
			after := *r
			after.start = end
			all()[i+1] = after
			r.end = start
			return true
		case r.start < start:
			r.end = start
			i++
		case r.end > end:
			r.start = end
			return true
		default:
			closeGap(i)
		}
	}
	return true
}

// reserve makes sure that remove of a range and insert of more regions after it
// find room: when the host has done its part it is too late to fail.
func reserve(start, end uintptr, more int) bool {
	for i := search(start); i < regions.n && all()[i].start < end; i++ {
		switch r := all()[i]; {
		case r.start < start && r.end > end:
			more++ // cut in two
		case r.start >= start && r.end <= end:
			more--
		}
		if more <= 0 {
			return true
		}
	}
	return regions.cap-regions.n >= more || growRegions()
}

func closeGap(i int) {
	list := all()
	copy(list[i:], list[i+1:])
	regions.n--
}

// openGap makes room at i.
func openGap(i int) bool {
	if regions.n == regions.cap && !growRegions() {
		return false
	}
	regions.n++
	list := all()
	copy(list[i+1:], list[i:])
	return true
}

// all is the list as it is now.
func all() []region {
	return unsafe.Slice((*region)(unsafe.Pointer(regions.at)), regions.cap)[:regions.n]
}

// regionMemory is where the list lives once it has outgrown its first array:
// from where mappings end.
const regionMemory = mmapEnd

// growRegions moves the list to an array of twice the size.
func growRegions() bool {
	n := 2 * regions.cap
	if n > 2*maxRegions {
		return false
	}
	size := pageUp(uintptr(n) * unsafe.Sizeof(region{}))
	at := regionMemory + 2*size
	if mapPages(at, size, hypercall.MapWrite) != 0 {
		return false
	}
	copy(unsafe.Slice((*region)(unsafe.Pointer(at)), n), all())
	regions.at, regions.cap = at, n
	return true
}

package proc

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// Bits of a page-table entry (Intel SDM volume 3A, "4-Level Paging").
const (
	ptePresent = 1 << 0
	pteWrite   = 1 << 1
	pteUser    = 1 << 2
	pteNX      = 1 << 63
	pteAddr    = 0x000f_ffff_ffff_f000
	pteRights  = ptePresent | pteWrite | pteUser | pteNX
)

// Bits of a page fault's error code (Intel SDM volume 3A, "Page-Fault Error Code").
const (
	faultPresent = 1 << 0
	faultWrite   = 1 << 1
	faultExecute = 1 << 4
)

// tables walks page tables in a machine's memory. They are the host's own, in memory
// that the child cannot reach.
type tables struct {
	data []byte
	root hypercall.GPA
}

// table is the page table at a physical address. Safe because the slice expression
// checks the bounds, and a page is 512 aligned words.
func (t *tables) table(at uint64) *[512]uint64 {
	b := t.data[at-uint64(engine.MemoryBase):][:pageSize]
	return (*[512]uint64)(unsafe.Pointer(unsafe.SliceData(b)))
}

// leaf is the last-level table for an address, nil where there is none.
func (t *tables) leaf(a uint64) *[512]uint64 {
	at := uint64(t.root)
	for shift := 39; shift > 12; shift -= 9 {
		v := atomic.LoadUint64(&t.table(at)[a>>shift&511])
		if v&ptePresent == 0 {
			return nil
		}
		at = v & pteAddr
	}
	return t.table(at)
}

// entry is the entry for an address; 0 where there is none.
func (t *tables) entry(a uint64) uint64 {
	if table := t.leaf(a); table != nil {
		return atomic.LoadUint64(&table[a>>12&511])
	}
	return 0
}

// allows says whether an entry permits an access of guest code.
func allows(e, code uint64) bool {
	switch {
	case e&(ptePresent|pteUser) != ptePresent|pteUser:
		return false
	case code&faultWrite != 0 && e&pteWrite == 0:
		return false
	}
	return code&faultExecute == 0 || e&pteNX == 0
}

// frameOf is the frame of an entry that is present.
func frameOf(e uint64) uint32 { return uint32((e&pteAddr - uint64(engine.MemoryBase)) / pageSize) }

func protection(e uint64) uint64 {
	switch {
	case e&pteWrite != 0:
		return unix.PROT_READ | unix.PROT_WRITE
	case e&pteNX == 0:
		return unix.PROT_READ | unix.PROT_EXEC
	}
	return unix.PROT_READ
}

// Neighbours of a page that are mapped with it, where their frames are in a row too and
// their rights the same. What they cost is little: the kernel gives them page-table
// entries when they are touched.
const (
	pagesBefore = 512
	pagesAfter  = 4096
)

// run is the pages around a that can be mapped in one go, and that known does not know
// to be: to map one again makes the kernel forget its page-table entry.
func (t *tables) run(a, e uint64, known func(f uint32, p uint64) bool) pages {
	p := a / pageSize
	same := func(q uint64) bool {
		if q == 0 || q >= guestEnd/pageSize {
			return false
		}
		v := t.entry(q * pageSize)
		return v&pteRights == e&pteRights && v&pteAddr == e&pteAddr+(q-p)*pageSize && !known(frameOf(v), q)
	}
	from, to := p, p+1
	for from > p-min(p, pagesBefore) && same(from-1) {
		from--
	}
	for to < p+pagesAfter && same(to) {
		to++
	}
	return pages{from, to - from}
}

package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

const (
	mmapBase = 0x7000_0000_0000 // where addresses without a hint come from
	mmapEnd  = uintptr(hypercall.ReservedGVA) - 1<<32

	// poolSize is mapped in one step, so that the runtime's many small
	// allocations cost no exit each.
	poolSize = 1 << 20
	// poolMax is up to how large an allocation may be to come from the pool.
	poolMax = 512 << 10
	// eagerShare is the part of the memory free at the start up to which a
	// mapping takes its memory at once, which saves the faults. Larger ones
	// that nobody placed are mostly tables that stay nearly empty.
	eagerShare = 32

	maxRegions = 65530 // vm.max_map_count's default (Linux, proc_sys_vm(5))
)

// mmap flags and protections (Linux, asm-generic/mman-common.h).
const (
	protRead  = 1
	protWrite = 2
	protExec  = 4

	mapFixed          = 0x10
	mapAnonymous      = 0x20
	mapFixedNoReplace = 0x100000

	madvDontneed = 4
	madvFree     = 8
)

func pageUp(n uintptr) uintptr { return (n + hypercall.PageSize - 1) &^ (hypercall.PageSize - 1) }

func initMemory() {
	regions.at, regions.cap = uintptr(unsafe.Pointer(&regions.first)), len(regions.first)
}

// kernelAlloc returns fresh zeroed pages for the kernel itself, 0 if there are
// none. They are never given back.
func kernelAlloc(n uintptr) uintptr {
	n = pageUp(n)
	at := findFree(mmapBase, n)
	if at == 0 || !insert(memory(at, n, protRead|protWrite)) {
		return 0
	}
	if mapPages(at, n, hypercall.MapWrite) != 0 {
		remove(at, at+n)
		return 0
	}
	return at
}

// memory is a region of n bytes that shows no file.
func memory(at, n uintptr, prot uint32) region {
	return region{start: at, end: at + n, reserved: prot == 0, prot: uint8(prot & (protRead | protWrite))}
}

func mapPages(at, n uintptr, flags hypercall.MapFlag) int64 {
	return call(hypercall.CallMap, at, n, uintptr(flags), 0)
}

func mapFlags(prot uint32) hypercall.MapFlag {
	var f hypercall.MapFlag
	if prot&protRead != 0 {
		f |= hypercall.MapRead
	}
	if prot&protWrite != 0 {
		f |= hypercall.MapWrite
	}
	if prot&protExec != 0 {
		f |= hypercall.MapExec
	}
	return f
}

func mmap(addr, n uintptr, prot, flags uint32) int64 {
	if n == 0 || addr%hypercall.PageSize != 0 {
		return -eINVAL
	}
	if flags&mapAnonymous == 0 {
		return -eBADF // files are the library's door's
	}
	n = pageUp(n)
	if n == 0 || n > mmapEnd {
		return -eNOMEM
	}
	if flags&(mapFixed|mapFixedNoReplace) != 0 {
		return mmapFixed(addr, n, prot, flags)
	}
	if prot == protRead|protWrite && n <= poolMax && addr == 0 {
		if at := fromPool(n); at != 0 {
			return int64(at)
		}
	}
	at := place(addr, n)
	if at == 0 || !insert(memory(at, n, prot)) {
		return -eNOMEM
	}
	return populate(at, n, prot, n > uintptr(Info().FreeBytes)/eagerShare)
}

// populate maps what a region promises; on failure the region is gone.
func populate(at, n uintptr, prot uint32, lazy bool) int64 {
	if prot == 0 {
		return int64(at)
	}
	f := mapFlags(prot)
	if lazy {
		f |= hypercall.MapLazy
	}
	if r := mapPages(at, n, f); r != 0 {
		remove(at, at+n)
		return r
	}
	return int64(at)
}

func mmapFixed(at, n uintptr, prot, flags uint32) int64 {
	if at < uintptr(hypercall.MinGVA) || at >= mmapEnd || n > mmapEnd-at {
		return -eINVAL
	}
	if flags&mapFixedNoReplace != 0 && overlaps(at, at+n) {
		return -eEXIST
	}
	if !reserve(at, at+n, 1) {
		return -eNOMEM
	}
	if prot == 0 {
		if r := unmapHost(at, at+n); r != 0 {
			return r
		}
	}
	remove(at, at+n)
	insert(memory(at, n, prot))
	return populate(at, n, prot, false)
}

// fromPool takes pages that are mapped already.
func fromPool(n uintptr) uintptr {
	p := &regions.pool
	// The old pool and the new one may each have to be cut out of a region.
	if !reserve(0, 0, 3) {
		return 0
	}
	if p.end-p.next < n {
		at := findFree(mmapBase, poolSize)
		if at == 0 || mapPages(at, poolSize, hypercall.MapWrite) != 0 {
			return 0
		}
		returnPool()
		p.next, p.end = at, at+poolSize
		insert(memory(at, poolSize, 0))
	}
	at := p.next
	remove(at, at+n)
	insert(memory(at, n, protRead|protWrite))
	p.next += n
	return at
}

// returnPool gives the rest of a pool back before the next one is made.
func returnPool() {
	p := &regions.pool
	if p.next < p.end {
		unmapHost(p.next, p.end)
		remove(p.next, p.end)
	}
}

func munmap(at, n uintptr) int64 {
	n = pageUp(n)
	if at%hypercall.PageSize != 0 || n == 0 || at >= mmapEnd || n > mmapEnd-at {
		return -eINVAL
	}
	if !reserve(at, at+n, 0) {
		return -eNOMEM
	}
	if r := unmapHost(at, at+n); r != 0 {
		return r
	}
	remove(at, at+n)
	return 0
}

// unmapHost unmaps the parts of a range that may have memory behind them.
func unmapHost(start, end uintptr) int64 {
	for i := search(start); i < regions.n && all()[i].start < end; i++ {
		r := all()[i]
		if r.reserved && !inPool(r) {
			continue
		}
		from, to := max(start, r.start), min(end, r.end)
		if e := call(hypercall.CallUnmap, from, to-from, 0, 0); e != 0 {
			return e
		}
	}
	return 0
}

func inPool(r region) bool { return r.start < regions.pool.end && regions.pool.next < r.end }

// mprotect changes permissions. Reserved addresses get their memory now,
// lazily.
func mprotect(at, n uintptr, prot uint32) int64 {
	end := at + pageUp(n)
	switch {
	case at%hypercall.PageSize != 0:
		return -eINVAL
	case n != 0 && end <= at:
		return -eNOMEM
	}
	for at < end {
		i := search(at)
		if i == regions.n || all()[i].start > at {
			return -eNOMEM
		}
		r := all()[i]
		to := min(end, r.end)
		if e := protectRegion(r, at, to, prot); e != 0 {
			return e
		}
		at = to
	}
	return 0
}

func protectRegion(r region, from, to uintptr, prot uint32) int64 {
	bare := r.reserved && r.file == noFile
	switch {
	case prot&protExec != 0:
		return -eACCES
	case bare && prot == 0:
		return 0
	case !reserve(from, to, 1):
		return -eNOMEM
	}
	var e int64
	switch {
	case bare:
		e = mapPages(from, to-from, mapFlags(prot)|hypercall.MapLazy)
		r.reserved = false
	case !r.reserved:
		e = call(hypercall.CallProtect, from, to-from, uintptr(mapFlags(prot)), 0)
	}
	if e != 0 {
		return e
	}
	r.start, r.end, r.prot = from, to, uint8(prot&(protRead|protWrite))
	remove(from, to)
	insert(r)
	return 0
}

// markFile says that a range shows a file. A shared one has its pages from the
// library's door.
func markFile(at, n uintptr, kind fileKind, prot uint32) int64 {
	n = pageUp(n)
	r := memory(at, n, prot)
	r.file, r.reserved = kind, kind == sharedFile
	if !reserve(at, at+n, 1) {
		return -eNOMEM
	}
	remove(at, at+n)
	insert(r)
	return 0
}

func madvise(at, n uintptr, advice uint32) int64 {
	end := at + pageUp(n)
	if at%hypercall.PageSize != 0 || end < at || n != 0 && end == at {
		return -eINVAL
	}
	if advice != madvDontneed && advice != madvFree || n == 0 || at < uintptr(Info().ImageEnd) {
		return 0
	}
	for at < end {
		i := search(at)
		if i == regions.n || all()[i].start > at {
			return -eNOMEM
		}
		r := all()[i]
		to := min(end, r.end)
		if e := discard(r, at, to); e != 0 {
			return e
		}
		at = to
	}
	return 0
}

// discard makes memory zero; what may not be written is made writable for it. A
// private mapping of a file stays: it would have to show the file again.
func discard(r region, from, to uintptr) int64 {
	if r.reserved || r.file != noFile {
		return 0
	}
	if r.prot&protWrite == 0 {
		if e := call(hypercall.CallProtect, from, to-from, uintptr(hypercall.MapWrite), 0); e != 0 {
			return e
		}
	}
	e := call(hypercall.CallDiscard, from, to-from, 0, 0)
	if r.prot&protWrite == 0 {
		call(hypercall.CallProtect, from, to-from, uintptr(mapFlags(uint32(r.prot))), 0)
	}
	return e
}

// mincore says that all that is mapped is in memory.
func mincore(at, n, to uintptr) int64 {
	pages := pageUp(n) / hypercall.PageSize
	switch {
	case at%hypercall.PageSize != 0:
		return -eINVAL
	case n > mmapEnd || at > mmapEnd-n:
		return -eNOMEM
	case !writable(to, pages):
		return -eFAULT
	}
	for i := range pages {
		if page := at + i*hypercall.PageSize; !overlaps(page, page+1) {
			return -eNOMEM
		}
		*(*byte)(unsafe.Pointer(to + i)) = 1
	}
	return 0
}

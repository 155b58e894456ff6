package hv

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// blockRing sees the frames from f on as a ring. Safe because they are the
// ringPages in a row that place has taken for it, and a ring has no pointers.
func (m *memory) blockRing(f frame) *hypercall.BlockRing {
	return (*hypercall.BlockRing)(unsafe.Pointer(unsafe.SliceData(m.run(f, int(ringPages)))))
}

// words sees a structure of the contract as 64-bit words. Safe for structures that
// consist of whole words and have no pointers.
func words[T any](p *T) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(p)), unsafe.Sizeof(*p)/8)
}

// loadWords copies a structure that a guest may be writing, each word once.
func loadWords[T any](p *T) (v T) {
	to := words(&v)
	for i := range to {
		to[i] = atomic.LoadUint64(&words(p)[i])
	}
	return v
}

// storeWords writes a structure that a guest may be reading.
func storeWords[T any](p *T, v T) {
	for i, w := range words(&v) {
		atomic.StoreUint64(&words(p)[i], w)
	}
}

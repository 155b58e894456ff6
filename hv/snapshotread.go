package hv

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// pageReader reads a snapshot's pages to where a machine has them, on as many threads
// as call work.
type pageReader struct {
	from   io.ReaderAt
	to     *memory
	parts  []pagePart
	next   atomic.Int64   // part that nobody has taken
	unread sync.WaitGroup // parts
	failed atomic.Pointer[error]
}

// pagePart are pages in a row, of one huge page.
type pagePart struct {
	extent
	offset int64  // in the file
	hashes []byte // of the pages
}

func newPageReader(from io.ReaderAt, to *memory, list []extent, hashes []byte) *pageReader {
	r, at := &pageReader{from: from, to: to}, int64(0)
	for _, x := range list {
		for x.Pages > 0 {
			const whole = hugePage >> pageShift
			n := min(x.Pages, whole-int(x.First%whole))
			r.parts = append(r.parts, pagePart{extent{x.First, n}, at << pageShift, hashes[at*hashSize:]})
			x, at = extent{x.First + frame(n), x.Pages - n}, at+int64(n)
		}
	}
	r.unread.Add(len(r.parts))
	return r
}

// read reads all pages; nothing is written to memory any more when it returns.
func (r *pageReader) read() error {
	r.work()
	r.unread.Wait()
	if err := r.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// work reads parts as long as there are some that nobody reads.
func (r *pageReader) work() {
	for i := r.next.Add(1) - 1; i < int64(len(r.parts)); i = r.next.Add(1) - 1 {
		if r.failed.Load() == nil {
			if err := r.part(r.parts[i]); err != nil {
				r.failed.CompareAndSwap(nil, &err)
			}
		}
		r.unread.Done()
	}
}

func (r *pageReader) part(p pagePart) error {
	const most = 64 // pages: the processor's cache has them yet when they are looked at
	for p.Pages > 0 {
		n := min(p.Pages, most)
		if err := r.pages(pagePart{extent{p.First, n}, p.offset, p.hashes}); err != nil {
			return err
		}
		p = pagePart{extent{p.First + frame(n), p.Pages - n}, p.offset + int64(n)<<pageShift, p.hashes[n*hashSize:]}
	}
	return nil
}

// pages reads pages to their place and compares the hashes of what is there. Where all
// are zero they are given back: a file has them for nothing.
func (r *pageReader) pages(p pagePart) error {
	b := r.to.run(p.First, p.Pages)
	r.to.populate(p.First, p.Pages)
	if _, err := r.from.ReadAt(b, p.offset); err != nil {
		return err
	}
	zero := true
	for hashes := p.hashes; len(b) > 0; b, hashes = b[pageSize:], hashes[hashSize:] {
		if xxhash.Sum64(b[:pageSize]) != binary.LittleEndian.Uint64(hashes) {
			return errDamaged
		}
		zero = zero && isZero(b[:pageSize])
	}
	if zero {
		return r.to.forget(p.First, p.Pages)
	}
	return nil
}

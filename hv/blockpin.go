package hv

import "github.com/pvrun/pvrun/hypercall"

// pinAll translates a request's buffer, as a call would that had it as an argument,
// and keeps its frames: like an alias's they are nobody else's until unpin, whatever
// the guest does with its mappings. On an error some may be pinned.
func (t *pageTables) pinAll(j *blockJob, segments []hypercall.BlockSegment, write bool) hypercall.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range segments {
		if s := t.pin(j, uint64(s.Addr), s.Len, write); s != 0 {
			return s
		}
	}
	return 0
}

func (t *pageTables) pin(j *blockJob, a, n uint64, write bool) hypercall.Status {
	if a+n < a {
		return hypercall.EFAULT
	}
	for n > 0 {
		f, s := t.reach(a, write)
		if s != 0 {
			return s
		}
		var piece []byte
		if t.win.hasFrame(f) {
			piece, s = filePiece(t.win.page(f)[a%pageSize:], n, write)
		} else {
			t.mem.share(f)
			j.frames = append(j.frames, f)
			piece = t.mem.page(f)[a%pageSize:]
		}
		if s != 0 {
			return s
		}
		piece = piece[:min(n, uint64(len(piece)))]
		j.pieces = appendPiece(j.pieces, piece)
		a += uint64(len(piece))
		n -= uint64(len(piece))
	}
	return 0
}

// scatter copies b to pieces of pinned memory. A paging call may take the host's
// right to write to it for a moment; not with the lock held.
func (t *pageTables) scatter(pieces [][]byte, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range pieces {
		n := min(len(p), len(b))
		if t.win.has(p) {
			_ = writeFile(p[:n], b[:n]) // a page that has gone takes nothing
		} else {
			copy(p, b)
		}
		b = b[n:]
	}
}

// filePiece is a copy of what a mapped file has now, or, to read to, its pages: those
// are not pinned, since they come and go with the file. They are for system calls
// and scatter only; what is unmapped meanwhile is EFAULT for those.
func filePiece(file []byte, n uint64, write bool) ([]byte, hypercall.Status) {
	file = file[:min(n, uint64(len(file)))]
	if write {
		return file, 0
	}
	b := privateCopy(len(file))
	return b, readFile(b, file)
}

// unpin lets go of a request's memory. What the guest has unmapped meanwhile is
// released here; when the host refuses, by the next call that can.
func (t *pageTables) unpin(j *blockJob) {
	clear(j.pieces)
	j.pieces = j.pieces[:0]
	if len(j.frames) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range j.frames {
		if t.mem.drop(f) {
			t.gone = append(t.gone, f)
		}
	}
	j.frames = j.frames[:0]
	if len(t.gone) > 0 {
		_ = t.releaseGone()
	}
}

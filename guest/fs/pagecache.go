package fs

import "slices"

// Where a tree cannot show its files itself, as those on a disk cannot be shown,
// the pages that shared mappings show are kept here, in the inode's blob as those
// of files in memory are. Reads and writes see them; what was written to them goes
// to the tree at msync, fsync, munmap, and when the program ends.
//
// treeNode.io is held for reading by everything that changes the file in the tree,
// and alone while the first pages are read, so that those are what the file is.
// It comes before inode.mu.

// keptAtOnce is how many pages are read and compared at once.
const keptAtOnce = 64

// keepIn adds a mapping, and reads all that it shows. What is written to it could
// not be flushed through a description that only appends.
func (h *treeNode) keepIn(m *mapping) Errno {
	if m.file.appends && m.prot&protWrite != 0 {
		return ENODEV
	}
	h.io.Lock()
	defer h.io.Unlock()
	a, e := h.m.Files.Stat(TreeRef{Handle: m.file.handle})
	if e != 0 {
		return e
	}
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &n.data
	if d.share == nil {
		d.share, d.size = &share{pages: n.fs.host.Pages, kept: h}, a.Size
	}
	s := d.share
	s.add(m)
	m.file.refs.Add(1)
	n.opens++
	if e := h.fill(m); e != 0 {
		s.pages.Hide(m.addr, int(m.n))
		at := s.from(m.addr)
		s.maps = slices.Delete(s.maps, at, at+1)
		m.file.refs.Add(-1) // the caller has it, too
		n.opens--
		h.unkeep()
		return e
	}
	return 0
}

// fill reads the pages of a mapping that are not kept yet, and shows them all.
func (h *treeNode) fill(m *mapping) Errno {
	d := &h.n.data
	s := d.share
	end := min(m.first+m.n, pagesOf(d.size))
	missing := 0
	for i := m.first; i < end; i++ {
		if d.page(i) == nil {
			missing++
		}
	}
	if missing > 0 && !s.extend(missing) {
		return ENOMEM
	}
	s.quiet = true
	buf := make([]byte, keptAtOnce*pageSize)
	for i := m.first; i < end; i += keptAtOnce {
		if e := h.fillSome(m.file, i, min(end, i+keptAtOnce), buf); e != 0 {
			s.quiet = false
			return e
		}
	}
	s.quiet = false
	return s.present(d, m, m.first)
}

func (h *treeNode) fillSome(f *file, i, end int64, buf []byte) Errno {
	d := &h.n.data
	for i < end && d.page(i) != nil {
		i++
	}
	if i == end {
		return 0
	}
	k, e := h.m.Files.Read(f.handle, buf[:(end-i)*pageSize], i*pageSize)
	if e != 0 {
		return e
	}
	clear(buf[k:])
	for ; i < end; i, buf = i+1, buf[pageSize:] {
		if d.page(i) != nil {
			continue
		}
		p := d.own(i)
		if p == nil {
			return ENOMEM
		}
		copy(p[:], buf)
	}
	return 0
}

// unkeep forgets the pages when no mapping is left. The caller holds n.mu.
func (h *treeNode) unkeep() {
	if d := &h.n.data; len(d.share.maps) == 0 {
		d.free()
	}
}

// flush writes to the tree what was written to pages [first, end). The caller
// holds n.mu.
func (h *treeNode) flush(f *file, first, end int64) (fail Errno) {
	d := &h.n.data
	end = min(end, pagesOf(d.size))
	buf := make([]byte, min(keptAtOnce, max(end-first, 0))*pageSize)
	for i := first; i < end; i += keptAtOnce {
		k, e := h.m.Files.Read(f.handle, buf[:min(keptAtOnce, end-i)*pageSize], i*pageSize)
		if e == 0 {
			clear(buf[k:])
			e = h.flushSome(f, i, min(end, i+keptAtOnce), buf)
		}
		if e != 0 {
			fail = e
		}
	}
	return fail
}

func (h *treeNode) flushSome(f *file, i, end int64, old []byte) (fail Errno) {
	d := &h.n.data
	for ; i < end; i, old = i+1, old[pageSize:] {
		p := d.page(i)
		if p == nil || *p == page(old[:pageSize]) {
			continue
		}
		part := min(pageSize, d.size-i*pageSize)
		if k, e := h.m.Files.Write(f.handle, p[:part], i*pageSize); e != 0 || int64(k) < part {
			fail = max(e, ENOSPC)
		}
	}
	return fail
}

// flushMapping is flush for one mapping, when it can have been written to: it reads
// all of it, which is much where a database maps its file to be read, and syncs often.
func (h *treeNode) flushMapping(m *mapping) {
	if !m.wrote || m.file.appends {
		return
	}
	if e := h.flush(m.file, m.first, m.first+m.n); e != 0 {
		h.lost = e
	}
}

// flushAll flushes every mapping.
func (h *treeNode) flushAll() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if h.keeps() {
		for _, m := range h.n.data.share.maps {
			h.flushMapping(m)
		}
	}
}

// failed is what could not be flushed since it was last asked.
func (h *treeNode) failed() Errno {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	e := h.lost
	h.lost = 0
	return e
}

// keeps is whether pages are kept. The caller holds n.mu.
func (h *treeNode) keeps() bool { return h.n.data.share != nil && h.n.data.share.kept != nil }

// look puts what is kept over what was read from the tree.
func (h *treeNode) look(b []byte, off int64) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if h.keeps() {
		h.eachKept(b, off, func(part, page []byte) { copy(part, page) })
	}
}

// eachKept calls do with each part of b that a page is kept for.
func (h *treeNode) eachKept(b []byte, off int64, do func(part, page []byte)) {
	for len(b) > 0 {
		part := b[:min(int64(len(b)), pageSize-off%pageSize)]
		if p := h.n.data.page(off / pageSize); p != nil {
			do(part, p[off%pageSize:][:len(part)])
		}
		b, off = b[len(part):], off+int64(len(part))
	}
}

// write writes to the tree, and to the pages that are kept.
func (h *treeNode) write(f *file, b []byte, off int64) (int, Errno) {
	h.io.RLock()
	defer h.io.RUnlock()
	h.n.mu.Lock()
	if !h.keeps() {
		h.n.mu.Unlock()
		return h.m.Files.Write(f.handle, b, off)
	}
	defer h.n.mu.Unlock()
	d := &h.n.data
	if f.appends {
		off = d.size
	}
	k, e := h.m.Files.Write(f.handle, b, off)
	if k > 0 {
		d.grow(off + int64(k))
		h.eachKept(b[:k], off, func(part, page []byte) { copy(page, part) })
	}
	return k, e
}

// change does to the tree what keep then does to the pages that are kept.
func (h *treeNode) change(tree func() Errno, keep func(d *blob)) Errno {
	h.io.RLock()
	defer h.io.RUnlock()
	h.n.mu.Lock()
	if !h.keeps() {
		h.n.mu.Unlock()
		return tree()
	}
	defer h.n.mu.Unlock()
	e := tree()
	if e == 0 {
		keep(&h.n.data)
	}
	return e
}

// zeroKept clears [off, end) of what is kept.
func (d *blob) zeroKept(off, end int64) {
	for end = min(end, d.size); off < end; {
		k := min(pageSize-off%pageSize, end-off)
		if p := d.page(off / pageSize); p != nil {
			clear(p[off%pageSize:][:k])
		}
		off += k
	}
}

// FlushMapped has the trees' files keep what was written to mappings that are
// still there. It is called when the program ends.
func (fs *FS) FlushMapped() {
	for _, f := range fs.mappedFiles(0, 1<<63) {
		if h := f.node.tree(); h != nil {
			h.flushAll()
		}
		fs.put(f)
	}
}

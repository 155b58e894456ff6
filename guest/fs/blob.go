package fs

// pageSize is the unit in which file data is held, in bytes.
const pageSize = 4096

type page [pageSize]byte

// A leaf holds up to 2 MiB of a file and is as long as it needs to be, for most
// files are small; a nil page is a hole, or still in base.
const leafPages = 512

type leaf []*page

// blob is the content of a regular file: pages made at the first write over
// an optional base that is never written. inode.mu guards it.
type blob struct {
	size  int64
	base  []byte // the archive's bytes where no page has replaced them
	tree  []leaf
	pages int64 // pages held
	space *space
	share *share // set once the file has been mapped shared
}

// page returns page i, or nil where there is none.
func (d *blob) page(i int64) *page {
	if i>>9 >= int64(len(d.tree)) || i%leafPages >= int64(len(d.tree[i>>9])) {
		return nil
	}
	return d.tree[i>>9][i%leafPages]
}

// put sets page i, growing the tree.
func (d *blob) put(i int64, p *page) {
	top := int(i >> 9)
	if top >= len(d.tree) {
		d.tree = append(d.tree, make([]leaf, top+1-len(d.tree))...)
	}
	l, j := d.tree[top], int(i%leafPages)
	if j >= len(l) {
		l = append(l, make(leaf, j+1-len(l))...)
		d.tree[top] = l
	}
	l[j] = p
}

// baseAt is what base has from offset off on, at most to the end of the page.
func (d *blob) baseAt(off int64) []byte {
	if off >= int64(len(d.base)) {
		return nil
	}
	end := min(off-off%pageSize+pageSize, int64(len(d.base)))
	return d.base[off:end]
}

// own returns page i for writing: a new one starts as what a read shows.
// It is nil when the space is used up.
func (d *blob) own(i int64) *page {
	if p := d.page(i); p != nil {
		return p
	}
	if !d.space.take(1) {
		return nil
	}
	p := d.newPage(i)
	if p == nil {
		d.space.give(1)
		return nil
	}
	copy(p[:], d.baseAt(i*pageSize))
	d.put(i, p)
	d.pages++
	return p
}

// newPage allocates: from shared memory once the file is mapped.
func (d *blob) newPage(i int64) *page {
	if d.share != nil {
		return d.share.newPage(i)
	}
	return new(page)
}

// readAt fills b from offset off and returns how much the file has there.
func (d *blob) readAt(b []byte, off int64) int {
	if off >= d.size {
		return 0
	}
	b = b[:min(int64(len(b)), d.size-off)]
	for n := 0; n < len(b); {
		at := off + int64(n)
		part := b[n:min(len(b), n+int(pageSize-at%pageSize))]
		if p := d.page(at / pageSize); p != nil {
			copy(part, p[at%pageSize:])
		} else {
			clear(part[copy(part, d.baseAt(at)):])
		}
		n += len(part)
	}
	return len(b)
}

// writeAt stores b at offset off, growing the file, and returns how much
// found space.
func (d *blob) writeAt(b []byte, off int64) int {
	n := 0
	for n < len(b) {
		at := off + int64(n)
		p := d.own(at / pageSize)
		if p == nil {
			break
		}
		n += copy(p[at%pageSize:], b[n:])
	}
	if n > 0 {
		d.grow(off + int64(n))
	}
	return n
}

// grow makes the file at least size long.
func (d *blob) grow(size int64) {
	if size <= d.size {
		return
	}
	old := d.size
	d.size = size
	if d.share != nil {
		d.share.grown(d, old)
	}
}

// truncate sets the size; what is cut off reads as zero if it comes back.
func (d *blob) truncate(size int64) {
	if size >= d.size {
		d.grow(size)
		return
	}
	if d.share != nil {
		d.share.shrunk(d, size)
	}
	d.size = size
	if int64(len(d.base)) > size {
		d.base = d.base[:size:size]
	}
	if p := d.page(size / pageSize); p != nil {
		clear(p[size%pageSize:])
	}
	d.cut((size + pageSize - 1) / pageSize)
}

// cut drops the pages from page i on.
func (d *blob) cut(i int64) {
	for top := i >> 9; top < int64(len(d.tree)); top++ {
		l := d.tree[top]
		for j := max(0, i-top*leafPages); j < int64(len(l)); j++ {
			d.drop(l, j)
		}
	}
	if keep := (i + leafPages - 1) >> 9; keep < int64(len(d.tree)) {
		clear(d.tree[keep:])
		d.tree = d.tree[:keep]
	}
}

// drop forgets one page of a leaf.
func (d *blob) drop(l leaf, j int64) {
	if l[j] == nil {
		return
	}
	if d.share != nil {
		d.share.freePage(l[j])
	}
	l[j] = nil
	d.pages--
	d.space.give(1)
}

// free drops everything.
func (d *blob) free() {
	d.truncate(0)
	d.tree = nil
	if d.share != nil {
		d.share.free()
		d.share = nil
	}
}

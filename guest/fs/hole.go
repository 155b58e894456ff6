package fs

// zero makes [off, end) read as zero, with holes where base and mappings
// allow. It is false when the space is used up.
func (d *blob) zero(off, end int64) bool {
	for off < end {
		if d.bare(off) {
			off = nextLeaf(off)
			continue
		}
		n := min(pageSize-off%pageSize, end-off)
		if !d.zeroIn(off, n) {
			return false
		}
		off += n
	}
	return true
}

// zeroIn is zero for n bytes within one page.
func (d *blob) zeroIn(off, n int64) bool {
	i := off / pageSize
	p := d.page(i)
	based := d.baseAt(off) != nil
	if p == nil && !based {
		return true
	}
	if p != nil && n == pageSize && !based && d.share == nil {
		d.drop(d.tree[i>>9], i%leafPages)
		return true
	}
	if p = d.own(i); p == nil {
		return false
	}
	clear(p[off%pageSize:][:n])
	return true
}

// present is whether page i holds data.
func (d *blob) present(i int64) bool {
	return d.page(i) != nil || d.baseAt(i*pageSize) != nil
}

// seek finds the first offset from off on that is data, or a hole; size when
// there is none.
func (d *blob) seek(off int64, data bool) int64 {
	for off < d.size {
		i := off / pageSize
		if d.present(i) == data {
			return off
		}
		if d.bare(off) {
			off = nextLeaf(off)
		} else {
			off = (i + 1) * pageSize
		}
	}
	return d.size
}

// bare is whether the whole leaf around off is a hole, so that loops over a
// sparse file take large steps.
func (d *blob) bare(off int64) bool {
	top := off / pageSize >> 9
	return off >= int64(len(d.base)) && (top >= int64(len(d.tree)) || d.tree[top] == nil)
}

func nextLeaf(off int64) int64 {
	const size = leafPages * pageSize
	return off - off%size + size
}

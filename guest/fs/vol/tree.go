package vol

import "github.com/pvrun/pvrun/guest/fs"

// cut makes a hole of the blocks [first, end) of a tree.
func (v *FS) cut(t *tree, first, end uint64) fs.Errno {
	e := v.cutBelow(t, t.height, 0, first, end)
	if e == 0 && t.root.block == 0 {
		t.height = 0
	}
	return e
}

// cutBelow is cut for what is below one block. Where it takes all, it changes
// what leads there; what cannot be read is left for fsck to find.
func (v *FS) cutBelow(t *tree, level uint8, index, first, end uint64) fs.Errno {
	low, high := index<<(nodeShift*level), (index+1)<<(nodeShift*level)
	if high <= first || low >= end {
		return 0
	}
	p, e := v.pointer(t, level, index)
	if e != 0 || p.block == 0 {
		return e
	}
	if low >= first && high <= end {
		if e := v.editAbove(t, level, index, false); e != 0 {
			return e
		}
		v.setPointer(t, level, index, pointer{})
		v.drop(t, level, index, p)
		return 0
	}
	for i := index << nodeShift; i < (index+1)<<nodeShift; i++ {
		if e := v.cutBelow(t, level-1, i, first, end); e != 0 {
			return e
		}
	}
	return 0
}

// setPointer changes what leads to a block; that is dirty.
func (v *FS) setPointer(t *tree, level uint8, index uint64, p pointer) {
	if level == t.height {
		t.root = p
		return
	}
	b := v.cache.blocks[key{t.ino, level + 1, index >> nodeShift}]
	p.put(b.data.slot(index))
}

// drop gives a block back and all below it.
func (v *FS) drop(t *tree, level uint8, index uint64, p pointer) {
	if level > 0 {
		b := v.cache.blocks[key{t.ino, level, index}]
		if b == nil {
			b = &buffer{data: new(block)}
			if v.read(p, b.data) != 0 {
				clear(b.data[:])
			}
		}
		for i := range uint64(NodePointers) {
			if p := getPointer(b.data.slot(i)); p.block != 0 && !v.broken {
				v.drop(t, level-1, index<<nodeShift|i, p)
			}
		}
	}
	v.cache.drop(key{t.ino, level, index})
	if p.block != pending {
		v.free(p)
	}
	t.blocks--
}

// seek finds the first block from index on that is data, or a hole. Budget
// bounds what a damaged tree can make it look at.
func (v *FS) seek(t *tree, index uint64, hole bool) (uint64, fs.Errno) {
	budget := v.sb.blocks
	for {
		next, found, e := v.extent(t, index, hole)
		if e != 0 || found {
			return index, e
		}
		if next == 0 || budget == 0 {
			return 0, fs.ENXIO
		}
		budget--
		index = next
	}
}

// extent says whether a block is what seek looks for, and which is the next
// that can be: 0 for none.
func (v *FS) extent(t *tree, index uint64, hole bool) (next uint64, found bool, e fs.Errno) {
	if index>>(nodeShift*t.height) != 0 {
		return 0, hole, 0
	}
	for level := int(t.height); level >= 0; level-- {
		shift := nodeShift * level
		p, e := v.pointer(t, uint8(level), index>>shift)
		if e != 0 {
			return 0, false, e
		}
		if p.block == 0 {
			return (index>>shift + 1) << shift, hole, 0
		}
	}
	return index + 1, !hole, 0
}

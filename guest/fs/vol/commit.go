package vol

import (
	"cmp"
	"slices"

	"github.com/pvrun/pvrun/guest/fs"
)

const (
	// opMost is how many blocks one operation makes dirty at the most: a rename
	// changes two folders, four inodes and the inode file, each with the nodes
	// above.
	opMost = 48
	// leastReserve is what only operations that need no room may use, so that
	// files can be removed from a full volume.
	leastReserve, mostReserve = 64, 4096
	// commitAge is how long changes wait at the most, as long as there are calls.
	commitAge = 5e9 // ns
	// writeMost is how many bytes go to the device at once.
	writeMost = 1 << 20
	// discardLeast is how many blocks side by side are worth a discard.
	discardLeast = 16
)

// batch is what a commit writes.
type batch struct {
	super   super
	buffers []*buffer
	blocks  []placed
	parts   []part
}

// placed is a block and where it goes.
type placed struct {
	at   uint64
	data *block
}

// part is a block of the bitmap.
type part struct {
	n    uint64
	slot uint8
	data *block
}

// reserve is how many blocks stay free for removing.
func reserve(blocks uint64) uint64 { return min(max(blocks/64, leastReserve), mostReserve) }

// begin prepares for an operation that makes up to opMost blocks dirty, grow of
// them new; it may commit first. An operation that has begun does not run out of
// space.
func (v *FS) begin(grow int64) fs.Errno {
	if v.readOnly {
		return fs.EROFS
	}
	for {
		free := int64(v.sb.blocks-v.space.usedCount) - v.cache.fresh
		need := int64(len(v.cache.dirty)) + opMost
		switch {
		case v.broken:
			return fs.EIO
		case grow > 0 && free-grow < int64(reserve(v.sb.blocks)):
			return fs.ENOSPC
		case len(v.cache.dirty) < v.dirtyMost && need <= int64(v.sb.blocks-v.space.bsCount) && !v.old():
			if len(v.cache.dirty) == 0 {
				v.notify()
			}
			return 0
		case len(v.cache.dirty) == 0 && !v.committing:
			return fs.ENOSPC // the reserve is gone, which a sound volume does not allow
		}
		if e := v.commit(); e != 0 {
			return e
		}
	}
}

// old is whether changes have waited for long enough.
func (v *FS) old() bool {
	return len(v.cache.dirty) > 0 && v.now()-v.lastCommit > commitAge
}

// commit makes all changes durable that were made before the call. Of several
// callers that wait one does it for all. It lets go of the lock meanwhile.
func (v *FS) commit() fs.Errno {
	for v.committing && !v.broken {
		v.idle.Wait()
	}
	switch {
	case v.broken:
		return fs.EIO
	case v.readOnly || len(v.cache.dirty) == 0:
		return 0
	}
	b := v.prepare()
	if b == nil {
		v.broken = true
		return fs.EIO
	}
	v.committing = true
	v.mu.Unlock()
	err := v.write(b)
	v.mu.Lock()
	if err != nil {
		v.broken = true
	} else {
		v.finish(b)
	}
	v.committing = false
	v.idle.Broadcast()
	if v.broken {
		return fs.EIO
	}
	return 0
}

// prepare gives each changed block its place, from the data up to the root of the
// inode file.
func (v *FS) prepare() *batch {
	v.sb.generation++
	b := &batch{}
	for buf := range v.cache.dirty {
		b.buffers = append(b.buffers, buf)
	}
	slices.SortFunc(b.buffers, inOrder)
	stored := false
	for _, buf := range b.buffers {
		if buf.ino == 0 && !stored {
			v.storeChanged()
			stored = true
		}
		if !v.place(buf) {
			return nil
		}
		b.blocks = append(b.blocks, placed{v.placeOf(buf).block, buf.data})
	}
	v.changed = map[uint64]*inode{}
	v.cache.dirty, v.cache.fresh = map[*buffer]struct{}{}, 0
	v.lastCommit = v.now()
	v.sb.table, v.sb.height = v.table.root, v.table.height
	v.sb.freeBlocks, v.sb.committed = v.sb.blocks-v.space.usedCount, v.lastCommit
	b.super = v.sb
	for _, n := range v.space.changed {
		b.parts = append(b.parts, part{n, 1 - v.space.slots[n], v.space.encodeSlot(n, v.sb.generation)})
		v.space.isChanged[n] = false
	}
	v.space.changed = nil
	return b
}

// inOrder has the inode file last, nodes after what they lead to, and each
// file's blocks side by side.
func inOrder(a, b *buffer) int {
	if (a.ino == 0) != (b.ino == 0) {
		return cmp.Compare(b.ino, a.ino)
	}
	return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.ino, b.ino), cmp.Compare(a.index, b.index))
}

func (v *FS) storeChanged() {
	for _, n := range v.changed {
		v.store(n)
	}
}

// treeOf is the tree that a dirty block is of.
func (v *FS) treeOf(b *buffer) *tree {
	if b.ino == 0 {
		return &v.table
	}
	return &v.inodes[b.ino].tree
}

func (v *FS) placeOf(b *buffer) pointer {
	p, _ := v.pointer(v.treeOf(b), b.level, b.index)
	return p
}

// place moves a block to a free one.
func (v *FS) place(b *buffer) bool {
	old := v.placeOf(b)
	if old.block != pending {
		v.free(old)
	}
	at := v.alloc()
	if at == 0 || v.broken {
		return false
	}
	v.setPointer(v.treeOf(b), b.level, b.index, pointer{at, Checksum(b.data[:])})
	b.dirty, b.fresh, b.flight = false, false, b.data
	return true
}

// write is a commit's part on the device.
func (v *FS) write(b *batch) error {
	for _, p := range b.parts {
		b.blocks = append(b.blocks, placed{slotPlace(p.n, p.slot), p.data})
	}
	slices.SortFunc(b.blocks, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	if err := v.writeBlocks(b.blocks); err != nil {
		return err
	}
	if err := v.dev.Flush(); err != nil {
		return err
	}
	place := int64(b.super.generation%Supers) * BlockSize
	if err := v.dev.WriteAt(b.super.encode(), place); err != nil {
		return err
	}
	return v.dev.Flush()
}

// writeBlocks writes neighbours together.
func (v *FS) writeBlocks(list []placed) error {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].at == list[0].at+uint64(n) && n < writeMost/BlockSize {
			n++
		}
		joined := list[0].data[:]
		if n > 1 {
			joined = v.scratch[:0]
			for _, p := range list[:n] {
				joined = append(joined, p.data[:]...)
			}
			v.scratch = joined
		}
		if err := v.dev.WriteAt(joined, int64(list[0].at)*BlockSize); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// finish takes note of a commit that is durable. Nothing takes a block until the
// next commit, so those that are free now can be discarded without the lock.
func (v *FS) finish(b *batch) {
	var freed []run
	for _, p := range b.parts {
		v.space.slots[p.n] = p.slot
		freed = v.space.settle(p.n, p.data, freed)
	}
	for _, buf := range b.buffers {
		buf.flight = nil
	}
	v.mu.Unlock()
	defer v.mu.Lock()
	for _, r := range freed {
		if r.n >= discardLeast {
			v.dev.Discard(int64(r.first)*BlockSize, int64(r.n)*BlockSize)
		}
	}
}

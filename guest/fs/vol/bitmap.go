package vol

import "math/bits"

// bitmap says which blocks are used.
type bitmap []uint64

func newBitmap(blocks uint64) bitmap { return make(bitmap, bitmapBlocks(blocks)*(SlotBits/64)) }

func (m bitmap) has(i uint64) bool { return m[i/64]>>(i%64)&1 != 0 }
func (m bitmap) set(i uint64)      { m[i/64] |= 1 << (i % 64) }
func (m bitmap) unset(i uint64)    { m[i/64] &^= 1 << (i % 64) }

// part is what bitmap block n tells of.
func (m bitmap) part(n uint64) bitmap { return m[n*(SlotBits/64):][:SlotBits/64] }

func (m bitmap) count() (n uint64) {
	for _, w := range m {
		n += uint64(bits.OnesCount64(w))
	}
	return n
}

// space is what is free. A block that was given back is used again only when
// the superblock that knows of it is durable: busy is used and what was used when
// the last commit was made.
type space struct {
	used, busy         bitmap
	usedCount, bsCount uint64
	cursor             uint64   // where the next block is looked for
	slots              []uint8  // which of the two slots of a bitmap block counts
	changed            []uint64 // bitmap blocks, without doubles
	isChanged          []bool
}

func newSpace(blocks uint64) space {
	n := bitmapBlocks(blocks)
	return space{used: newBitmap(blocks), busy: newBitmap(blocks), slots: make([]uint8, n), isChanged: make([]bool, n),
		cursor: dataStart(blocks)}
}

func (s *space) touch(i uint64) {
	n := i / SlotBits
	if !s.isChanged[n] {
		s.isChanged[n] = true
		s.changed = append(s.changed, n)
	}
}

// alloc takes a block, after the one before if that is free; 0 is none.
func (v *FS) alloc() uint64 {
	s := &v.space
	for i, n := s.cursor, v.sb.blocks; n > 0; n-- {
		if i >= v.sb.blocks {
			i = dataStart(v.sb.blocks)
		}
		if w := s.busy[i/64]; i%64 == 0 && w == ^uint64(0) && n > 64 {
			i, n = i+64, n-63
			continue
		} else if w>>(i%64)&1 == 0 {
			s.used.set(i)
			s.busy.set(i)
			s.usedCount++
			s.bsCount++
			s.touch(i)
			s.cursor = i + 1
			return i
		}
		i++
	}
	return 0
}

// free gives a block back. One that is free already is damage: nothing more is
// written.
func (v *FS) free(p pointer) {
	if !v.sb.valid(p) || !v.space.used.has(p.block) {
		v.broken = true
		return
	}
	v.space.used.unset(p.block)
	v.space.usedCount--
	v.space.touch(p.block)
}

// encodeSlot is a bitmap block as a commit writes it.
func (s *space) encodeSlot(n, generation uint64) *block {
	b := new(block)
	for i, w := range s.used.part(n) {
		put64(b[SlotHeader+8*i:], w)
	}
	put64(b[slotGeneration:], generation)
	put32(b[slotChecksum:], slotSum(b))
	return b
}

// slotSum covers all of a slot but itself.
func slotSum(b *block) uint32 {
	c := *b
	clear(c[slotChecksum:][:4])
	return Checksum(c[:])
}

// slotPlace is the block of a slot.
func slotPlace(n uint64, slot uint8) uint64 { return firstBitmapBlock + 2*n + uint64(slot) }

// readBitmap loads what the newest slots say that are not newer than the
// superblock. A slot that is newer is of a commit that never was: its bitmap
// block is written by the next one, lest it count then.
func (v *FS) readBitmap() error {
	pair := make([]byte, 2*BlockSize)
	for n := range bitmapBlocks(v.sb.blocks) {
		if err := v.dev.ReadAt(pair, int64(slotPlace(n, 0))*BlockSize); err != nil {
			return err
		}
		if !v.readSlots(n, (*block)(pair[:BlockSize]), (*block)(pair[BlockSize:])) {
			return errChecksum
		}
	}
	for i := v.sb.blocks; i < uint64(len(v.space.used))*64; i++ {
		v.space.used.unset(i)
		v.space.busy.unset(i)
	}
	v.recount()
	return nil
}

func (v *FS) readSlots(n uint64, pair ...*block) bool {
	best, newest := -1, uint64(0)
	for i, b := range pair {
		g := get64(b[slotGeneration:])
		switch {
		case g == 0 || get32(b[slotChecksum:]) != slotSum(b):
		case g > v.sb.generation:
			v.space.touch(n * SlotBits)
		case best < 0 || g > newest:
			best, newest = i, g
		}
	}
	if best < 0 {
		return false
	}
	v.space.slots[n] = uint8(best)
	part := v.space.used.part(n)
	for i := range part {
		part[i] = get64(pair[best][SlotHeader+8*i:])
	}
	copy(v.space.busy.part(n), part)
	return true
}

func (v *FS) recount() {
	v.space.usedCount = v.space.used.count()
	v.space.bsCount = v.space.busy.count()
}

// settle makes blocks free that a durable superblock does without, and returns
// runs of them that are worth a discard.
func (s *space) settle(n uint64, written *block, runs []run) []run {
	busy := s.busy.part(n)
	for i := range busy {
		w := get64(written[SlotHeader+8*i:])
		s.bsCount -= uint64(bits.OnesCount64(busy[i]) - bits.OnesCount64(w))
		for freed := busy[i] &^ w; freed != 0; freed &= freed - 1 {
			runs = addRun(runs, n*SlotBits+uint64(i*64+bits.TrailingZeros64(freed)))
		}
		busy[i] = w
	}
	return runs
}

// run is blocks side by side.
type run struct{ first, n uint64 }

func addRun(runs []run, i uint64) []run {
	if k := len(runs); k > 0 && runs[k-1].first+runs[k-1].n == i {
		runs[k-1].n++
		return runs
	}
	return append(runs, run{i, 1})
}

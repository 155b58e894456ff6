package fs

// alone does what changes whole sectors, with those for itself as writes have them.
func (d *block) alone(off, end int64, do func(off, end int64) Errno) Errno {
	r := writeRange{off, end, false}
	d.writes.enter(r)
	defer d.writes.leave(r)
	return do(off, end)
}

// discard forgets what whole sectors hold.
func (d *block) discard(off, end int64) Errno { return d.disk.Discard(off, end-off) }

// zero makes whole sectors read as zero.
func (d *block) zero(off, end int64) Errno {
	if e := d.disk.WriteZeroes(off, end-off); e != ENOTSUP {
		return e
	}
	zeroes := make([]byte, min(end-off, edgeLen))
	for ; off < end; off += int64(len(zeroes)) {
		if _, e := d.disk.WriteAt(zeroes[:min(end-off, int64(len(zeroes)))], off); e != 0 {
			return e
		}
	}
	return 0
}

// punch gives back the space of whole sectors, which then read as zero. What a
// disk makes of a discard is not said, but most read as zero: it is looked at, since
// writing zeroes would take the space again.
func (d *block) punch(off, end int64) Errno {
	if d.discard(off, end) != 0 {
		return d.zero(off, end)
	}
	buf := edgeBuffers.Get().(*edgeBuffer)
	defer edgeBuffers.Put(buf)
	for ; off < end; off += edgeLen {
		part := buf[:min(end-off, edgeLen)]
		if _, e := d.disk.ReadAt(part, off); e != 0 {
			return e
		}
		if isZero(part) {
			continue
		}
		if e := d.zero(off, off+int64(len(part))); e != 0 {
			return e
		}
	}
	return 0
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

package fs

import "sync"

// edgeLen is how much goes through a buffer at once where a transfer does not
// begin or end at a sector, in bytes.
const edgeLen = 64 << 10

type edgeBuffer [edgeLen]byte

var edgeBuffers = sync.Pool{New: func() any { return new(edgeBuffer) }}

// whole is whether a range is of whole sectors.
func (d *block) whole(off, n int64) bool { return (off|n)&(d.sector-1) == 0 }

// straight is how many of n bytes from off on are whole sectors that come first.
func (d *block) straight(off int64, n int) int {
	if off&(d.sector-1) != 0 {
		return 0
	}
	return n &^ int(d.sector-1)
}

// around are the sectors that a transfer through a buffer takes, and how many of
// the caller's n bytes those are: all if they fit, else those before the first
// sector that can go straight.
func (d *block) around(off int64, n int) (first, last int64, bytes int) {
	first = off &^ (d.sector - 1)
	last = (off + int64(n) + d.sector - 1) &^ (d.sector - 1)
	if last-first > edgeLen {
		last = first + d.sector
	}
	return first, last, int(min(last-off, int64(n)))
}

// clipTo bounds a transfer by the end of the disk.
func (d *block) clipTo(b []byte, off int64) []byte { return b[:min(int64(len(b)), d.size-off)] }

func (d *block) readAt(f *file, b []byte, off int64) (done int, e Errno) {
	switch {
	case off >= d.size:
		return 0, 0
	case f.has(O_DIRECT) && !d.whole(off, int64(len(b))):
		return 0, EINVAL
	}
	return d.readAll(d.clipTo(b, off), off)
}

// readAll reads as much of b as it can. An error is told when that is nothing.
func (d *block) readAll(b []byte, off int64) (done int, e Errno) {
	for done < len(b) && e == 0 {
		var n int
		n, e = d.read(b[done:], off+int64(done))
		done += n
	}
	if done > 0 {
		e = 0
	}
	return done, e
}

// read reads the first part of b.
func (d *block) read(b []byte, off int64) (int, Errno) {
	if n := d.straight(off, len(b)); n > 0 {
		return d.disk.ReadAt(b[:n], off)
	}
	buf := edgeBuffers.Get().(*edgeBuffer)
	defer edgeBuffers.Put(buf)
	first, last, n := d.around(off, len(b))
	if _, e := d.disk.ReadAt(buf[:last-first], first); e != 0 {
		return 0, e
	}
	return copy(b[:n], buf[off-first:]), 0
}

// writeAt writes at off, O_APPEND or not, as on Linux.
func (d *block) writeAt(f *file, b []byte, off int64) (done int, end int64, e Errno) {
	switch {
	case d.disk.ReadOnly():
		return 0, off, EPERM
	case off >= d.size:
		return 0, off, ENOSPC
	case f.has(O_DIRECT) && !d.whole(off, int64(len(b))):
		return 0, off, EINVAL
	}
	done, e = d.writeAll(d.clipTo(b, off), off)
	if e == 0 && f.has(O_DSYNC) {
		e = d.disk.Flush()
	}
	if e != 0 {
		done = 0
	}
	return done, off + int64(done), e
}

// writeAll is readAll's counterpart.
func (d *block) writeAll(b []byte, off int64) (done int, e Errno) {
	for done < len(b) && e == 0 {
		var n int
		n, e = d.write(b[done:], off+int64(done))
		done += n
	}
	if done > 0 {
		e = 0
	}
	return done, e
}

// write writes the first part of b. Nobody else writes to a sector of which only a
// part is written, between reading it and writing it.
func (d *block) write(b []byte, off int64) (int, Errno) {
	if n := d.straight(off, len(b)); n > 0 {
		r := writeRange{off, off + int64(n), false}
		d.writes.enter(r)
		defer d.writes.leave(r)
		return d.disk.WriteAt(b[:n], off)
	}
	first, last, n := d.around(off, len(b))
	r := writeRange{first, last, true}
	d.writes.enter(r)
	defer d.writes.leave(r)
	if e := d.change(b[:n], off, first, last); e != 0 {
		return 0, e
	}
	return n, 0
}

// change writes b, at off, into the sectors [first, last).
func (d *block) change(b []byte, off, first, last int64) Errno {
	buf := edgeBuffers.Get().(*edgeBuffer)
	defer edgeBuffers.Put(buf)
	sectors := buf[:last-first]
	if e := d.readEdges(sectors, first, off, off+int64(len(b))); e != 0 {
		return e
	}
	copy(sectors[off-first:], b)
	_, e := d.disk.WriteAt(sectors, first)
	return e
}

// readEdges reads the sectors of which only a part is in [from, to): the first and
// the last of the buffer.
func (d *block) readEdges(buf []byte, first, from, to int64) Errno {
	last := int64(len(buf)) - d.sector
	if from > first || to < first+d.sector {
		if _, e := d.disk.ReadAt(buf[:d.sector], first); e != 0 {
			return e
		}
	}
	if last == 0 || to == first+int64(len(buf)) {
		return 0
	}
	_, e := d.disk.ReadAt(buf[last:], first+last)
	return e
}

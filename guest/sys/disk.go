package sys

import (
	"sync"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// findDisks lists the machine's disks.
func findDisks() []fs.MachineDisk {
	info := guest.Info()
	records := unsafe.Slice((*hypercall.Disk)(pointer(uintptr(info.Disks.Addr))), info.DiskCount)
	list := make([]fs.MachineDisk, len(records))
	for i := range records {
		r := &records[i]
		facts := diskFacts{int64(r.Bytes), int(r.SectorSize), r.Flags}
		if r.Ring != 0 {
			list[i].Disk = &ringDisk{facts, newRing(r.Ring)}
		} else { // at most four
			list[i].Disk = &ataDisk{diskFacts: facts, number: i % guest.MaxATA}
		}
		list[i].Path = string(guest.Bytes(r.Path))
	}
	return list
}

// diskFacts are what the start-info page says of a disk.
type diskFacts struct {
	size   int64
	sector int
	flags  uint32
}

func (d *diskFacts) Size() int64     { return d.size }
func (d *diskFacts) SectorSize() int { return d.sector }
func (d *diskFacts) ReadOnly() bool  { return d.flags&hypercall.DiskReadOnly != 0 }

// ringDisk is a disk behind a block ring.
type ringDisk struct {
	diskFacts
	ring *ring
}

func (d *ringDisk) ReadAt(b []byte, off int64) (int, fs.Errno) {
	if stacked(b) {
		return d.bounced(hypercall.BlockRead, b, off)
	}
	return d.transfer(hypercall.BlockRead, b, off)
}

func (d *ringDisk) WriteAt(b []byte, off int64) (int, fs.Errno) {
	if stacked(b) {
		return d.bounced(hypercall.BlockWrite, b, off)
	}
	return d.transfer(hypercall.BlockWrite, b, off)
}

// atOnce is how many pieces of one transfer are under way together.
const atOnce = 4

// transfer moves b, which is not on a stack, in pieces that the host takes.
func (d *ringDisk) transfer(op hypercall.BlockOp, b []byte, off int64) (done int, e fs.Errno) {
	for done < len(b) && e == 0 {
		var n int
		n, e = d.pieces(op, b[done:], off+int64(done))
		done += n
	}
	return done, e
}

// pieces moves the first pieces of b, and returns how much went well before the
// first that did not.
func (d *ringDisk) pieces(op hypercall.BlockOp, b []byte, off int64) (done int, e fs.Errno) {
	var slots [atOnce]*slot
	blocks.mu.Lock()
	defer blocks.mu.Unlock()
	begun := 0
	for at := 0; at < len(b) && begun < atOnce && (begun == 0 || d.ring.hasRoom()); begun++ {
		p := b[at:min(len(b), at+hypercall.MaxBlockBytes)]
		q := hypercall.BlockRequest{Op: op, Count: 1, Offset: uint64(off) + uint64(at), Length: uint64(len(p))}
		q.Segments[0] = hypercall.BlockSegment{Addr: gva(unsafe.Pointer(&p[0])), Len: uint64(len(p))}
		slots[begun] = d.ring.begin(&q, unsafe.Pointer(&p[0]))
		at += len(p)
	}
	for _, s := range slots[:begun] {
		_, failed := linux(s.end())
		if e == 0 && failed == 0 {
			done += min(len(b)-done, hypercall.MaxBlockBytes)
		} else if e == 0 {
			e = failed
		}
	}
	return done, e
}

// bounceLen is how much of a buffer on a stack is moved at once, in bytes.
const bounceLen = 64 << 10

var bounces = sync.Pool{New: func() any { return new([bounceLen]byte) }}

// bounced moves a buffer on the goroutine's stack, which can move, by way of
// another one.
func (d *ringDisk) bounced(op hypercall.BlockOp, b []byte, off int64) (done int, e fs.Errno) {
	buf := bounces.Get().(*[bounceLen]byte)
	defer bounces.Put(buf)
	for done < len(b) && e == 0 {
		part := b[done:min(len(b), done+bounceLen)]
		if op == hypercall.BlockWrite {
			copy(buf[:], part)
		}
		var n int
		n, e = d.transfer(op, buf[:len(part)], off+int64(done))
		if op == hypercall.BlockRead {
			copy(part[:n], buf[:])
		}
		done += n
	}
	return done, e
}

func (d *ringDisk) Flush() fs.Errno { return d.command(hypercall.BlockFlush, 0, 0) }

func (d *ringDisk) Discard(off, n int64) fs.Errno {
	if d.flags&hypercall.DiskDiscard == 0 {
		return fs.ENOTSUP
	}
	return d.command(hypercall.BlockDiscard, off, n)
}

func (d *ringDisk) WriteZeroes(off, n int64) fs.Errno {
	if d.flags&hypercall.DiskZeroes == 0 {
		return fs.ENOTSUP
	}
	return d.command(hypercall.BlockWriteZeroes, off, n)
}

// command makes a request without a buffer.
func (d *ringDisk) command(op hypercall.BlockOp, off, n int64) fs.Errno {
	q := hypercall.BlockRequest{Op: op, Offset: uint64(off), Length: uint64(n)}
	_, e := linux(d.ring.ask(&q, nil))
	return e
}

package hv

import (
	"errors"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// start does a request if it does not have to wait for the host, and says so.
func (b *blocks) start(j *blockJob, who server) (done bool) {
	b.count.requests.Add(1)
	if who == byVCPU {
		b.count.inline.Add(1)
	}
	if s := b.prepare(j); s != 0 {
		b.complete(j, failed(s), who)
		return true
	}
	n := b.countBytes(j)
	began := rdtsc()
	if !j.quick(began) {
		return false
	}
	result := b.perform(j, true)
	if result == blocked {
		return false
	}
	if j.writes() {
		j.ring.pace.note(began, rdtsc(), b.slow+b.slow*n>>20)
	}
	b.complete(j, result, who)
	return true
}

func (b *blocks) countBytes(j *blockJob) (n uint64) {
	for _, p := range j.pieces {
		n += uint64(len(p))
	}
	if j.writes() {
		b.count.writtenBytes.Add(n)
	} else {
		b.count.readBytes.Add(n)
	}
	return n
}

// pace knows whether writes only copy into the host's memory, as they mostly do.
type pace struct {
	credit atomic.Int32  // writes that have to pass until one slow write is forgiven
	until  atomic.Uint64 // TSC until which they are taken to be slow
}

const (
	// slowTwice is among how many writes two slow ones mean that it was not only
	// the host that ran something else for a moment.
	slowTwice = 16
	// slowFor is for how many times slowWrite writes are then taken to be slow.
	slowFor = 50
)

func (p *pace) slow(now uint64) bool { return now < p.until.Load() }

func (p *pace) note(began, now, slow uint64) {
	switch left := p.credit.Load(); {
	case now-began < slow && left > 0:
		p.credit.Add(-1)
	case now-began < slow:
	case left > 0:
		p.until.Store(now + slowFor*slow)
	default:
		p.credit.Store(slowTwice)
	}
}

// blocked is a result that no guest sees: it would have to wait.
const blocked = -1 << 32

// perform does a request that was prepared: 0, or minus a status.
func (b *blocks) perform(j *blockJob, nowait bool) int64 {
	if j.ring.back == nil {
		return b.performFile(j, nowait)
	}
	q, back := &j.req, j.ring.back
	off, n := int64(q.Offset), int64(q.Length)
	switch q.Op {
	case hypercall.BlockRead:
		return blockResult(b.read(j, nowait))
	case hypercall.BlockWrite:
		return blockResult(back.WriteAt(j.pieces, off))
	case hypercall.BlockFlush:
		return blockResult(back.Flush())
	case hypercall.BlockDiscard:
		return blockResult(b.inParts(off, n, back.Discard))
	}
	return blockResult(b.inParts(off, n, back.WriteZeroes))
}

// read fills a request's buffer. A paging call may take the host's right to write
// to it for a moment (memory.refresh): the kernel then says EFAULT, and Go's copies
// are made under the lock that such calls have too.
func (b *blocks) read(j *blockJob, nowait bool) error {
	if j.ring.kernel {
		err := j.ring.back.ReadAt(j.pieces, int64(j.req.Offset), nowait)
		if !errors.Is(err, unix.EFAULT) {
			return err
		}
	}
	buf := make([]byte, j.req.Length)
	if err := j.ring.back.ReadAt([][]byte{buf}, int64(j.req.Offset), nowait); err != nil {
		return err
	}
	b.tables.scatter(j.pieces, buf)
	return nil
}

// partBytes bounds what is done of a long range before the machine's end is looked
// for.
const partBytes = 64 << 20

func (b *blocks) inParts(off, n int64, do func(off, n int64) error) error {
	for n > 0 {
		part := min(n, partBytes)
		if b.closed.Load() {
			return unix.EIO // nobody reads it
		}
		if err := do(off, part); err != nil {
			return err
		}
		off += part
		n -= part
	}
	return nil
}

func blockResult(err error) int64 {
	if err == nil {
		return 0 // errno below is on the heap
	}
	var errno unix.Errno
	switch {
	case err == disk.ErrWouldBlock:
		return blocked
	case errors.As(err, &errno) && errno != 0:
		return -int64(errno)
	}
	return failed(hypercall.EIO)
}

package hv

import (
	"errors"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// pause tells the processor that it is in a loop that waits (PAUSE).
func pause()

// usableCPUs is how many processors this process may run on.
func usableCPUs() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 1
	}
	return set.Count()
}

// bell is what the guest's doorbell rings: in the host's kernel, or by the call.
type bell struct{ fd int }

func (e *bell) open() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return &HostError{"create eventfd", err}
	}
	e.fd = fd
	return nil
}

func (e *bell) close() error { return unix.Close(e.fd) }

func (e *bell) ring() {
	one := [8]byte{1} // any number but 0 will do
	_, _ = unix.Write(e.fd, one[:])
}

// wait returns when the bell was rung.
func (e *bell) wait() {
	var b [8]byte
	for {
		if _, err := unix.Read(e.fd, b[:]); err != unix.EINTR {
			return
		}
	}
}

// run is the worker: it sleeps until the guest rings, and serves the rings for as
// long as requests keep coming.
func (b *blocks) run() {
	defer close(b.done)
	defer b.rescue()
	for {
		b.bell.wait()
		if b.closed.Load() {
			return
		}
		b.count.bells.Add(1)
		if b.spin == 0 {
			// The guest has the one CPU, and serves itself when it blocks.
			_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
		for b.serveAwake() {
		}
	}
}

// serveAwake serves the rings until nothing has come for a while, and says whether
// something has come since.
func (b *blocks) serveAwake() (more bool) {
	b.awake.Store(b.spin > 0)
	b.setPolling(b.spin > 0)
	idle, last := uint64(0), rdtsc()
	for !b.closed.Load() {
		n := b.serve(byWorker)
		now := rdtsc()
		waits := b.tellLate(now, false)
		// A long turn is one in which the host ran something else.
		idle += min(now-last, b.spin/8)
		last = now
		switch {
		case n > 0:
			idle = 0
			continue
		case !waits && idle >= b.spin:
			return b.sleep()
		}
		b.count.polls.Add(1)
		pause()
	}
	return false
}

// sleep makes sure that the worker is woken for whatever comes from now on.
func (b *blocks) sleep() (more bool) {
	b.setPolling(false)
	b.awake.Store(false)
	b.tellLate(0, true)
	for _, r := range b.rings {
		if r.arm() {
			more = true
		}
	}
	return more && !b.closed.Load()
}

func (b *blocks) setPolling(on bool) {
	v := uint32(0)
	if on {
		v = 1
	}
	for _, r := range b.rings {
		atomic.StoreUint32(&r.shared.Polling, v)
	}
}

// server is who does a request.
type server int

const (
	byWorker server = iota
	byVCPU          // the guest is out, and looks at events when it goes on
	byPool
)

// serve takes what is in the rings, up to what fits into them, and does it or has
// it done; n is how much that was.
func (b *blocks) serve(who server) (n int) {
	for _, r := range b.rings {
		for range hypercall.BlockRingSize {
			j, err := r.take()
			if err != nil {
				b.fail(err)
			}
			if j == nil {
				break
			}
			n++
			b.count.requests.Add(1)
			if who == byVCPU {
				b.count.inline.Add(1)
			}
			b.start(j, who)
		}
	}
	return n
}

// serveBlocked is for a guest that is about to wait: what it has asked for is done
// at once, and what it has to be told it is told.
func (b *blocks) serveBlocked() {
	if b == nil {
		return
	}
	for {
		b.serve(byVCPU)
		b.tellLate(0, true)
		if b.awake.Load() || !b.arm() {
			return
		}
	}
}

func (b *blocks) arm() (ready bool) {
	for _, r := range b.rings {
		ready = r.arm() || ready
	}
	return ready && b.failed.Load() == nil
}

// busy says whether requests are under way.
func (b *blocks) busy() bool {
	if b == nil {
		return false
	}
	for _, r := range b.rings {
		if r.busy() {
			return true
		}
	}
	return false
}

// start does a request here if it does not have to wait for the host.
func (b *blocks) start(j *blockJob, who server) {
	if s := b.prepare(j); s != 0 {
		b.complete(j, failed(s), who)
		return
	}
	b.countBytes(j)
	began := rdtsc()
	if !j.quick(began) {
		b.later(j)
		return
	}
	result := b.perform(j, true)
	if result == blocked {
		b.later(j)
		return
	}
	if j.writes() {
		j.ring.pace.note(began, rdtsc(), b.slow)
	}
	b.complete(j, result, who)
}

func (b *blocks) countBytes(j *blockJob) {
	n := uint64(0)
	for _, p := range j.pieces {
		n += uint64(len(p))
	}
	if j.writes() {
		b.count.writtenBytes.Add(n)
	} else {
		b.count.readBytes.Add(n)
	}
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
	var errno unix.Errno
	switch {
	case err == nil:
		return 0
	case err == disk.ErrWouldBlock:
		return blocked
	case errors.As(err, &errno) && errno != 0:
		return -int64(errno)
	}
	return failed(hypercall.EIO)
}

// complete answers a request, and tells the guest where it wants that.
func (b *blocks) complete(j *blockJob, result int64, who server) {
	b.tables.unpin(j)
	b.count.done.Add(1)
	r := j.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.put(j, result) {
		b.tell(r, who)
	}
}

// tell raises EventBlock: at once when the guest waits, and of a guest that runs
// only when it has not seen by itself, after a while, what it is to be told. The
// ring is locked.
func (b *blocks) tell(r *blockRing, who server) {
	kick := &b.vm.kick
	switch {
	case who == byVCPU:
		b.count.events.Add(1)
		kick.raised.Or(1 << hypercall.EventBlock)
	case kick.state.Load() != running || !b.awake.Load():
		b.count.events.Add(1)
		b.vm.raise(hypercall.EventBlock)
	default:
		r.upTo = r.prod
		if r.late.Load() == 0 {
			r.late.Store(rdtsc() | 1)
		}
	}
}

// tellLate looks after events that were put off, and says whether some still are.
// With now they are not put off any longer.
func (b *blocks) tellLate(at uint64, now bool) (waits bool) {
	for _, r := range b.rings {
		if r.late.Load() != 0 && b.tellRing(r, at, now) {
			waits = true
		}
	}
	return waits
}

func (b *blocks) tellRing(r *blockRing, at uint64, now bool) (waits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := r.late.Load()
	switch {
	case since == 0:
		return false
	case r.taken():
	case now || at-since >= b.late && at > since || b.vm.kick.state.Load() != running:
		b.count.events.Add(1)
		b.count.late.Add(1)
		b.vm.raise(hypercall.EventBlock)
	default:
		return true
	}
	r.late.Store(0)
	return false
}

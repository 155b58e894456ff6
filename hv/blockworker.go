package hv

import (
	"sync"
	"sync/atomic"

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

// bell is what the guest's doorbell rings: by the call, and in the host's kernel when
// that has come often.
type bell struct {
	fd     int
	called int
}

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

// workers is how many there are: while one does what has to wait for the host, on a
// thread that is awake, the other hears the bell.
const workers = 2

// crew is the workers. Of those that sleep one listens for the bell, and the rest
// wait to be the listener.
type crew struct {
	mu       sync.Mutex
	relief   sync.Cond
	sleeping int // in relief
	listens  bool
	all      sync.WaitGroup

	awake atomic.Int32 // how many poll
}

func (b *blocks) beginWorkers() {
	b.crew.relief.L = &b.crew.mu
	b.crew.all.Add(workers)
	for range workers {
		go b.worker()
	}
}

// endWorkers waits until they are gone. The blocks are closed.
func (b *blocks) endWorkers() {
	if b.crew.relief.L == nil {
		return
	}
	b.bell.ring()
	b.crew.mu.Lock()
	b.crew.relief.Broadcast()
	b.crew.mu.Unlock()
	b.crew.all.Wait()
}

// worker sleeps until the guest rings, and serves the rings for as long as requests
// keep coming.
func (b *blocks) worker() {
	defer b.crew.all.Done()
	defer b.vm.rescue()
	for b.sleepUntilRung() {
		b.serveRung()
	}
}

func (b *blocks) sleepUntilRung() bool {
	c := &b.crew
	c.mu.Lock()
	for c.sleeping++; c.listens && !b.closed.Load(); {
		c.relief.Wait()
	}
	c.sleeping--
	c.listens = true
	c.mu.Unlock()
	if !b.closed.Load() {
		b.bell.wait()
	}
	c.mu.Lock()
	c.listens = false
	c.mu.Unlock()
	if b.closed.Load() {
		return false
	}
	b.count.bells.Add(1)
	if b.spin == 0 {
		// The guest has the one CPU, and serves itself when it blocks.
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
	return true
}

// relieved says whether the bell is heard while the one that asks is busy.
func (b *blocks) relieved() bool {
	c := &b.crew
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listens {
		return true
	}
	c.relief.Signal()
	return c.sleeping > 0
}

// serveRung serves the rings until there is nothing to do. A job that came alone and
// has to wait for the host is done here, if somebody else hears the bell meanwhile.
func (b *blocks) serveRung() {
	b.rise()
	for more := true; more && !b.closed.Load(); {
		j := b.serveAwake()
		if j == nil || !b.relieved() {
			if j != nil {
				b.later(j)
			}
			if more = b.rest(false) || j != nil; more {
				b.rise()
			}
			continue
		}
		b.count.waited.Add(1)
		soon := b.spin > 0 && j.syncs() && b.synced.Load() < b.short
		if b.rest(soon) {
			b.bell.ring() // what has come is the other's
		}
		b.carryOut(j, b.rise) // the guest goes on at once
	}
}

// serveAwake serves the rings until nothing has come for a while, or until there is
// a job that has to wait for the host.
func (b *blocks) serveAwake() (waits *blockJob) {
	idle, last := uint64(0), rdtsc()
	for !b.closed.Load() {
		n, j := b.serve(byWorker)
		if j != nil {
			return j
		}
		now := rdtsc()
		late := b.tellLate(now, false)
		// A long turn is one in which the host ran something else.
		idle += min(now-last, b.spin/8)
		last = now
		switch {
		case n > 0:
			idle = 0
			continue
		case !late && (idle >= b.spin || b.hushed.Load()):
			return nil
		}
		b.count.polls.Add(1)
		pause()
	}
	return nil
}

// called notes a call that could have come by a ring. Of two in quick succession more
// are likely to come, so a worker shall look for them; the vCPU's thread calls it.
func (b *blocks) called() {
	if b == nil || b.spin == 0 || b.crew.awake.Load() > 0 {
		return
	}
	now := rdtsc()
	if now-b.lastCall < b.spin {
		b.bell.ring()
		now = 0 // and not for the next one again
	}
	b.lastCall = now
}

// hush has no worker poll while the vCPU's thread waits for the host's disk: whoever
// spins keeps the kernel's own threads from a processor. Behind a sync more is likely
// to come, so the function that it returns, which ends it, wakes a worker.
func (b *blocks) hush() (end func()) {
	if b == nil || b.spin == 0 {
		return func() {}
	}
	b.hushed.Store(true)
	return func() {
		b.hushed.Store(false)
		b.bell.ring()
	}
}

// rise lets the guest know that its requests are looked for.
func (b *blocks) rise() {
	if b.spin == 0 {
		return
	}
	b.crew.mu.Lock()
	defer b.crew.mu.Unlock()
	if b.crew.awake.Add(1) == 1 {
		b.setPolling(hypercall.PollingRequests)
	}
}

// rest has the guest ring from now on, unless another worker is awake, and says
// whether something has come by then. With soon what is under way is soon done.
func (b *blocks) rest(soon bool) (more bool) {
	b.crew.mu.Lock()
	defer b.crew.mu.Unlock()
	if b.spin > 0 && b.crew.awake.Add(-1) > 0 {
		return false
	}
	hint := uint32(0)
	if soon {
		hint = hypercall.PollingDone
	}
	b.setPolling(hint)
	b.tellLate(0, true)
	return b.arm() && !b.closed.Load()
}

func (b *blocks) setPolling(v uint32) {
	for _, r := range b.rings {
		atomic.StoreUint32(&r.shared.Polling, v)
	}
}

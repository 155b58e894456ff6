package hv

import (
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

// worker sleeps until the guest rings, and serves the rings for as long as requests
// keep coming. A job that came alone and has to wait for the host it does itself, on
// a thread that is awake, and has another goroutine be the worker.
func (b *blocks) worker(rung bool) {
	if j := b.lead(rung); j != nil {
		go b.worker(true)
		b.count.waited.Add(1)
		b.work(j)
	}
}

// lead is the worker until the machine is closed, or until there is a job for it as
// one of the pool.
func (b *blocks) lead(rung bool) (j *blockJob) {
	defer func() {
		if j == nil {
			close(b.done)
		}
	}()
	defer b.rescue()
	for ; !b.closed.Load(); rung = false {
		if !rung && !b.sleepUntilRung() {
			break
		}
		if j = b.serveRung(); j != nil {
			return j
		}
	}
	return nil
}

func (b *blocks) sleepUntilRung() bool {
	b.bell.wait()
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

// serveRung serves the rings until there is nothing to do, or until there is a job
// for the worker as one of the pool.
func (b *blocks) serveRung() *blockJob {
	for {
		more, j := b.serveAwake()
		switch {
		case j != nil && b.pool.join():
			return j
		case j != nil:
			b.later(j)
		case !more:
			return nil
		}
	}
}

// serveAwake serves the rings until nothing has come for a while, and says whether
// something has come since; or until there is a job that has to wait for the host.
func (b *blocks) serveAwake() (more bool, waits *blockJob) {
	b.awake.Store(b.spin > 0)
	b.setPolling(b.spin > 0)
	idle, last := uint64(0), rdtsc()
	for !b.closed.Load() {
		n, j := b.serve(byWorker)
		if j != nil {
			return false, j
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
		case !late && idle >= b.spin:
			return b.sleep(), nil
		}
		b.count.polls.Add(1)
		pause()
	}
	return false, nil
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

// serve takes what is in the rings, up to what fits into them, and does it or leaves
// it to the pool; n is how much that was. The last job of those that have to wait for
// the host is left to the caller. The vCPU's thread has other work too, and does not
// go on for long.
func (b *blocks) serve(who server) (n int, waits *blockJob) {
	began := rdtsc()
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
			if !b.start(j, who) {
				if waits != nil {
					b.later(waits)
				}
				waits = j
			}
			switch now := rdtsc(); {
			case who == byWorker:
				b.tellLate(now, false)
			case now-began >= b.patience:
				return n, waits
			}
		}
	}
	return n, waits
}

// serveAll is serve for those who do not wait.
func (b *blocks) serveAll(who server) (n int) {
	n, j := b.serve(who)
	if j != nil {
		b.later(j)
	}
	return n
}

// serveBlocked is for a guest that is about to wait: what it has asked for is done
// at once, and what it has to be told it is told.
func (b *blocks) serveBlocked() {
	if b == nil {
		return
	}
	for began := rdtsc(); ; {
		b.serveAll(byVCPU)
		b.tellLate(0, true)
		switch {
		case rdtsc()-began >= b.patience:
			b.bell.ring()
			return
		case b.awake.Load() || !b.arm():
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

package hv

import "github.com/pvrun/pvrun/hypercall"

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
				b.vm.fail(err)
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
		case b.crew.awake.Load() > 0 || !b.arm():
			return
		}
	}
}

func (b *blocks) arm() (ready bool) {
	for _, r := range b.rings {
		ready = r.arm() || ready
	}
	return ready && b.vm.failed.Load() == nil
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

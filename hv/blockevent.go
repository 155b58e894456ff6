package hv

import "github.com/pvrun/pvrun/hypercall"

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
	case kick.state.Load() != running || b.crew.awake.Load() == 0:
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
// With now they are not put off any longer, nor is one that somebody, who has the ring
// locked, is about to put off.
func (b *blocks) tellLate(at uint64, now bool) (waits bool) {
	for _, r := range b.rings {
		if (now || r.late.Load() != 0) && b.tellRing(r, at, now) {
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

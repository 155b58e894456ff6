package hv

import (
	"sync/atomic"

	"github.com/pvrun/pvrun/hypercall"
)

// tardy is what a guest that runs has to be told of, but may see by itself before it is
// worth interrupting. The worker alone writes it, but for since, which the vCPU's thread
// takes when the guest blocks.
type tardy struct {
	since   atomic.Uint64 // TSC of the first; 0: nothing
	packets want          // of Receive, up to an index
	room    want          // in Transmit, where Prod was then
}

type want struct {
	some  bool
	index uint32
}

// tell raises EventNet for what is wanted: at once when the guest waits, else when it
// has not seen it by itself after a while.
func (a *adapter) tell(w *want, index uint32) {
	if !a.awake.Load() || a.net.vm.kick.state.Load() != running {
		a.raise()
		return
	}
	*w = want{true, index}
	if a.told.since.Load() == 0 {
		a.told.since.Store(rdtsc() | 1)
	}
}

// raise tells the guest now, of everything.
func (a *adapter) raise() {
	a.told.since.Store(0)
	a.told.packets, a.told.room = want{}, want{}
	a.net.count.events.Add(1)
	a.net.vm.raise(hypercall.EventNet)
}

// tellLate looks after what was put off, and says whether some still is. With now it is
// put off no longer.
func (a *adapter) tellLate(at uint64, now bool) (waits bool) {
	since := a.told.since.Load()
	switch {
	case since == 0:
		return false
	case a.seen():
		a.told.since.Store(0)
		a.told.packets, a.told.room = want{}, want{}
		return false
	case now || at-since >= a.net.late && at > since || a.net.vm.kick.state.Load() != running:
		a.net.count.late.Add(1)
		a.raise()
		return false
	}
	return true
}

// seen says whether the guest has taken the packets that it was to be told of, and has
// used the room.
func (a *adapter) seen() bool {
	p, r := a.told.packets, a.told.room
	return (!p.some || int32(atomic.LoadUint32(&a.rx.ring.Cons)-p.index) >= 0) &&
		(!r.some || atomic.LoadUint32(&a.tx.ring.Prod) != r.index)
}

// tellBlocked is for a guest that is about to wait: it gets at once what was put off.
// The vCPU's thread calls it, and then looks at what was raised.
func (n *network) tellBlocked() {
	if n == nil {
		return
	}
	for _, a := range n.nics {
		if a.told.since.Swap(0) != 0 {
			n.count.events.Add(1)
			n.vm.kick.raised.Or(1 << hypercall.EventNet)
		}
	}
}

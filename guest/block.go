package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// The kernel's part of the block rings. Goroutines fill and empty them
// (guest/sys/block.go); the kernel only looks whether there are responses: where
// the runtime asks what is ready, and before the machine waits.

// watchedRing is a ring and what the poller knows of it.
type watchedRing struct {
	at   uintptr
	told uint32 // RspProd when FDBlock was last notified
}

// rings is owned by the vCPU; which ones there are is set at the start.
var rings struct {
	n    int
	list [hypercall.MaxDisks + 1]watchedRing
}

// spinNS is how long the machine waits for a response of a host that polls, before
// it asks the host to wait; for a transfer of 1 MiB, copyNS more.
const (
	spinNS = 50_000
	copyNS = 250_000
	// promisedNS is how long it waits where the host says that it will soon be done.
	promisedNS = 600_000
)

// pause is the hint for loops that wait (Intel SDM volume 2, "PAUSE").
func pause()

func (w *watchedRing) ring() *hypercall.BlockRing {
	return (*hypercall.BlockRing)(unsafe.Pointer(w.at))
}

// initRings learns the rings. A bare machine has none.
func initRings(si *hypercall.StartInfo) {
	disks := uintptr(si.Disks.Addr)
	for range min(si.DiskCount, hypercall.MaxDisks) {
		watchRing((*hypercall.Disk)(unsafe.Pointer(disks)).Ring)
		disks += unsafe.Sizeof(hypercall.Disk{})
	}
	watchRing(si.FileRing)
	initNets(si)
}

func watchRing(at hypercall.GVA) {
	if at == 0 {
		return
	}
	w := &rings.list[rings.n]
	w.at = uintptr(at)
	atomic.StoreUint32(&w.ring().RspEvent, quiet(0))
	rings.n++
}

// quiet is an RspEvent that no response passes for a long time. While the guest
// runs it looks by itself, and an event would change nothing.
func quiet(prod uint32) uint32 { return prod + 1<<31 }

// news is whether there are responses that nobody has taken or been told of.
func (w *watchedRing) news() bool {
	r := w.ring()
	prod := atomic.LoadUint32(&r.RspProd)
	return prod != w.told && prod != atomic.LoadUint32(&r.RspCons)
}

// out is whether there are requests without a response.
func (w *watchedRing) out() bool {
	r := w.ring()
	return atomic.LoadUint32(&r.ReqProd) != atomic.LoadUint32(&r.RspProd)
}

// tellRings notifies the poller of responses and packets, and says whether there were any.
func tellRings() bool {
	any := false
	for i := range rings.n {
		if w := &rings.list[i]; w.news() {
			w.told = atomic.LoadUint32(&w.ring().RspProd)
			any = true
		}
	}
	if any {
		notify(FDBlock, epollIn)
	}
	return tellNets() || any
}

func anyNews() bool {
	for i := range rings.n {
		if rings.list[i].news() {
			return true
		}
	}
	return anyNetNews()
}

// worthSpinning is whether a response may come while the host polls.
func worthSpinning() bool {
	for i := range rings.n {
		if w := &rings.list[i]; w.out() && atomic.LoadUint32(&w.ring().Polling) != 0 {
			return true
		}
	}
	return false
}

// spinTime is how long the youngest requests may take, of a host that has their
// data at hand.
func spinTime() int64 {
	n := uint64(0)
	for i := range rings.n {
		if w := &rings.list[i]; w.out() {
			r := w.ring()
			if atomic.LoadUint32(&r.Polling) == hypercall.PollingDone {
				return promisedNS
			}
			n = max(n, r.Requests[(r.ReqProd-1)%hypercall.BlockRingSize].Length)
		}
	}
	return spinNS + int64(min(n, hypercall.MaxBlockBytes)*copyNS/hypercall.MaxBlockBytes)
}

// spinOnRings waits a little for responses, and says whether there are any, or
// something else to do.
func spinOnRings(deadline int64) bool {
	if !worthSpinning() && !awaitPolling(deadline) {
		return anyNews()
	}
	began, gathered := monotonic(), int64(hypercall.Forever)
	for atomic.LoadUint32(&vcpuPage().Pending) == 0 {
		switch some := anyNews(); {
		case some && enough():
			return true
		case some && gathered == hypercall.Forever:
			gathered = monotonic() + gatherNS
		case !worthSpinning() || monotonic() >= min(deadline, began+spinTime(), gathered):
			return some
		}
		for range pauses {
			pause()
		}
	}
	return true
}

const (
	// gatherNS is how long the first response waits for others when many are to
	// come: to wake a goroutine for each costs more than that.
	gatherNS = 6_000
	// pauses is how often the loop pauses before it takes the cache line away from
	// the host again.
	pauses = 8
)

// polling is what is known of a host that was rung for: how often in a row it has
// not begun to look soon enough, and how many chances it was not given since.
var polling struct{ missed, skipped uint32 }

const (
	// wakeNS is how long a host's thread may take to wake up.
	wakeNS = 40_000
	// Of a host that has missed so often, one request in so many is waited for.
	maxMissed = 3
	retry     = 64
)

// awaitPolling waits for a host that the doorbell has just woken. It does the work
// while the guest waits here, which costs less than an exit and lasts.
func awaitPolling(deadline int64) bool {
	if !anyOut() {
		return false
	}
	if polling.missed >= maxMissed {
		if polling.skipped++; polling.skipped%retry != 0 {
			return false
		}
	}
	for end := min(deadline, monotonic()+wakeNS); monotonic() < end; {
		switch {
		case worthSpinning():
			polling.missed = 0
			return true
		case !anyOut() || atomic.LoadUint32(&vcpuPage().Pending) != 0:
			return false
		}
		for range pauses {
			pause()
		}
	}
	polling.missed++
	return false
}

// enough is whether the responses are worth waking somebody: a quarter of all that
// are to come.
func enough() bool {
	waiting, all := uint32(0), uint32(0)
	for i := range rings.n {
		r := rings.list[i].ring()
		cons := atomic.LoadUint32(&r.RspCons)
		waiting += atomic.LoadUint32(&r.RspProd) - cons
		all += atomic.LoadUint32(&r.ReqProd) - cons
	}
	return waiting >= all/4
}

// awaitHost has the host wait until a deadline or an event, a response or a packet
// among them. Events of the rings are asked for only here.
func awaitHost(deadline int64) {
	wantNets()
	for i := range rings.n {
		if w := &rings.list[i]; w.out() {
			r := w.ring()
			atomic.StoreUint32(&r.RspEvent, atomic.LoadUint32(&r.RspProd)+1)
		}
	}
	// What came before RspEvent was set raises no event.
	began := monotonic()
	if !anyNews() {
		call(hypercall.CallBlock, uintptr(deadline), 0, 0, 0)
	}
	quietNets(monotonic() - began)
	for i := range rings.n {
		r := rings.list[i].ring()
		atomic.StoreUint32(&r.RspEvent, quiet(atomic.LoadUint32(&r.RspProd)))
	}
}

// drainRings waits until no request is without a response: none may be under way
// when the machine is suspended. Goroutines take the responses later. Other events
// stay for later too, since a wait with one pending is none.
func drainRings() {
	const step = 1_000_000 // ns
	late := uint32(0)
	for anyOut() {
		late |= atomic.SwapUint32(&vcpuPage().Pending, 0)
		call(hypercall.CallBlock, uintptr(monotonic()+step), 0, 0, 0)
	}
	if late != 0 {
		atomic.OrUint32(&vcpuPage().Pending, late)
	}
}

func anyOut() bool {
	for i := range rings.n {
		if rings.list[i].out() {
			return true
		}
	}
	return false
}

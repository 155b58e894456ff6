package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// The kernel's part of the network rings. Goroutines fill and empty them
// (guest/socket); the kernel looks whether there are packets, or room that was asked
// for, at the same places as for the block rings.

// watchedNet is an interface's rings and what the poller knows of them.
type watchedNet struct {
	at       uintptr
	told     uint32 // Receive.Prod when FDNet was last notified
	toldRoom uint32 // Transmit.ConsEvent, likewise
}

// nets is owned by the vCPU; which ones there are is set at the start.
var nets struct {
	n    int
	list [hypercall.MaxNICs]watchedNet

	missed  uint32 // how often in a row a spin has been for nothing
	skipped uint32 // chances to spin that were not taken since
}

const (
	// netSpinNS is how long the machine waits for a packet while the host looks for
	// some, and netWakeNS how soon after going to sleep it must be woken for a spin to
	// have been worth it: to be woken takes time of its own.
	netSpinNS = 50_000
	netWakeNS = 100_000
	// Of spins that have missed so often in a row, one in so many is tried.
	maxNetMissed = 4
	netRetry     = 16
)

func (w *watchedNet) rings() *hypercall.NetRings {
	return (*hypercall.NetRings)(unsafe.Pointer(w.at))
}

func initNets(si *hypercall.StartInfo) {
	at := uintptr(si.NICs.Addr)
	for range min(si.NICCount, hypercall.MaxNICs) {
		watchNet((*hypercall.NIC)(unsafe.Pointer(at)).Ring)
		at += unsafe.Sizeof(hypercall.NIC{})
	}
}

func watchNet(at hypercall.GVA) {
	if at == 0 {
		return
	}
	w := &nets.list[nets.n]
	w.at = uintptr(at)
	w.begin()
	nets.n++
}

// begin is with rings that are new.
func (w *watchedNet) begin() {
	r := w.rings()
	atomic.StoreUint32(&r.Receive.ProdEvent, quiet(0))
	w.told, w.toldRoom = 0, quiet(0)
	atomic.StoreUint32(&r.Transmit.ConsEvent, w.toldRoom)
}

// renewNets is after the machine has gone on as another one. Who takes packets learns of
// it like of a packet.
func renewNets() {
	for i := range nets.n {
		nets.list[i].begin()
	}
	if nets.n > 0 {
		notify(FDNet, epollIn)
	}
}

// packets is whether there are some that nobody has taken or been told of.
func (w *watchedNet) packets() bool {
	r := &w.rings().Receive
	prod := atomic.LoadUint32(&r.Prod)
	return prod != w.told && prod != atomic.LoadUint32(&r.Cons)
}

// room is whether there is as much as was asked for, and nobody has been told. What
// nobody asks for is far away (quiet).
func (w *watchedNet) room() bool {
	r := &w.rings().Transmit
	event := atomic.LoadUint32(&r.ConsEvent)
	return event != w.toldRoom && atomic.LoadUint32(&r.Cons)-event <= hypercall.PacketRingBytes
}

// tellNets notifies the poller and says whether there was anything to tell.
func tellNets() bool {
	any := false
	for i := range nets.n {
		w := &nets.list[i]
		if w.packets() {
			w.told = atomic.LoadUint32(&w.rings().Receive.Prod)
			any = true
		}
		if w.room() {
			w.toldRoom = atomic.LoadUint32(&w.rings().Transmit.ConsEvent)
			any = true
		}
	}
	if any {
		notify(FDNet, epollIn)
	}
	return any
}

func anyNetNews() bool {
	for i := range nets.n {
		if w := &nets.list[i]; w.packets() || w.room() {
			return true
		}
	}
	return false
}

// netsPolled is whether the host looks at an interface by itself.
func netsPolled() bool {
	for i := range nets.n {
		r := nets.list[i].rings()
		if atomic.LoadUint32(&r.Receive.Polling)|atomic.LoadUint32(&r.Transmit.Polling) != 0 {
			return true
		}
	}
	return false
}

// spinOnNets waits a little for packets while the host polls, as long as that has paid
// of late, and says whether there is something to do.
func spinOnNets(deadline int64) bool {
	if !netsPolled() {
		return false
	}
	if nets.missed >= maxNetMissed {
		if nets.skipped++; nets.skipped%netRetry != 0 {
			return false
		}
	}
	for end := min(deadline, monotonic()+netSpinNS); monotonic() < end; {
		switch {
		case anyNetNews():
			nets.missed = 0
			return true
		case anyNews(), atomic.LoadUint32(&vcpuPage().Pending) != 0:
			return true
		case !netsPolled():
			return false
		}
		for range pauses {
			pause()
		}
	}
	nets.missed++
	return false
}

// wantNets asks for events of packets, which is done only before the machine waits.
func wantNets() {
	for i := range nets.n {
		r := &nets.list[i].rings().Receive
		atomic.StoreUint32(&r.ProdEvent, atomic.LoadUint32(&r.Prod)+1)
	}
}

// quietNets undoes wantNets. A packet that came soon says that a spin is worth it.
func quietNets(slept int64) {
	for i := range nets.n {
		r := &nets.list[i].rings().Receive
		atomic.StoreUint32(&r.ProdEvent, quiet(atomic.LoadUint32(&r.Prod)))
	}
	if slept < netWakeNS && anyNetNews() {
		nets.missed = 0
	}
}

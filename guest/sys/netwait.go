package sys

import (
	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/hypercall"
)

// NetWaiter waits for guest.FDNet. One goroutine uses it.
type NetWaiter struct{ eventWaiter }

// Reset forgets what the poller told. What comes after it, Wait hears of: so look
// once more in between.
func (w *NetWaiter) Reset() { w.reset(guest.FDNet) }

// Wait parks until a network ring has something, after a Reset.
func (w *NetWaiter) Wait() { w.wait() }

// eventWaiter waits for one of the kernel's own descriptors. One goroutine uses it.
type eventWaiter struct {
	pd    uintptr
	ready bool // the poller tells of what comes after the last reset
}

func (w *eventWaiter) reset(fd int32) {
	if w.pd == 0 {
		pd, errno := pollOpen(uintptr(fd))
		if errno != 0 {
			w.ready = false
			return
		}
		w.pd = pd
	}
	w.ready = pollReset(w.pd, 'r') == 0
}

// wait parks until the descriptor is ready, after a reset.
func (w *eventWaiter) wait() {
	if w.ready {
		pollWait(w.pd, 'r')
	} else {
		sleepNS(pollFailedNS)
	}
}

// NICs are the machine's network interfaces.
func NICs() []hypercall.NIC {
	si := guest.Info()
	n := min(si.NICCount, hypercall.MaxNICs)
	if n == 0 {
		return nil
	}
	return (*[hypercall.MaxNICs]hypercall.NIC)(pointer(uintptr(si.NICs.Addr)))[:n:n]
}

// NetRings is where an interface's packets are.
func NetRings(n *hypercall.NIC) *hypercall.NetRings {
	return (*hypercall.NetRings)(pointer(uintptr(n.Ring)))
}

// NetDoorbell calls a host that does not look at its rings.
func NetDoorbell() { guest.Call(hypercall.CallNetDoorbell, 0, 0, 0, 0) }

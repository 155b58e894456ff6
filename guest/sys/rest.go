package sys

import (
	"sync"
	"sync/atomic"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/hypercall"
)

// comeToRest stops the world and suspends the machine. Package runtime supplies it.
func comeToRest()

// Renew makes what package socket keeps secret new. It is called with the world stopped:
// it takes no lock and starts nothing. It may draw from math/rand/v2.
var Renew func()

func init() {
	guest.OnRest = func() {
		if Renew != nil {
			Renew()
		}
	}
}

// rested is whether the machine came to rest by itself.
var rested atomic.Bool

// RestAt has the machine come to rest if the program has reached the first of the
// moments that the host asked for. It returns when the machine goes on, in whichever
// life. The caller is a goroutine and may hold locks.
func RestAt(moment hypercall.Ready) {
	si := guest.Info()
	if si.Ready&moment == 0 || si.Features&hypercall.FeatureSuspend == 0 || !rested.CompareAndSwap(false, true) {
		return
	}
	guest.RestFor(moment)
	comeToRest()
}

// ServicePort is the TCP port of 127.0.0.1 where programs find the host; 0: none.
func ServicePort() uint16 { return uint16(guest.Info().ServicePort) }

// ReadyPort is the TCP port of the moment ReadyListen.
func ReadyPort() uint16 { return uint16(guest.Info().ReadyPort) }

// Rests is how often the machine has come to rest.
func Rests() uint64 { return guest.Rests() }

// Lives is how often the machine has gone on as another one.
func Lives() uint64 { return guest.Lives() }

// pin keeps the world from being stopped until unpin. Package runtime supplies both.
func pin()
func unpin()

// Publish stores an index of a ring of the life that is given, and says whether the
// machine is still in it. In the next one the ring is another.
func Publish(index *uint32, v uint32, life uint64) bool {
	pin()
	same := guest.Lives() == life
	if same {
		atomic.StoreUint32(index, v)
	}
	unpin()
	return same
}

// Generation is the number of the machine's life.
func Generation() uint64 { return guest.Info().Generation }

// InstanceID is the identity of the machine in this life.
func InstanceID() [16]byte {
	return steady(func() [16]byte { return guest.Info().InstanceID })
}

// hostname is what the host calls the machine in this life.
func hostname() string {
	return steady(func() string { return string(guest.Bytes(guest.Info().Hostname)) })
}

// steady is what read gives in one life.
func steady[T any](read func() T) T {
	for {
		n := guest.Rests()
		v := read()
		if guest.Rests() == n {
			return v
		}
	}
}

// lives is how goroutines wait for another life: one of them, in the poller, for all.
var lives struct {
	mu     sync.Mutex
	pd     uintptr // of guest.FDRest
	led    bool
	others sync.Cond
}

func resetLives() bool {
	if lives.pd == 0 {
		pd, errno := pollOpen(uintptr(guest.FDRest))
		if errno != 0 {
			return false
		}
		lives.pd = pd
	}
	return pollReset(lives.pd, 'r') == 0
}

// AwaitGeneration waits until the machine's life is another than that, and gives its
// number.
func AwaitGeneration(old uint64) uint64 {
	lives.mu.Lock()
	defer lives.mu.Unlock()
	lives.others.L = &lives.mu
	for {
		if now := Generation(); now != old {
			return now
		}
		if lives.led {
			lives.others.Wait()
		} else {
			awaitRest(old)
		}
	}
}

// awaitRest waits until the machine has come to rest once more, with lives.mu released,
// and tells the others. The poll descriptor is reset before the last look, so that what
// comes later is told.
func awaitRest(old uint64) {
	ready := resetLives()
	if Generation() != old {
		return
	}
	lives.led = true
	lives.mu.Unlock()
	if ready {
		pollWait(lives.pd, 'r')
	} else {
		sleepNS(restFailedNS)
	}
	lives.mu.Lock()
	lives.led = false
	lives.others.Broadcast()
}

// restFailedNS is how often the number is looked at when the poller has no memory for
// its descriptor.
const restFailedNS = 10_000_000

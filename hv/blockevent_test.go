package hv

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
)

// TestBlockEvents: who is told of answers, and when.
func TestBlockEvents(t *testing.T) {
	g := newRingGuest(t, 300, disk.NewMemory(4096))
	b, k := g.vm.block, &g.vm.kick
	if err := k.open(); err != nil {
		t.Fatal(err)
	}
	defer k.close()
	b.late = 1 << 60   // nothing is late by itself
	answer := func() { // as the worker does
		t.Helper()
		g.put(transferOf(hypercall.BlockRead, 0, testData, 512))
		if b.serveAll(byWorker) != 1 {
			t.Fatal("nothing taken")
		}
	}
	raised := func(what string, want bool) {
		t.Helper()
		if got := k.raised.Swap(0) != 0; got != want {
			t.Errorf("%s: raised is %v", what, got)
		}
	}
	wants := func(response uint32) { atomic.StoreUint32(&g.ring.RspEvent, response) }
	const first = 1
	k.state.Store(parked)
	wants(first + 1)
	answer()
	raised("the one before", false)
	answer()
	raised("a guest that waits", true)
	answer()
	raised("one that nobody wants to be told of", false)

	k.state.Store(running)
	b.crew.awake.Store(1)
	wants(4)
	answer()
	raised("a guest that runs", false)
	if waits := b.tellLate(rdtsc(), false); !waits {
		t.Error("forgotten")
	}
	wants(5)
	answer() // for which it waits no longer
	atomic.StoreUint32(&g.ring.RspCons, 4)
	if waits := b.tellLate(rdtsc(), false); !waits {
		t.Error("the first is taken, the second forgotten")
	}
	atomic.StoreUint32(&g.ring.RspCons, 5)
	if waits := b.tellLate(rdtsc(), false); waits {
		t.Error("it has seen them by itself")
	}
	raised("a guest that has seen them", false)
	wants(6)
	answer()
	k.state.Store(parked) // it waits before it has seen them
	if waits := b.tellLate(rdtsc(), false); waits {
		t.Error("still waits")
	}
	raised("a guest that waits now", true)
	k.state.Store(running)
	wants(7)
	answer()
	k.state.Store(parked)
	b.serveBlocked()
	raised("a guest that is about to wait", true)
	b.crew.awake.Store(0)
	wants(8)
	answer()
	raised("nobody looks after it later", true)
}

// TestBlockLastEvent: an event that is put off in the moment in which the worker goes
// to sleep is not forgotten.
func TestBlockLastEvent(t *testing.T) {
	g := newRingGuest(t, 300, disk.NewMemory(4096))
	b, k, r := g.vm.block, &g.vm.kick, g.vm.block.rings[0]
	if err := k.open(); err != nil {
		t.Fatal(err)
	}
	defer k.close()
	b.setTimes(testTSC.Hz, 2) // with one processor no worker polls
	b.crew.awake.Store(1)
	r.mu.Lock() // one of the pool is in tell, and has seen that the worker polls
	asleep := make(chan bool)
	go func() { asleep <- b.rest(false) }()
	for b.crew.awake.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	r.upTo = 1
	r.late.Store(rdtsc() | 1)
	k.state.Store(parked) // which is what the test can look at
	r.mu.Unlock()
	<-asleep
	if k.raised.Load() == 0 {
		t.Error("nobody tells the guest")
	}
}

// TestBlockWakeups: a guest that rings and sleeps exactly when the contract says so
// is never forgotten, whether the worker polls or not.
func TestBlockWakeups(t *testing.T) {
	for cpus := 1; cpus <= 2; cpus++ {
		slow := disk.Inject(disk.NewMemory(4096), func(disk.Op, int64, int64) error { return nil }) // by the pool
		for _, d := range []disk.Backend{disk.NewMemory(4096), slow} {
			wakeups(t, cpus, d)
		}
	}
}

func wakeups(t *testing.T, cpus int, d disk.Backend) {
	t.Helper()
	g := newRingGuest(t, 300, d)
	b, k := g.vm.block, &g.vm.kick
	if err := k.open(); err != nil {
		t.Fatal(err)
	}
	defer k.close()
	k.state.Store(parked)
	b.setTimes(testTSC.Hz/4, cpus)
	b.patience = uint64(rand.IntN(3)) * 2000
	b.begin()
	seen := uint32(0)
	for range 1500 {
		old := g.prod
		for range 1 + rand.IntN(5) {
			g.put(transferOf(hypercall.BlockRead, 0, testData, 512))
		}
		if g.prod-atomic.LoadUint32(&g.ring.ReqEvent) < g.prod-old {
			b.bell.ring()
		}
		if rand.IntN(3) == 0 {
			time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond)
		}
		for seen != g.prod {
			if n := atomic.LoadUint32(&g.ring.RspProd); n != seen {
				seen = n
				atomic.StoreUint32(&g.ring.RspCons, seen)
				continue
			}
			atomic.StoreUint32(&g.ring.RspEvent, seen+1)
			if atomic.LoadUint32(&g.ring.RspProd) != seen {
				continue
			}
			if rand.IntN(2) == 0 { // the guest blocks
				b.serveBlocked()
				if k.raised.Swap(0) != 0 {
					continue
				}
			}
			select {
			case <-k.parked:
			case <-time.After(10 * time.Second):
				t.Fatalf("%d CPUs: %d of %d were answered, and nobody says more", cpus, seen, g.prod)
			}
		}
	}
}

// TestBlockSleeps: without requests the worker does not go on polling.
func TestBlockSleeps(t *testing.T) {
	g := newRingGuest(t, 300, disk.NewMemory(4096))
	b := g.vm.block
	b.setTimes(testTSC.Hz, 2)
	b.begin()
	g.put(transferOf(hypercall.BlockRead, 0, testData, 512))
	b.bell.ring()
	for end := time.Now().Add(10 * time.Second); b.count.done.Load() == 0 || b.crew.awake.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it polls for ever")
		}
	}
	if atomic.LoadUint32(&g.ring.Polling) != 0 || atomic.LoadUint32(&g.ring.ReqEvent) != 2 {
		t.Errorf("asleep with Polling %d, ReqEvent %d", g.ring.Polling, g.ring.ReqEvent)
	}
}

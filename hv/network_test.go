package hv

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// TestNetEvents: who is told of packets and room, and when.
func TestNetEvents(t *testing.T) {
	g := newNetGuest(t, false)
	a, k := g.a, &g.vm.kick
	g.vm.net.late = 1 << 60 // nothing is late by itself
	comes := func(n int) {
		t.Helper()
		for range n {
			if _, err := g.peer.Send(new(nic.Header), frameOf(60, 0)); err != nil {
				t.Fatal(err)
			}
		}
		a.turn()
	}
	raised := func(what string, want bool) {
		t.Helper()
		if got := k.raised.Swap(0) != 0; got != want {
			t.Errorf("%s: raised is %v", what, got)
		}
	}
	prodEvent := func(v uint32) { atomic.StoreUint32(&g.ring.Receive.ProdEvent, v) }
	const one = 80 // what a frame of 60 bytes takes
	comes(3)
	raised("one that wants nothing", false)
	prodEvent(3*one + 1)
	comes(20)
	raised("a guest that waits", true)
	prodEvent(30 * one)
	comes(6)
	raised("before the event", false)
	comes(1)
	raised("at the event", true)
	comes(5)
	raised("behind it", false)

	k.state.Store(running)
	g.vm.entered.Store(true)
	a.awake.Store(true)
	prodEvent(35*one + 1)
	comes(1)
	raised("a guest that runs", false)
	if !a.tellLate(rdtsc(), false) {
		t.Error("forgotten")
	}
	g.get()
	if a.tellLate(rdtsc(), false) {
		t.Error("it has seen them by itself")
	}
	raised("a guest that has seen them", false)
	kicked := func(f func()) {
		defer func() {
			if recover() == nil {
				t.Error("the processor, which this machine lacks, is not kicked")
			}
		}()
		f()
	}
	for what, wait := range map[string]func(){
		"a guest that waits now":        func() { k.state.Store(parked); a.tellLate(rdtsc(), false) },
		"a guest that is about to wait": func() { g.vm.net.tellBlocked() },
		"a worker that sleeps":          func() { kicked(func() { a.tellLate(0, true) }) },
		"a guest that is slow": func() {
			g.vm.net.late = 1
			kicked(func() { a.tellLate(rdtsc()+100, false) })
			g.vm.net.late = 1 << 60
		},
	} {
		k.state.Store(running)
		prodEvent(a.rx.prod + 1)
		comes(2)
		raised("a guest that runs", false)
		wait()
		raised(what, true)
		if a.tellLate(rdtsc(), true) {
			t.Error(what, "is told again")
		}
		raised(what+", again", false)
	}
	a.awake.Store(false)
	k.state.Store(parked)
	prodEvent(a.rx.prod + 1)
	comes(1)
	raised("nobody looks after it later", true)

	atomic.StoreUint32(&g.ring.Transmit.ConsEvent, 2*one)
	g.put(whole(60, 1))
	a.turn()
	raised("half of the room", false)
	g.put(whole(60, 1), whole(60, 1))
	a.turn()
	raised("room", true)
}

// TestNetWakeups: a guest and a link whose other side ring and sleep exactly when the
// contract says so are never forgotten, whether the worker polls or not.
func TestNetWakeups(t *testing.T) {
	for cpus := 1; cpus <= 2; cpus++ {
		g := newNetGuest(t, false)
		k := &g.vm.kick
		g.vm.net.setTimes(testTSC.Hz/8, cpus)
		g.vm.net.begin()
		g.echo()
		for round := range 1500 {
			n := 1 + rand.IntN(5)
			for range n {
				old := g.prod
				g.put(whole(14+rand.IntN(1500), byte(round)))
				if passed(atomic.LoadUint32(&g.ring.Transmit.ProdEvent), old, g.prod) {
					g.vm.net.bell.ring()
				}
			}
			if rand.IntN(3) == 0 {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
			}
			for got := 0; got < n; {
				if list := g.get(); len(list) > 0 {
					got += len(list)
					continue
				}
				publish(&g.ring.Receive.ProdEvent, g.cons+1)
				if atomic.LoadUint32(&g.ring.Receive.Prod) != g.cons {
					continue
				}
				select {
				case <-k.parked:
				case <-time.After(3 * time.Second):
					buf := make([]byte, 1<<16)
					println(string(buf[:runtime.Stack(buf, true)]))
					println(atomic.LoadUint32(&g.ring.Transmit.ProdEvent), g.a.tx.cons, g.a.stuck.IsZero(), g.a.spin.now, g.a.awake.Load(), g.a.events)
					b, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", g.a.epoll))
					println(string(b))
					b, _ = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", g.vm.net.bell.fd))
					println(string(b), g.vm.net.bell.fd, g.a.fd, g.peer.FD)
					g.vm.net.bell.ring()
					time.Sleep(time.Second)
					println("failure", fmt.Sprint(g.vm.failure()), "after ring", atomic.LoadUint32(&g.ring.Transmit.Cons))
					t.Fatalf("%d CPUs, round %d: %d of %d came back, and nobody says more: %+v, Prod %#x of %#x, Cons %#x of %#x", cpus, round, got, n, g.stats(),
						atomic.LoadUint32(&g.ring.Transmit.Cons), g.prod, g.cons, atomic.LoadUint32(&g.ring.Receive.Prod))
				}
			}
		}
		s := g.stats()
		if s.Events > s.RxPackets || s.TxDropped+s.BadPackets != 0 {
			t.Errorf("%+v", s)
		}
		if (s.Polls == 0) != (cpus == 1) {
			t.Errorf("%d CPUs: %d polls", cpus, s.Polls)
		}
	}
}

// echo sends back what arrives, until the test is over.
func (g *netGuest) echo() {
	var over atomic.Bool
	var done sync.WaitGroup
	done.Go(func() { g.sendBack(&over) })
	g.Cleanup(func() { // before the descriptor is another's
		over.Store(true)
		done.Wait()
	})
}

func (g *netGuest) sendBack(over *atomic.Bool) {
	buf := make([]byte, 2000)
	for !over.Load() {
		var h nic.Header
		n, err := g.peer.Receive(&h, buf)
		if err == unix.EAGAIN {
			unix.Poll([]unix.PollFd{{Fd: int32(g.peer.FD), Events: unix.POLLIN}}, 20)
			continue
		}
		if err != nil {
			return
		}
		g.peer.Send(&h, buf[:n])
	}
}

// sleeps waits until the worker does, and then for a moment more, in which it must not
// do anything.
func (g *netGuest) sleeps() {
	g.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		before := g.stats()
		time.Sleep(20 * time.Millisecond)
		if after := g.stats(); after == before && !g.a.awake.Load() {
			return
		}
		if time.Now().After(end) {
			g.Fatalf("it goes on for ever: %+v", g.stats())
		}
	}
}

// TestNetSleeps: without packets the worker does not go on polling.
func TestNetSleeps(t *testing.T) {
	g := newNetGuest(t, false)
	g.vm.net.setTimes(testTSC.Hz, 2)
	g.vm.net.begin()
	for range 100 {
		g.put(whole(60, 1))
		g.vm.net.bell.ring()
	}
	g.sleeps()
	r := &g.ring.Transmit
	if atomic.LoadUint32(&r.Polling) != 0 || atomic.LoadUint32(&r.ProdEvent) != g.prod+1 || atomic.LoadUint32(&r.Cons) != g.prod {
		t.Errorf("asleep with Polling %d, ProdEvent %#x, Cons %#x", r.Polling, r.ProdEvent, r.Cons)
	}
}

// TestNetDeaf: a peer that does not read holds the guest's packets up for a second, and
// its ring no longer. The other way goes on, and so does this one when it reads again.
func TestNetDeaf(t *testing.T) {
	g := newNetGuest(t, false)
	g.vm.net.setTimes(testTSC.Hz, 2)
	unix.SetsockoptInt(g.a.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10)
	g.vm.net.begin()
	var list []packet
	for range 200 {
		list = append(list, whole(1514, 1))
	}
	began := time.Now()
	g.put(list...)
	g.vm.net.bell.ring()
	time.Sleep(100 * time.Millisecond)
	if s := g.stats(); s.TxDropped != 0 || s.TxPackets == 0 || s.TxPackets > 100 || s.Polls > 10_000 {
		t.Errorf("%+v", s)
	}
	g.peer.Send(new(nic.Header), frameOf(60, 1))
	waitFor(t, "the other way", func() bool { return len(g.get()) == 1 })
	waitFor(t, "an empty ring", func() bool { return atomic.LoadUint32(&g.ring.Transmit.Cons) == g.prod })
	if d := time.Since(began); d < linkPatience || d > 2*linkPatience {
		t.Errorf("it took %v", d)
	}
	sent := g.stats().TxPackets
	g.put(list...)
	g.vm.net.bell.ring()
	waitFor(t, "an empty ring", func() bool { return atomic.LoadUint32(&g.ring.Transmit.Cons) == g.prod })
	if s := g.stats(); s.TxPackets != sent || s.TxDropped != 400-sent {
		t.Errorf("%+v", s)
	}
	g.sleeps()
	if n := uint64(len(g.arrived())); n != sent {
		t.Errorf("%d of %d arrived", n, sent)
	}
	g.put(list[:3]...)
	g.vm.net.bell.ring()
	waitFor(t, "packets", func() bool { return len(g.arrived()) > 0 })
}

// TestNetFull: a guest that takes nothing costs no time, and when it does all that the
// link still has comes in order.
func TestNetFull(t *testing.T) {
	g := newNetGuest(t, true)
	g.vm.net.setTimes(testTSC.Hz, 2)
	g.vm.net.begin()
	sent := 0
	flood := func() {
		for full := time.Now().Add(50 * time.Millisecond); time.Now().Before(full); {
			if _, err := g.peer.Send(new(nic.Header), frameOf(1514, byte(sent))); err == nil {
				sent++
			}
		}
	}
	flood()
	g.sleeps()
	if s := g.stats(); s.RingFull != 1 || s.RxPackets < 250 || s.RxDropped != 0 {
		t.Errorf("%+v", s)
	}
	before := g.stats().Wakeups
	flood()
	if n := g.stats().Wakeups - before; n > 1 {
		t.Errorf("woken %d times for a full ring", n)
	}
	got := 0
	for end := time.Now().Add(10 * time.Second); got < sent && time.Now().Before(end); {
		old := g.cons
		for _, p := range g.get() {
			if p.frame[0] != byte(got) {
				t.Fatalf("packet %d is %d", got, p.frame[0])
			}
			got++
		}
		if passed(atomic.LoadUint32(&g.ring.Receive.ConsEvent), old, g.cons) {
			g.vm.net.bell.ring()
		}
	}
	if got != sent {
		t.Errorf("%d of %d came", got, sent)
	}
	g.sleeps()
}

// TestNetRate: no more than the rate goes by, and no time is spent on waiting.
func TestNetRate(t *testing.T) {
	g := newNetGuest(t, false, func(n *NIC) { n.Rate = 1 << 20 })
	g.vm.net.setTimes(testTSC.Hz, 2)
	g.vm.net.begin()
	var list []packet
	for range 300 {
		list = append(list, whole(1014, 1))
	}
	var before unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	began := time.Now()
	g.put(list...)
	g.vm.net.bell.ring()
	for range 300 {
		g.peer.Send(new(nic.Header), frameOf(1014, 1))
	}
	waitFor(t, "all", func() bool { s := g.stats(); return s.TxPackets == 300 && s.RxPackets == 300 })
	if d := time.Since(began); d < 200*time.Millisecond || d > 5*time.Second { // 304200-65549 bytes at 1 MiB/s
		t.Errorf("it took %v", d)
	}
	g.sleeps()
	if s := g.stats(); s.Polls > 100_000 || s.Wakeups > 1500 {
		t.Errorf("%+v", s)
	}
}

// TestNetGone: when the other side goes, the guest is told, and nothing spins.
func TestNetGone(t *testing.T) {
	g := newNetGuest(t, false)
	g.vm.net.setTimes(testTSC.Hz, 2)
	g.vm.net.begin()
	g.sleeps()
	if atomic.LoadUint32(&g.ring.Link) != 1 {
		t.Error("the link is not up")
	}
	unix.Shutdown(g.peer.FD, unix.SHUT_RDWR)
	waitFor(t, "the link's end", func() bool { return atomic.LoadUint32(&g.ring.Link) == 0 })
	if g.vm.kick.raised.Swap(0) != 1<<hypercall.EventNet {
		t.Error("the guest is not told")
	}
	for range 1000 {
		g.put(whole(60, 1))
	}
	g.vm.net.bell.ring()
	waitFor(t, "an empty ring", func() bool { return atomic.LoadUint32(&g.ring.Transmit.Cons) == g.prod })
	g.sleeps()
	if s := g.stats(); s.TxDropped != 1000 || g.vm.failure() != nil {
		t.Errorf("%+v, %v", s, g.vm.failure())
	}
}

// TestNetRest: while a machine is at rest its rings do not change.
func TestNetRest(t *testing.T) {
	g := newNetGuest(t, false)
	g.vm.net.setTimes(testTSC.Hz, 2)
	g.vm.net.begin()
	for i := range 50 {
		resume := g.vm.net.rest()
		before := g.stats().TxPackets
		g.put(whole(60, byte(i)), whole(61, byte(i)))
		g.peer.Send(new(nic.Header), frameOf(60, 1))
		g.vm.net.bell.ring()
		time.Sleep(time.Millisecond)
		if g.stats().TxPackets != before || len(g.get()) != 0 || atomic.LoadUint32(&g.ring.Transmit.Cons) == g.prod {
			t.Fatal("packets moved")
		}
		resume()
		waitFor(t, "packets", func() bool { return g.stats().TxPackets == before+2 && len(g.get()) == 1 })
	}
}

// TestNetLeavesNothing: goroutines and descriptors are gone after Close.
func TestNetLeavesNothing(t *testing.T) {
	count := func() int {
		var st unix.Stat_t
		n := 0
		for fd := range 1000 {
			if unix.Fstat(fd, &st) == nil {
				n++
			}
		}
		return n
	}
	link, peer := linkPair(t, false)
	routines, fds := runtime.NumGoroutine(), count()
	for range 20 {
		vm := newTestVM(t, 1500)
		vm.cfg.NICs = []NIC{{Link: link, MTU: 1500}, {Link: peer, MTU: 1500}}
		if err := vm.loadNet(); err != nil {
			t.Fatal(err)
		}
		vm.net.begin()
		if err := vm.net.close(); err != nil {
			t.Error(err)
		}
		if err := vm.net.close(); err != nil {
			t.Error("again:", err)
		}
	}
	waitFor(t, "the goroutines' end", func() bool { return runtime.NumGoroutine() <= routines })
	if n := count(); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

// TestPatience: how long it polls follows what that is good for.
func TestPatience(t *testing.T) {
	p := patience{now: 1000, most: 1000}
	for range 5 {
		p.missed()
	}
	if p.now != 0 {
		t.Errorf("%d after it was in vain", p.now)
	}
	if p.slept(1001); p.now != 0 {
		t.Error("a long sleep")
	}
	if p.slept(999); p.now != 1000 {
		t.Error("a short sleep")
	}
	p.missed()
	if p.came(0); p.now != 500 {
		t.Error("it has not waited")
	}
	if p.came(20); p.now != 1000 {
		t.Error("it was worth it")
	}
}

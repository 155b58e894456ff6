package hv

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// work is the worker: it sleeps until the guest rings or the link has something, and
// moves packets for as long as they keep coming.
func (a *adapter) work() {
	defer a.net.all.Done()
	defer a.net.vm.rescue()
	for !a.net.closed.Load() && !a.net.vm.stop.Load() {
		began := rdtsc()
		a.wait()
		a.spin.slept(rdtsc() - began)
		a.rise()
		for more := true; more && !a.net.closed.Load(); more = a.rest() {
			a.serve()
		}
	}
}

// serve moves packets until none has come for a while.
func (a *adapter) serve() {
	idle, last := uint64(0), rdtsc()
	for !a.net.closed.Load() {
		some := a.turn()
		now := rdtsc()
		late := a.putsOff(now)
		if some {
			a.spin.came(idle)
			idle, last = 0, now
			continue
		}
		// A long turn is one in which the host ran something else.
		idle += min(now-last, a.net.spin/8)
		last = now
		if idle >= a.spin.now && !late {
			a.spin.missed()
			return
		}
		a.net.count.polls.Add(1)
		a.glance()
	}
}

// glance waits for the guest alone for a moment, and gives others the processor: the
// link's other side may be waiting for it.
func (a *adapter) glance() {
	a.mu.Lock()
	cons := a.tx.cons
	a.mu.Unlock()
	for began := rdtsc(); rdtsc()-began < a.net.glance; pause() {
		if atomic.LoadUint32(&a.tx.ring.Prod) != cons {
			return
		}
	}
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
}

// putsOff tells what was put off for long enough, and says whether some still is.
func (a *adapter) putsOff(at uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tellLate(at, false)
}

// rise lets the guest know that its packets are looked for.
func (a *adapter) rise() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spin.now > 0 {
		a.setPolling(1)
	}
}

// rest has the guest ring from now on, and says whether something has come by then.
func (a *adapter) rest() (more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setPolling(0)
	a.tellLate(0, true)
	if a.net.vm.stop.Load() {
		return false
	}
	if a.full {
		a.rx.arm()
		if used, err := a.rx.used(); err != nil {
			more = true // receive will say it
		} else if _, _, ok := a.rx.room(used); ok {
			more = true
		}
	}
	if a.txUntil.IsZero() && !a.patient() {
		a.tx.arm()
		n, err := a.tx.ready()
		more = more || n > 0 || err != nil // transmit will say it
	}
	return more
}

func (a *adapter) setPolling(v uint32) {
	a.awake.Store(v != 0)
	atomic.StoreUint32(&a.tx.ring.Polling, v)
	atomic.StoreUint32(&a.rx.ring.Polling, v)
}

// patience is for how long it is worth polling: as long as that has helped of late. All
// is in ticks.
type patience struct {
	now, most uint64
}

// came is after a packet for which it polled.
func (p *patience) came(idle uint64) {
	if idle > 0 {
		p.now = p.most
	}
}

// missed is after it has polled for nothing.
func (p *patience) missed() {
	if p.now /= 2; p.now < p.most/16 {
		p.now = 0
	}
}

// slept is after a sleep, which was not worth it when it was short.
func (p *patience) slept(ticks uint64) {
	if ticks < p.most {
		p.now = p.most
	}
}

func (a *adapter) openEpoll() (err error) {
	if a.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return &HostError{"create epoll", err}
	}
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(a.net.bell.fd)}
	if err := unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, a.net.bell.fd, &e); err != nil {
		return &HostError{"watch doorbell", err}
	}
	return nil
}

// wait sleeps until there may be something to do.
func (a *adapter) wait() {
	var events [2]unix.EpollEvent
	n, _ := unix.EpollWait(a.epoll, events[:], a.prepare())
	a.net.count.wakeups.Add(1)
	a.woken(events[:max(n, 0)])
}

// prepare has the epoll look for what can be done now, and returns timeout's.
func (a *adapter) prepare() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.watch(); err != nil {
		a.setLink(linkGone)
	}
	return a.timeout()
}

func (a *adapter) woken(events []unix.EpollEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range events {
		switch {
		case e.Fd == int32(a.net.bell.fd):
			a.net.count.doorbells.Add(1)
		case e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
			// The next transfer says what it is. One that has nothing to say is over.
			if a.strikes++; a.strikes > maxStrikes {
				a.setLink(linkGone)
			}
		}
	}
}

// watch has the epoll look for what can be done with the link now.
func (a *adapter) watch() (err error) {
	var want uint32
	if !a.full && a.rxUntil.IsZero() && a.link != linkGone {
		want = unix.EPOLLIN
	}
	if a.patient() && a.link != linkGone {
		want |= unix.EPOLLOUT
	}
	e := unix.EpollEvent{Events: want, Fd: int32(a.fd)}
	switch {
	case want == a.events:
		return nil
	case a.events == 0:
		err = unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, a.fd, &e)
	case want == 0: // EPOLL_CTL_MOD would leave errors
		err = unix.EpollCtl(a.epoll, unix.EPOLL_CTL_DEL, a.fd, nil)
	default:
		err = unix.EpollCtl(a.epoll, unix.EPOLL_CTL_MOD, a.fd, &e)
	}
	a.events = want
	return err
}

// timeout is for how long there is nothing to do, in ms; -1: for ever.
func (a *adapter) timeout() int {
	first := time.Duration(-1)
	for _, t := range [...]time.Time{a.txUntil, a.rxUntil} {
		if !t.IsZero() {
			first = sooner(first, time.Until(t))
		}
	}
	if a.patient() {
		first = sooner(first, linkPatience-time.Since(a.stuck))
	}
	if first < 0 {
		return -1
	}
	return int((first + time.Millisecond - 1) / time.Millisecond)
}

func sooner(a, b time.Duration) time.Duration {
	if b = max(b, 0); a < 0 {
		return b
	}
	return min(a, b)
}

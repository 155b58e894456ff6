package hv

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// raise notes an event for the guest and makes it look. It may be called from
// any goroutine; guest memory is written by the vCPU's own thread only.
func (vm *VM) raise(e hypercall.Event) {
	vm.kick.raised.Or(1 << e)
	vm.wake()
}

// wake gets the vCPU's thread to look at what was raised or stopped.
func (vm *VM) wake() {
	vm.kick.mu.Lock()
	defer vm.kick.mu.Unlock()
	switch vm.kick.state.Load() {
	case polling:
		vm.kick.signal()
	case parked:
		select {
		case vm.kick.parked <- struct{}{}:
		default:
		}
	case running:
		if vm.entered.Load() { // else the loop looks first
			vm.cpu.hw.Kick()
		}
	}
}

// called says whether the vCPU's thread has to look rather than to wait.
func (vm *VM) called() bool {
	return vm.kick.raised.Load() != 0 || vm.stop.Load() || vm.done.Load()
}

// kicker is how other goroutines reach the vCPU's thread, whatever it does.
type kicker struct {
	raised atomic.Uint32 // events not yet in guest memory
	state  atomic.Int32
	mu     sync.Mutex // wake against close
	fd     int        // eventfd, for polling
	parked chan struct{}
}

const (
	closed int32 = iota
	running
	polling // in ppoll
	parked  // gave its thread back
)

func (k *kicker) open() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return &HostError{"create eventfd", err}
	}
	k.fd, k.parked = fd, make(chan struct{}, 1)
	k.state.Store(running)
	return nil
}

func (k *kicker) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Swap(closed) == closed {
		return nil
	}
	return unix.Close(k.fd)
}

func (k *kicker) signal() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(k.fd, one[:]) // fails only when full, and then it is heard
}

func (k *kicker) drain() {
	var b [8]byte
	_, _ = unix.Read(k.fd, b[:])
}

const (
	// shortWait is up to how long a wait keeps its thread, in ns: the Go
	// scheduler's own timers are coarser than ppoll's.
	shortWait = 20_000_000
	// tickFree is from how long a wait is worth stopping the tick for, in ns.
	tickFree = 2_000_000
	// maxWait is up to how long a wait is at once, in ns.
	maxWait = int64(time.Hour)
)

// wait lets ns pass, or less: until something was raised or the console has
// events, which it returns.
func (c *vcpu) wait(ns int64) (events uint32, err error) {
	if ns >= tickFree {
		c.tick.pause()
	}
	if ns > shortWait && !c.vm.con.interested() && !c.vm.block.busy() && len(c.vm.cables) == 0 {
		if !c.vm.net.busy() {
			return 0, c.park(ns)
		}
		ns = min(ns, int64(netBusyFor))
	}
	return c.ppoll(ns)
}

// ppoll waits on this thread, for the console's files and an NE2000's link too.
func (c *vcpu) ppoll(ns int64) (events uint32, err error) {
	vm := c.vm
	fds := vm.con.pollFDs([]unix.PollFd{{Fd: int32(vm.kick.fd), Events: unix.POLLIN}})
	links := len(fds)
	fds = vm.cables.pollFDs(fds)
	vm.kick.state.Store(polling)
	defer vm.kick.state.Store(running)
	if vm.called() {
		return 0, nil
	}
	ts := unix.NsecToTimespec(ns)
	n, err := unix.Ppoll(fds, &ts, nil)
	if err != nil && err != unix.EINTR {
		return 0, &HostError{"wait", err}
	}
	if n <= 0 {
		return 0, nil
	}
	if fds[0].Revents != 0 {
		vm.kick.drain()
	}
	vm.cables.ready(fds[links:])
	return vm.con.ready(fds[1:links]), nil
}

// park waits without a thread.
func (c *vcpu) park(ns int64) error {
	vm := c.vm
	vm.kick.state.Store(parked)
	if !vm.called() {
		runtime.UnlockOSThread()
		timer := time.NewTimer(time.Duration(ns))
		select {
		case <-vm.kick.parked:
		case <-timer.C:
		}
		timer.Stop()
		runtime.LockOSThread()
	}
	vm.kick.state.Store(running)
	select {
	case <-vm.kick.parked:
	default:
	}
	return c.tick.follow(c.hw)
}

// tick interrupts the vCPU's thread every hypercall.TickNS while it runs, so
// that deadlines and the console are looked at although the guest does not
// come out by itself. The kernel signals the thread directly: no other thread
// wakes up for it.
type tick struct {
	own    engine.Ticker // the vCPU's way to do it; nil for ours
	timer  int32
	thread int
	made   bool
	paused bool
}

func (t *tick) start(hw engine.VCPU) error {
	t.thread = unix.Gettid()
	if own, ok := hw.(engine.Ticker); ok {
		t.own, t.paused = own, true
		return t.resume()
	}
	id, err := timerCreate(t.thread)
	if err != nil {
		return &HostError{"create timer", err}
	}
	t.timer, t.made, t.paused = id, true, true
	return t.resume()
}

func (t *tick) resume() error {
	if !t.paused {
		return nil
	}
	t.paused = false
	return t.by(hypercall.TickNS)
}

// by has the next tick come in ns, or when it would, and others after it as ever.
func (t *tick) by(ns int64) error {
	if t.own != nil {
		t.own.SetTick(time.Duration(min(ns, hypercall.TickNS)), hypercall.TickNS)
		return nil
	}
	if err := timerSet(t.timer, min(ns, hypercall.TickNS), hypercall.TickNS); err != nil {
		return &HostError{"set timer", err}
	}
	return nil
}

func (t *tick) pause() {
	if t.own != nil {
		t.own.SetTick(0, 0)
		t.paused = true
	}
	if !t.paused {
		t.paused = timerSet(t.timer, 0, 0) == nil
	}
}

// follow makes the tick after a wait: anew, when it was on another thread.
func (t *tick) follow(hw engine.VCPU) error {
	if unix.Gettid() == t.thread || t.own != nil {
		return nil
	}
	t.stop()
	if err := t.start(hw); err != nil {
		return fmt.Errorf("after a wait: %w", err)
	}
	return nil
}

func (t *tick) stop() {
	if t.own != nil {
		t.own.SetTick(0, 0)
	}
	if t.made {
		timerDelete(t.timer)
		t.made = false
	}
}

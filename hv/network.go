package hv

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// network serves the NICs' rings. Each NIC has a goroutine of its own, which moves
// packets both ways.
type network struct {
	vm     *VM
	nics   []*adapter
	bell   bell // of all NICs. It is never drained: each of them is told of its edges
	all    sync.WaitGroup
	closed atomic.Bool
	spin   uint64 // ticks of the TSC for which a worker polls at most; 0 with one CPU
	late   uint64 // ticks after which a guest that runs is told of packets
	glance uint64 // ticks for which it looks at the ring alone before it looks at the link
	recent uint64 // ticks for which busy holds
	count  netCounters
}

const (
	// netPollFor is how long a worker polls after the last packet.
	netPollFor = 90 * time.Microsecond
	// netGlance is how long it only waits for the guest: the link costs a system call.
	netGlance = time.Microsecond
	// netBusyFor is for how long after a packet the vCPU's thread is not given back.
	netBusyFor = time.Second
	// lastTurns is more than a ring's worth.
	lastTurns = 1 + hypercall.PacketRingBytes/hypercall.PacketAlign/turnPackets
)

// netRingPages is the memory of a NIC's rings.
const netRingPages = 3 + 2*hypercall.PacketRingBytes/pageSize

// loadNet places the NICs' rings in the guest's memory. They take memory of the host's
// as they are used.
func (vm *VM) loadNet() error {
	var rings []frame
	for i := range vm.netRingCount() {
		first, err := vm.reserve(netRingGVA(i), netRingPages, pteWrite|pteNX)
		if err != nil {
			return err
		}
		rings = append(rings, first)
	}
	return vm.connectNICs(rings)
}

// connectNICs joins the NICs' rings and their links.
func (vm *VM) connectNICs(rings []frame) error {
	if len(rings) == 0 {
		return nil
	}
	n := &network{vm: vm}
	if err := n.bell.open(); err != nil {
		return err
	}
	vm.net = n
	for i, first := range rings {
		a, err := newAdapter(n, i, first, &vm.cfg.NICs[i])
		if err != nil {
			return err
		}
		n.nics = append(n.nics, a)
	}
	n.setTimes(vm.clock.tsc.Hz, usableCPUs())
	return nil
}

// setTimes turns times into ticks. With one CPU for all nobody polls.
func (n *network) setTimes(hz uint64, cpus int) {
	ticks := func(d time.Duration) uint64 { return hz / 1_000_000 * uint64(d.Microseconds()) }
	n.late, n.glance, n.recent = ticks(eventDelay), ticks(netGlance), ticks(netBusyFor)
	n.spin = 0
	if cpus > 1 {
		n.spin = ticks(netPollFor)
	}
	for _, a := range n.nics {
		a.spin.most, a.spin.now = n.spin, n.spin
	}
}

// begin starts the workers.
func (n *network) begin() {
	if n == nil {
		return
	}
	n.all.Add(len(n.nics))
	for _, a := range n.nics {
		go a.work()
	}
}

// end has the workers go, and sends what a program has put that has ended well. Guest
// memory may then go too.
func (n *network) end() {
	if n == nil || n.closed.Swap(true) {
		return
	}
	n.bell.ring()
	n.all.Wait()
	for _, a := range n.nics {
		for turns := 0; turns < lastTurns && a.transmit(); turns++ {
		}
	}
}

// close ends what begin has begun.
func (n *network) close() error {
	if n == nil || n.nics == nil {
		return nil
	}
	n.end()
	var all *multierror.Error
	for _, a := range n.nics {
		all = multierror.Append(all, unix.Close(a.epoll))
	}
	all = multierror.Append(all, n.bell.close())
	n.nics = nil
	return all.ErrorOrNil()
}

// rest lets every worker come to a point between packets, and keeps it there until the
// function that it returns is called. What lies in the rings then stays there.
func (n *network) rest() (resume func()) {
	if n == nil {
		return func() {}
	}
	for _, a := range n.nics {
		a.mu.Lock()
	}
	return func() {
		for _, a := range n.nics {
			a.mu.Unlock()
		}
	}
}

// busy says whether packets have come or gone of late: the vCPU's thread, which waits,
// is then better kept, since packets are worth nothing without it.
func (n *network) busy() bool {
	if n == nil {
		return false
	}
	for _, a := range n.nics {
		if last := a.moved.Load(); last != 0 && rdtsc()-last < n.recent {
			return true
		}
	}
	return false
}

// netCounters are what NetStats tells.
type netCounters struct {
	rxPackets, rxBytes, txPackets, txBytes   atomic.Uint64
	rxDropped, txDropped, badPackets         atomic.Uint64
	ringFull, doorbells, events, late, polls atomic.Uint64
	wakeups                                  atomic.Uint64
}

func (n *network) stats() NetStats {
	if n == nil {
		return NetStats{}
	}
	c := &n.count
	return NetStats{
		RxPackets: c.rxPackets.Load(), RxBytes: c.rxBytes.Load(), TxPackets: c.txPackets.Load(), TxBytes: c.txBytes.Load(),
		RxDropped: c.rxDropped.Load(), TxDropped: c.txDropped.Load(), BadPackets: c.badPackets.Load(),
		RingFull: c.ringFull.Load(), Doorbells: c.doorbells.Load(), Wakeups: c.wakeups.Load(), Polls: c.polls.Load(),
		Events: c.events.Load(), LateEvents: c.late.Load(),
	}
}

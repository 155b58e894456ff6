package main

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	maxFlows     = 1024 // of a machine
	flowPatience = 90 * time.Second
	flowSweep    = 10 * time.Second
	maxDatagram  = 65535
)

var datagrams = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// flow is UDP between two ends, one of them a machine's.
type flow struct {
	ep     tcpip.Endpoint // the machine's
	queue  *waiter.Queue
	toHost func([]byte)
	host   *net.UDPConn // the other end, unless that is an exposed port's
	used   atomic.Int64 // when it last carried something, in Unix nanoseconds
	gone   chan struct{}
	once   sync.Once
}

func (f *flow) touch() { f.used.Store(time.Now().UnixNano()) }

func (f *flow) close() {
	f.once.Do(func() {
		close(f.gone)
		if f.host != nil {
			f.host.Close()
		}
		f.ep.Close()
	})
}

// flowSet are the flows of a machine.
type flowSet struct {
	mu     sync.Mutex
	all    map[*flow]struct{}
	closed bool
	end    chan struct{}
	busy   sync.WaitGroup
}

func (s *flowSet) init() { s.all, s.end = map[*flow]struct{}{}, make(chan struct{}) }

// start runs f until it is closed. Of too many flows one of the older ones gives way.
func (s *flowSet) start(f *flow, ended func()) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.close()
		return false
	}
	if len(s.all) >= maxFlows {
		s.dropOld()
	}
	f.touch()
	s.all[f] = struct{}{}
	s.busy.Go(func() {
		f.carry()
		s.mu.Lock()
		delete(s.all, f)
		s.mu.Unlock()
		ended()
	})
	if f.host != nil {
		s.busy.Go(f.carryBack)
	}
	return true
}

// dropOld closes the one of some flows that has been idle longest. s.mu is held.
func (s *flowSet) dropOld() {
	var oldest *flow
	looked := 0
	for f := range s.all {
		if oldest == nil || f.used.Load() < oldest.used.Load() {
			oldest = f
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(s.all, oldest)
	oldest.close()
}

// expire closes flows that carry nothing any more.
func (s *flowSet) expire() {
	tick := time.NewTicker(flowSweep)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.mu.Lock()
			for f := range s.all {
				if now.UnixNano()-f.used.Load() > int64(flowPatience) {
					f.close()
				}
			}
			s.mu.Unlock()
		case <-s.end:
			return
		}
	}
}

func (s *flowSet) close() {
	s.mu.Lock()
	s.closed = true
	close(s.end)
	for f := range s.all {
		f.close()
	}
	s.mu.Unlock()
	s.busy.Wait()
}

// carry takes what the machine sends to the host's side.
func (f *flow) carry() {
	defer f.close()
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	f.queue.EventRegister(&entry)
	defer f.queue.EventUnregister(&entry)
	for {
		if f.ep.Readiness(waiter.ReadableEvents) == 0 {
			select {
			case <-readable:
			case <-f.gone:
				return
			}
		}
		if !f.carryOne() {
			return
		}
	}
}

func (f *flow) carryOne() (ok bool) {
	buf := datagrams.Get().(*[maxDatagram]byte)
	defer datagrams.Put(buf)
	w := tcpip.SliceWriter(buf[:])
	_, err := f.ep.Read(&w, tcpip.ReadOptions{})
	switch err.(type) {
	case nil:
		f.touch()
		f.toHost(buf[:len(buf)-len(w)])
	case *tcpip.ErrWouldBlock, *tcpip.ErrConnectionRefused: // nobody is at the machine's port; that may change
		select {
		case <-f.gone:
			return false
		default:
		}
	default:
		return false
	}
	return true
}

// carryBack takes what comes from the host's side to the machine.
func (f *flow) carryBack() {
	defer f.close()
	for f.host != nil {
		if err := f.carryOneBack(); err != nil {
			return
		}
	}
}

func (f *flow) carryOneBack() error {
	buf := datagrams.Get().(*[maxDatagram]byte)
	defer datagrams.Put(buf)
	n, err := f.host.Read(buf[:])
	switch {
	case err == nil:
		f.toMachine(buf[:n])
	case isRefused(err): // nobody is there; that may change
		select {
		case <-f.gone:
			return err
		case <-time.After(time.Millisecond):
		}
	default:
		return err
	}
	return nil
}

func (f *flow) toMachine(b []byte) {
	f.touch()
	var r bytes.Reader
	r.Reset(b)
	f.ep.Write(&r, tcpip.WriteOptions{}) // what cannot be sent is lost, as datagrams are
}

// forwardUDP lets a machine send to the host's network, and be answered.
func (n *network) forwardUDP(r *udp.ForwarderRequest) {
	id := r.ID()
	m := n.machine(fromAddress(id.RemoteAddress))
	to, ok := outside(fromAddress(id.LocalAddress))
	if m == nil || !ok {
		return
	}
	out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, id.LocalPort)))
	if err != nil {
		return
	}
	queue := new(waiter.Queue)
	ep, failed := r.CreateEndpoint(queue)
	if failed != nil {
		out.Close()
		return
	}
	f := &flow{ep: ep, queue: queue, host: out, gone: make(chan struct{}), toHost: func(b []byte) { out.Write(b) }}
	m.flows.start(f, func() {})
}

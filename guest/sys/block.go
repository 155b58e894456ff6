package sys

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/hypercall"
)

// ring is a block ring. Any number of goroutines have requests under way; each
// parks until its own are answered.
type ring struct {
	shared *hypercall.BlockRing

	// Guarded by blocks.mu.
	prod, cons uint32
	slots      [hypercall.BlockRingSize]slot
	free       []uint8   // places in slots
	room       sync.Cond // there is a free one again
}

// slot is a request under way: its place in slots is its ID.
type slot struct {
	ring *ring
	done bool
	// parked is whether the goroutine waits on wake, where it gets one message,
	// by whoever clears parked.
	parked bool
	wake   chan struct{}
	result int64

	// buf keeps the memory alive that the host knows by number.
	buf unsafe.Pointer

	newer, older *slot // of all that are under way
}

// blocks is what all rings share. There is no goroutine that waits for the host:
// one of those that have a request under way, the leader, waits in the poller for
// all of them, and names another one when it has its own answer.
var blocks struct {
	mu     sync.Mutex
	rings  []*ring
	newest *slot // under way
	leader *slot
	polls  bool    // the leader waits in the poller
	pd     uintptr // of guest.FDBlock, the leader's to use
}

func newRing(at hypercall.GVA) *ring {
	r := &ring{shared: (*hypercall.BlockRing)(pointer(uintptr(at)))}
	r.room.L = &blocks.mu
	for i := range r.slots {
		r.free = append(r.free, uint8(i))
		r.slots[i].ring = r
	}
	blocks.mu.Lock()
	blocks.rings = append(blocks.rings, r)
	blocks.mu.Unlock()
	return r
}

// ask makes a request and waits for its answer.
func (r *ring) ask(q *hypercall.BlockRequest, buf unsafe.Pointer) int64 {
	blocks.mu.Lock()
	result := r.begin(q, buf).end()
	blocks.mu.Unlock()
	return result
}

// begin puts a request into the ring. What its segments name is the memory at buf,
// which neither moves nor is freed before the answer. The caller holds blocks.mu,
// which is released while there is no room, and then must have no other request
// under way: those who wait for room rely on somebody to be waiting for answers.
func (r *ring) begin(q *hypercall.BlockRequest, buf unsafe.Pointer) *slot {
	for len(r.free) == 0 {
		r.room.Wait()
	}
	n := len(r.free) - 1
	i := r.free[n]
	r.free = r.free[:n]
	s := &r.slots[i]
	s.buf, s.done = buf, false
	s.link()
	to := &r.shared.Requests[r.prod%hypercall.BlockRingSize]
	*to = *q
	to.ID = uint64(i)
	r.publish()
	return s
}

func (r *ring) hasRoom() bool { return len(r.free) > 0 }

// publish shows the host one more request, and calls it if it does not look.
func (r *ring) publish() {
	r.prod++
	atomic.StoreUint32(&r.shared.ReqProd, r.prod)
	if r.prod-atomic.LoadUint32(&r.shared.ReqEvent) < 1 {
		guest.Call(hypercall.CallDoorbell, 0, 0, 0, 0)
	}
}

// take takes the responses that are there, and says whether there were any.
func (r *ring) take() bool {
	prod := atomic.LoadUint32(&r.shared.RspProd)
	if prod == r.cons {
		return false
	}
	for r.cons != prod {
		rsp := &r.shared.Responses[r.cons%hypercall.BlockRingSize]
		s := &r.slots[rsp.ID%hypercall.BlockRingSize]
		s.result, s.done, s.buf = rsp.Result, true, nil
		s.unlink()
		s.rouse()
		r.cons++
	}
	atomic.StoreUint32(&r.shared.RspCons, r.cons)
	return true
}

func takeAll() bool {
	any := false
	for _, r := range blocks.rings {
		any = r.take() || any
	}
	return any
}

func (s *slot) link() {
	if s.older = blocks.newest; s.older != nil {
		s.older.newer = s
	}
	s.newer, blocks.newest = nil, s
}

func (s *slot) unlink() {
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		blocks.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	}
	s.newer, s.older = nil, nil
}

// rouse lets a parked goroutine look again. The leader's answer may have been taken
// by somebody else: then nothing is left that the kernel would tell it of.
func (s *slot) rouse() {
	switch {
	case s.parked:
		s.parked = false
		s.wake <- struct{}{}
	case s == blocks.leader && blocks.polls:
		blocks.polls = false
		guest.PollNotify(guest.FDBlock, pollIn)
	}
}

// pollIn is EPOLLIN.
const pollIn = 1

// end waits for the answer and frees the slot. The caller holds blocks.mu, which
// is released meanwhile.
func (s *slot) end() int64 {
	if !s.done {
		takeAll()
	}
	for !s.done {
		if blocks.leader == nil {
			blocks.leader = s
		}
		if blocks.leader == s {
			lead()
		} else {
			s.park()
		}
	}
	if blocks.leader == s {
		handOn()
	}
	r := s.ring
	r.free = append(r.free, uint8(s.place()))
	r.room.Signal()
	return s.result
}

// handOn names the next leader, of those that are parked: others will look by
// themselves, and lead if nobody does. The newest request is likely to be answered
// last.
func handOn() {
	s := blocks.newest
	for s != nil && !s.parked {
		s = s.older
	}
	if blocks.leader = s; s != nil {
		s.rouse()
	}
}

// place is the slot's number.
func (s *slot) place() uintptr {
	return (uintptr(unsafe.Pointer(s)) - uintptr(unsafe.Pointer(&s.ring.slots))) / unsafe.Sizeof(*s)
}

func (s *slot) park() {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	s.parked = true
	blocks.mu.Unlock()
	<-s.wake
	blocks.mu.Lock()
}

// lead waits until the kernel sees responses, and takes them. The caller is the
// leader and holds blocks.mu, which is released meanwhile. The poll descriptor is
// reset before the last look, so that what comes later is told.
func lead() {
	ready := resetBlocks()
	if takeAll() {
		return
	}
	blocks.polls = ready
	blocks.mu.Unlock()
	if ready {
		pollWait(blocks.pd, 'r')
	} else {
		sleepNS(pollFailedNS)
	}
	blocks.mu.Lock()
	blocks.polls = false
	takeAll()
}

// pollFailedNS is how often the leader looks when the poller has no memory for
// its descriptor.
const pollFailedNS = 100_000

func resetBlocks() bool {
	if blocks.pd == 0 {
		pd, errno := pollOpen(uintptr(guest.FDBlock))
		if errno != 0 {
			return false
		}
		blocks.pd = pd
	}
	return pollReset(blocks.pd, 'r') == 0
}

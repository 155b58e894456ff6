package hv

import (
	"fmt"
	"sync/atomic"

	"github.com/pvrun/pvrun/hypercall"
)

// The bytes of streams' messages lie in what the messages' own data leave free of their
// first stride, each place's in a part of its own, so that one page table maps them all.
const (
	streamDataGVA = uint64(hypercall.MessageDataGVA) + hypercall.MaxMessage
	// streamChunk is the most bytes of one message of a stream.
	streamChunk = (hypercall.MessageStride - hypercall.MaxMessage) / hypercall.MessageSlots
)

// bring puts what streams have to tell into the queue, as far as there is room, and says
// whether it has put something. It is the vCPU's thread, and the guest does not run.
func (m *messages) bring() (put bool) {
	if m == nil || !m.vm.streams.waiting.Load() {
		return false
	}
	t := m.vm.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	m.look()
	n := 0
	for ; n < len(t.due) && m.free(); n++ {
		s := t.due[n]
		s.listed = false
		if s.wants() {
			m.tell(s)
			put = true
		}
		if s.wants() {
			s.listed = true
			t.due = append(t.due, s)
		}
	}
	rest := copy(t.due, t.due[n:])
	clear(t.due[rest:])
	t.due = t.due[:rest]
	t.waiting.Store(rest > 0)
	return put
}

// look takes over how many messages the guest has taken, if that can be: no fewer than
// before, and none that there was not.
func (m *messages) look() {
	if n := atomic.LoadUint32(&m.vm.shared.MessagesTaken); m.prod-n <= m.prod-m.taken {
		m.taken = n
	}
}

// free says whether the next place of the queue is the host's.
func (m *messages) free() bool {
	s := &m.slots[m.prod%hypercall.MessageSlots]
	return s.id == 0 && (!s.stream || m.prod-m.taken < hypercall.MessageSlots)
}

// tell puts one message about a stream that wants to tell something. The place is free.
func (m *messages) tell(s *conn) {
	msg := hypercall.Message{ID: s.id, Deadline: hypercall.Forever}
	switch n := min(s.out.len(), streamChunk, hypercall.StreamWindow-s.way); {
	case s.err != nil:
		msg.Kind = hypercall.MessageReset
		s.leave()
	case s.told && s.hasRoom():
		msg.Kind = hypercall.MessageRoom
		s.full = false
	default:
		at := streamDataGVA + uint64(m.prod%hypercall.MessageSlots)*streamChunk
		if err := m.fillAt(at, s.out.bytes()[:n]); err != nil {
			s.abort(err)
			if !s.told {
				return
			}
			msg.Kind = hypercall.MessageReset
			s.leave()
			break
		}
		msg.Kind, msg.Port = s.kind(n)
		msg.Data = hypercall.Extent{Addr: hypercall.GVA(at), Len: uint64(n)}
		s.sent(n)
	}
	m.publish(msg, true)
}

// kind is what the next message with n bytes is.
func (s *conn) kind(n int) (kind hypercall.MessageKind, port uint32) {
	switch {
	case !s.told:
		return hypercall.MessageOpen, s.port
	case s.ending && n == s.out.len():
		s.ended = true
		return hypercall.MessageEnd, 0
	}
	return hypercall.MessageData, 0
}

// sent notes n bytes that were put.
func (s *conn) sent(n int) {
	s.told = true
	s.way += n
	s.out.take(n)
	s.settle()
	s.changed.Broadcast()
}

// publish puts a message into the next place.
func (m *messages) publish(msg hypercall.Message, stream bool) {
	n := m.prod % hypercall.MessageSlots
	m.slots[n].stream = stream
	m.queue.Messages[n] = msg
	m.prod++
	atomic.StoreUint32(&m.queue.Prod, m.prod)
}

// fillAt copies data to guest memory, for which the machine gets pages where it has none.
func (m *messages) fillAt(at uint64, data []byte) error {
	t := m.vm.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	for a := at; len(data) > 0; a += pageSize {
		e := t.slot(a, true)
		if e == nil || e.load() == 0 && !t.fill(e, ptePresent|pteUser|pteUsed|pteNX) {
			return fmt.Errorf("%w: the message does not fit into what is free of its %d MiB", ErrMemory, m.vm.cfg.Memory>>20)
		}
		data = data[copy(t.mem.page(e.load().frame()), data):]
	}
	return nil
}

package sys

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// messageQueue is the host's queue of messages. Whoever looks first takes all there are:
// what is about streams they get at once, and invocations wait for package fs.
type messageQueue struct {
	shared *hypercall.MessageQueue
	begun  atomic.Bool // there is watch
	wanted atomic.Bool // somebody has found no invocation

	mu      sync.Mutex
	cons    uint32 // messages that were taken, ever
	invoked []fs.Invocation
}

var _ = [1]struct{}{}[fs.MaxResponse-hypercall.MaxMessage]

// theQueue is the machine's, nil for none.
var theQueue = sync.OnceValue(func() *messageQueue {
	at := guest.Info().Messages
	if at == 0 {
		return nil
	}
	return &messageQueue{shared: (*hypercall.MessageQueue)(pointer(uintptr(at)))}
})

// messageSource is what the host asks this program; nil where it asks nothing.
func messageSource() fs.Messages {
	if q := theQueue(); q != nil {
		return q
	}
	return nil
}

// hearStreams has messages about streams heard, whatever the program does.
func hearStreams() {
	if q := theQueue(); q != nil && guest.Info().Features&hypercall.FeatureStream != 0 {
		q.begin()
	}
}

// take takes all messages there are; none, if there are more than there can be. The
// caller holds mu.
func (q *messageQueue) take() {
	prod := atomic.LoadUint32(&q.shared.Prod)
	n := prod - q.cons
	if n == 0 || n > hypercall.MessageSlots {
		return
	}
	for ; q.cons != prod; q.cons++ {
		m := &q.shared.Messages[q.cons%hypercall.MessageSlots]
		data := guest.Bytes(hypercall.Extent{Addr: m.Data.Addr, Len: min(m.Data.Len, hypercall.MaxMessage)})
		if m.Kind == hypercall.MessageInvoke {
			q.invoked = append(q.invoked, fs.Invocation{ID: m.ID, Data: data, Deadline: m.Deadline})
		} else {
			streamMessage(m, data)
		}
	}
	atomic.StoreUint32(&guest.Shared().MessagesTaken, q.cons)
	if n == hypercall.MessageSlots {
		callStream(0, hypercall.StreamRoom, nil, 0)
	}
}

// Pending is whether there is an invocation.
func (q *messageQueue) Pending() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.take()
	return len(q.invoked) > 0
}

func (q *messageQueue) Next() (fs.Invocation, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.take()
	if len(q.invoked) == 0 {
		return fs.Invocation{}, false
	}
	v := q.invoked[0]
	q.invoked[0] = fs.Invocation{}
	if q.invoked = q.invoked[1:]; len(q.invoked) == 0 {
		q.invoked = nil
	}
	return v, true
}

// Respond ends a message. It cannot fail for one that was taken and not answered yet.
func (q *messageQueue) Respond(id uint64, failed bool, b []byte) {
	status := uintptr(hypercall.MessageDone)
	if failed {
		status = hypercall.MessageFailed
	}
	guest.Call(hypercall.CallRespond, uintptr(id), status, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
}

// Watch begins to tell package fs of messages. That somebody wants one, and there has
// been none, is a moment at which the program is ready.
func (q *messageQueue) Watch() {
	if !q.wanted.Swap(true) {
		go func() {
			RestAt(hypercall.ReadyMessage)
			q.begin()
		}()
	}
}

func (q *messageQueue) begin() {
	if !q.begun.Swap(true) {
		go q.watch()
	}
}

// watch takes messages and tells of invocations, for ever. The poll descriptor is reset
// before each look, so that what comes later is told.
func (q *messageQueue) watch() {
	var w eventWaiter
	for told := uint32(0); ; {
		w.reset(guest.FDMessage)
		if prod := atomic.LoadUint32(&q.shared.Prod); prod != told {
			told = prod
			if q.Pending() {
				files().MessagesChanged()
			}
			continue
		}
		w.wait()
	}
}

package sys

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// messageQueue is the host's queue of messages, for package fs.
type messageQueue struct {
	shared  *hypercall.MessageQueue
	cons    uint32 // messages that were taken, ever
	watched atomic.Bool
}

var _ = [1]struct{}{}[fs.MaxResponse-hypercall.MaxMessage]

// messageSource is what the host asks this program; nil where it asks nothing, or its
// listening socket.
func messageSource() fs.Messages {
	if q := theQueue(); q != nil && !forPort() {
		return q
	}
	return nil
}

// forPort says whether messages are for the program's listening socket.
func forPort() bool {
	return guest.Info().Ready&(hypercall.ReadyListen|hypercall.ReadyMessage) == hypercall.ReadyListen
}

// theQueue is the machine's, nil for none. It has one reader.
func theQueue() *messageQueue {
	at := guest.Info().Messages
	if at == 0 {
		return nil
	}
	return &messageQueue{shared: (*hypercall.MessageQueue)(pointer(uintptr(at)))}
}

// AnswerMessages has answer called for each message, in a goroutine of its own, where the
// messages are for the program's listening socket. It may be called once. What answer
// gets is the host's after it has returned.
func AnswerMessages(answer func(message []byte) (response []byte, failed bool)) {
	q := theQueue()
	if q == nil || !forPort() {
		return
	}
	go func() {
		var w eventWaiter
		for {
			w.reset(guest.FDMessage)
			for m, ok := q.Next(); ok; m, ok = q.Next() {
				go func() {
					response, failed := answer(m.Data)
					q.Respond(m.ID, failed, response)
				}()
			}
			w.wait()
		}
	}()
}

// Pending is false, too, for more messages than there can be.
func (q *messageQueue) Pending() bool {
	n := atomic.LoadUint32(&q.shared.Prod) - q.cons
	return n > 0 && n <= hypercall.MessageSlots
}

func (q *messageQueue) Next() (fs.Invocation, bool) {
	if !q.Pending() {
		return fs.Invocation{}, false
	}
	m := &q.shared.Messages[q.cons%hypercall.MessageSlots]
	q.cons++
	data := hypercall.Extent{Addr: m.Data.Addr, Len: min(m.Data.Len, hypercall.MaxMessage)}
	return fs.Invocation{ID: m.ID, Data: guest.Bytes(data), Deadline: m.Deadline}, true
}

// Respond ends a message. It cannot fail for one that was taken and not answered yet.
func (q *messageQueue) Respond(id uint64, failed bool, b []byte) {
	status := uintptr(hypercall.MessageDone)
	if failed {
		status = hypercall.MessageFailed
	}
	guest.Call(hypercall.CallRespond, uintptr(id), status, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
}

// Watch begins to tell package fs of messages.
func (q *messageQueue) Watch() {
	if !q.watched.Swap(true) {
		go q.watch()
	}
}

// watch tells of messages, for ever. The poll descriptor is reset before each look, so
// that what comes later is told. That somebody wants a message, and there has been
// none, is a moment at which the program is ready.
func (q *messageQueue) watch() {
	RestAt(hypercall.ReadyMessage)
	var w eventWaiter
	for told := uint32(0); ; {
		w.reset(guest.FDMessage)
		if prod := atomic.LoadUint32(&q.shared.Prod); prod != told {
			told = prod
			files().MessagesChanged()
			continue
		}
		w.wait()
	}
}

package hv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// Response is what a program has answered to a message.
type Response struct {
	Data   []byte
	Failed bool // its handler has failed, and Data is the error's text
}

// EndedError is a program that ended where it had something to do yet.
type EndedError struct{ Exit Exit }

func (e *EndedError) Error() string {
	if e.Exit.Signal != 0 {
		return fmt.Sprintf("the program was killed by signal %d", e.Exit.Signal)
	}
	return fmt.Sprintf("the program has ended with code %d", e.Exit.Code)
}

// messages hands messages to the program and takes what it responds.
type messages struct {
	vm    *VM
	frame frame
	queue *hypercall.MessageQueue
	prod  uint32
	taken uint32 // of them, as far as the guest has told
	slots [hypercall.MessageSlots]messageSlot
}

// messageSlot is the host's account of one place in the queue.
type messageSlot struct {
	id     uint64 // of an invocation that is under way; 0: none
	stream bool   // the message is about a stream
	pages  int    // that are mapped for an invocation's data

	answered bool
	response Response
}

// keptPages is how much memory of a message's data stays with its place, and keptStreams
// how many places have memory for streams from the start.
const (
	keptPages   = 16
	keptStreams = 8
)

func messageGVA(slot int) uint64 {
	return uint64(hypercall.MessageDataGVA) + uint64(slot)*hypercall.MessageStride
}

// loadMessages makes the queue of a machine whose program gets messages.
func (vm *VM) loadMessages() error {
	if !vm.cfg.Messages || vm.cfg.Mode == hypercall.ModeTrap {
		return nil
	}
	first, _, err := vm.place(hypercall.MessageGVA, pageSize, pteNX)
	if err != nil {
		return err
	}
	// What most messages need is there from the start: a machine that is rewound has
	// then nothing to map or unmap.
	if _, err := vm.reserve(hypercall.MessageDataGVA, keptPages, pteNX); err != nil {
		return err
	}
	if _, err := vm.reserve(hypercall.GVA(streamDataGVA), keptStreams*streamChunk/pageSize, pteNX); err != nil {
		return err
	}
	vm.messages = &messages{vm: vm, frame: first, queue: vm.mem.messageQueue(first)}
	vm.streams = newStreams(vm)
	vm.start.info.Messages = hypercall.MessageGVA
	return nil
}

var errLong = fmt.Errorf("a message has %d bytes at the most", hypercall.MaxMessage)

var errQueueFull = errors.New("the program has not answered earlier messages yet")

// put hands a message to the guest. The vCPU is not running.
func (m *messages) put(data []byte, deadline int64) (*messageSlot, error) {
	n := int(m.prod % hypercall.MessageSlots)
	s := &m.slots[n]
	if len(data) > hypercall.MaxMessage {
		return nil, errLong
	}
	if m.look(); !m.free() {
		return nil, errQueueFull
	}
	// Before they are filled: where memory ends half way trim finds the others.
	s.pages = max(s.pages, (len(data)+pageSize-1)>>pageShift)
	if err := m.fillAt(messageGVA(n), data); err != nil {
		return nil, err
	}
	*s = messageSlot{id: m.vm.streams.messageID(), pages: s.pages}
	m.publish(hypercall.Message{
		ID: s.id, Deadline: deadline,
		Data: hypercall.Extent{Addr: hypercall.GVA(messageGVA(n)), Len: uint64(len(data))},
	}, false)
	m.vm.kick.raised.Or(1 << hypercall.EventMessage)
	return s, nil
}

// find is the place of an invocation that is under way, or nil.
func (m *messages) find(id uint64) (slot int, s *messageSlot) {
	for i := range m.slots {
		if m.slots[i].id == id && id != 0 {
			return i, &m.slots[i]
		}
	}
	return 0, nil
}

// trim gives back what a long message has taken.
func (m *messages) trim(slot int) error {
	t, s := m.vm.tables, &m.slots[slot]
	if s.pages <= keptPages {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; s.pages > keptPages; s.pages-- {
		if e := t.slot(messageGVA(slot)+uint64(s.pages-1)*pageSize, false); e != nil {
			t.clear(e)
		}
	}
	return t.invalidate()
}

// respond ends a message.
func (m *messages) respond(a callArgs) hypercall.Status {
	if m == nil {
		return hypercall.ENOSYS
	}
	id, status, at, n := a[0], a[1], a[2], a[3]
	slot, s := m.find(id)
	if s == nil || n > hypercall.MaxMessage || status > hypercall.MessageFailed {
		return hypercall.EINVAL
	}
	data := make([]byte, n)
	if st := m.vm.space.copyIn(data, at); st != 0 {
		return st
	}
	s.id, s.answered, s.response = 0, true, Response{data, status == hypercall.MessageFailed}
	if m.trim(slot) != nil {
		return hypercall.EIO
	}
	return 0
}

// errResponded ends the vCPU's loop: the program has answered what it was asked.
var errResponded = errors.New("responded")

// Invoke hands the program a message and lets the machine run, on the calling
// goroutine, until the program has answered; then the machine stands still until the
// next. One Run, RunUntil or Invoke may be under way. To a program that listens on
// Config.ReadyPort the message is what a client sends there, and the response what it gets
// until the program ends the connection. The error is ctx's cause, an *EndedError
// where the program has ended, or as of Run; the machine is of no more use then.
func (vm *VM) Invoke(ctx context.Context, message []byte) (Response, error) {
	if vm.messages == nil {
		return Response{}, &HostError{"invoke", errors.New("the machine has no messages")}
	}
	if vm.over() { // its memory may be gone
		return Response{}, errNotAgain
	}
	switch {
	case vm.moment == hypercall.ReadyConnect:
		return Response{}, &HostError{"invoke", errConnects}
	case vm.listens():
		return vm.exchange(ctx, message)
	}
	slot, err := vm.messages.put(message, vm.deadline(ctx))
	if err != nil {
		return Response{}, &HostError{"invoke", err}
	}
	begin := time.Now()
	exit, err := vm.enter(ctx)
	vm.stats.run += time.Since(begin)
	switch {
	case slot.answered:
		vm.from.learn(vm.mem)
		return slot.response, nil
	case err == nil:
		err = &EndedError{exit}
	}
	return Response{}, err
}

// deadline is ctx's on the guest's clock, in ns.
func (vm *VM) deadline(ctx context.Context) int64 {
	at, ok := ctx.Deadline()
	if !ok {
		return hypercall.Forever
	}
	now := vm.clock.now()
	return max(1, now+min(int64(time.Until(at)), hypercall.Forever-now))
}

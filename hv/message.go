package hv

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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
	last  uint64 // ID of the youngest
	slots [hypercall.MessageSlots]messageSlot
}

// messageSlot is the host's account of one place in the queue.
type messageSlot struct {
	id    uint64 // 0: nothing is under way
	pages int    // that are mapped for its data

	answered bool
	response Response
}

// keptPages is how much memory of a message's data stays with its place.
const keptPages = 16

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
	vm.messages = &messages{vm: vm, frame: first, queue: vm.mem.messageQueue(first)}
	vm.start.info.Messages = hypercall.MessageGVA
	return nil
}

var errQueueFull = errors.New("the program has not answered earlier messages yet")

// put hands a message to the guest. The vCPU is not running.
func (m *messages) put(data []byte, deadline int64) (*messageSlot, error) {
	n := int(m.prod % hypercall.MessageSlots)
	s := &m.slots[n]
	switch {
	case len(data) > hypercall.MaxMessage:
		return nil, fmt.Errorf("a message of %d bytes; %d are the most", len(data), hypercall.MaxMessage)
	case s.id != 0:
		return nil, errQueueFull
	}
	if err := m.fill(n, data); err != nil {
		return nil, err
	}
	m.last++
	*s = messageSlot{id: m.last, pages: s.pages}
	m.queue.Messages[n] = hypercall.Message{
		ID: s.id, Deadline: deadline,
		Data: hypercall.Extent{Addr: hypercall.GVA(messageGVA(n)), Len: uint64(len(data))},
	}
	m.prod++
	atomic.StoreUint32(&m.queue.Prod, m.prod)
	m.vm.kick.raised.Or(1 << hypercall.EventMessage)
	return s, nil
}

// fill copies a message into the pages of its place, which grow as they have to.
func (m *messages) fill(slot int, data []byte) error {
	t, s := m.vm.tables, &m.slots[slot]
	t.mu.Lock()
	defer t.mu.Unlock()
	for a := messageGVA(slot); len(data) > 0; a += pageSize {
		e := t.slot(a, true)
		if e == nil || e.load() == 0 && !t.fill(e, ptePresent|pteUser|pteUsed|pteNX) {
			return fmt.Errorf("%w: the message does not fit into what is free of its %d MiB", ErrMemory, m.vm.cfg.Memory>>20)
		}
		s.pages = max(s.pages, int(a-messageGVA(slot))>>pageShift+1)
		data = data[copy(t.mem.page(e.load().frame()), data):]
	}
	return nil
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
		t.clear(t.slot(messageGVA(slot)+uint64(s.pages-1)*pageSize, false))
	}
	return t.invalidate()
}

// respond ends a message.
func (m *messages) respond(a callArgs) hypercall.Status {
	if m == nil {
		return hypercall.ENOSYS
	}
	id, status, at, n := a[0], a[1], a[2], a[3]
	slot := int((id - 1) % hypercall.MessageSlots)
	s := &m.slots[slot]
	if id == 0 || s.id != id || n > hypercall.MaxMessage || status > hypercall.MessageFailed {
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
// next. One Invoke or Run may be under way. The error is ctx's cause, an *EndedError
// where the program has ended, or as of Run; the machine is of no more use then.
func (vm *VM) Invoke(ctx context.Context, message []byte) (Response, error) {
	if vm.messages == nil {
		return Response{}, &HostError{"invoke", errors.New("the machine has no messages")}
	}
	if vm.over() { // its memory may be gone
		return Response{}, errNotAgain
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

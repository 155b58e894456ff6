package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// Machine is a machine in a worker; its methods are as hv.VM has them. One call is under way at a time. When its worker has
// ended all calls fail with an error that wraps pool.ErrLost.
type Machine struct {
	of             *process
	id             uint32
	stdout, stderr io.Writer
	answer         chan frame // of 1
	waiting        bool       // for an answer; under the process's lock

	patience time.Duration // with the worker

	closed bool
	stats  hv.Stats // as they were seen last
}

var _ pool.Mortal = (*Machine)(nil)

// Lost says whether the machine's worker has ended.
func (m *Machine) Lost() bool { return m.of.isGone() }

// begin sends a call.
func (m *Machine) begin(f frame) error {
	p := m.of
	p.mu.Lock()
	m.waiting = true
	p.mu.Unlock()
	f.machine = m.id
	if !p.isGone() && p.send(f) == nil {
		return nil
	}
	<-p.gone // it is on its way
	return p.why
}

// await waits for the answer; nil, nil when stop or done comes first.
func (m *Machine) await(stop, done <-chan struct{}) (*frame, error) {
	var f frame
	select {
	case f = <-m.answer:
	case <-m.of.gone:
		select {
		case f = <-m.answer: // it came before
		default:
			return nil, m.of.why
		}
	case <-stop:
		return nil, nil
	case <-done:
		return nil, nil
	}
	if f.kind == kindError {
		return nil, decodeError(f.payload)
	}
	return &f, nil
}

// awaitSoon is await of a worker that has nothing to wait for.
func (m *Machine) awaitSoon() (*frame, error) {
	defer time.AfterFunc(m.patience, m.of.kill).Stop()
	return m.await(nil, nil)
}

// call is a call that takes no time.
func (m *Machine) call(f frame) (*frame, error) {
	if err := m.begin(f); err != nil {
		return nil, err
	}
	return m.awaitSoon()
}

// Invoke is as hv.VM.Invoke is.
func (m *Machine) Invoke(ctx context.Context, message []byte) (hv.Response, error) {
	f := frame{kind: kindInvoke, payload: message}
	if len(message) > hypercall.MaxMessage {
		return hv.Response{}, &hv.HostError{Op: "invoke", Err: fmt.Errorf("a message has %d bytes at the most", hypercall.MaxMessage)}
	}
	if end, ok := ctx.Deadline(); ok {
		f.value = max(1, int64(time.Until(end)))
	}
	answer, err := m.work(ctx, f, nil)
	switch {
	case err != nil:
		return hv.Response{}, err
	case answer.kind != kindResponse:
		return hv.Response{}, m.nonsense()
	}
	return hv.Response{Data: answer.payload, Failed: answer.value != 0}, nil
}

// RunUntil is as hv.VM.RunUntil is.
func (m *Machine) RunUntil(ctx context.Context, done <-chan struct{}) error {
	_, err := m.work(ctx, frame{kind: kindRun}, done)
	return err
}

// work is a call that lasts until its answer comes or ctx ends; done is passed on.
func (m *Machine) work(ctx context.Context, f frame, done <-chan struct{}) (*frame, error) {
	if err := m.begin(f); err != nil {
		return nil, err
	}
	answer, err := m.await(ctx.Done(), done)
	if answer == nil && err == nil && ctx.Err() == nil {
		m.tell(kindIdle, 0)
		answer, err = m.await(ctx.Done(), nil)
	}
	if answer == nil && err == nil {
		m.tell(kindCancel, 0)
		answer, err = m.awaitSoon()
	}
	if err == errCancelled && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return answer, err
}

// tell sends what has no answer. If it cannot be sent the worker is ending.
func (m *Machine) tell(k kind, value int64) {
	_ = m.of.send(frame{kind: k, machine: m.id, value: value})
}

// Signal is as hv.VM.Signal is: any goroutine may call it.
func (m *Machine) Signal(s syscall.Signal) {
	if !m.Lost() {
		m.tell(kindSignal, int64(s))
	}
}

// nonsense ends a worker whose answer is none.
func (m *Machine) nonsense() error {
	m.of.kill()
	<-m.of.gone
	return m.of.why
}

// Rewind is as hv.VM.Rewind is.
func (m *Machine) Rewind() error {
	_, err := m.call(frame{kind: kindRewind})
	return err
}

// Stats is as hv.VM.Stats is; of a machine that is lost or closed it tells what was seen
// last.
func (m *Machine) Stats() hv.Stats {
	if m.closed {
		return m.stats
	}
	var s hv.Stats
	f, err := m.call(frame{kind: kindStats})
	if err == nil && f.kind == kindFigures && json.Unmarshal(f.payload, &s) == nil {
		m.stats = s
	}
	return m.stats
}

// OwnMemory is as hv.VM.OwnMemory is, and 0 of a machine that is lost or closed.
func (m *Machine) OwnMemory() int64 {
	if m.closed {
		return 0
	}
	f, err := m.call(frame{kind: kindMemory})
	if err != nil {
		return 0
	}
	return f.value
}

// Close takes the machine away. Of machines that are lost the first says why.
func (m *Machine) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	_, err := m.call(frame{kind: kindClose})
	if m.Lost() {
		err = m.of.death()
	}
	m.of.remove(m)
	m.of.source.release(m.of)
	return err
}

// Package lambda has programs that are written for AWS Lambda answer events: it serves
// the Runtime API to each, as the AWS Lambda Developer Guide has it, "Using the Lambda
// runtime API for custom runtimes".
package lambda

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
)

// VM is what a machine has to have: an *hv.VM.
type VM interface {
	Accept(ctx context.Context) (net.Conn, error)
	RunUntil(ctx context.Context, done <-chan struct{}) error
	Signal(syscall.Signal)
	Rewind() error
	Stats() hv.Stats
	OwnMemory() int64
	Close() error
}

// Machine is one whose program asks the Runtime API for events.
type Machine struct {
	VM
	arn  string
	life *life // since it was made or rewound, and has had an event; nil before
}

// New is vm; arn is what its program is told that it is.
func New(vm VM, arn string) *Machine { return &Machine{VM: vm, arn: arn} }

// settleTime is how long a program may work on when it has answered.
const settleTime = time.Second

// farOff is the deadline that an event without one has: the longest that AWS knows.
const farOff = 15 * time.Minute

var errStillBusy = errors.New("the program has work when it has answered")

// Invoke hands the program an event and runs the machine until it has answered. The error
// is pool.ErrSpent where there is an answer, but the machine is of no more use.
func (m *Machine) Invoke(ctx context.Context, id string, message []byte) (hv.Response, error) {
	if m.life == nil {
		m.life = m.begin()
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(farOff)
	}
	e := &event{id: id, body: message, deadline: deadline, extra: extraOf(ctx), done: make(chan struct{})}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	e.settle = func() { time.AfterFunc(settleTime, func() { end(errStillBusy) }) }
	m.life.put(e)
	err := m.RunUntil(running, e.done)
	response, answered := m.life.take(e)
	switch {
	case !answered:
		return hv.Response{}, err
	case err != nil:
		return response, pool.ErrSpent
	}
	return response, nil
}

// RoundTrip is not for programs that want events.
func (m *Machine) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the program takes events, and serves no HTTP")
}

// Rewind makes the machine what it was.
func (m *Machine) Rewind() error {
	m.end()
	return m.VM.Rewind()
}

// Close takes the machine away.
func (m *Machine) Close() error {
	m.end()
	return m.VM.Close()
}

func (m *Machine) end() {
	if m.life != nil {
		m.life.end()
		m.life = nil
	}
}

// Extra is what a client may say of an event.
type Extra struct {
	Trace   string // X-Ray's header
	Context string // of the client's, JSON
}

type extraKey struct{}

// With has the events of ctx have something extra.
func With(ctx context.Context, e Extra) context.Context {
	return context.WithValue(ctx, extraKey{}, e)
}

func extraOf(ctx context.Context) Extra {
	e, _ := ctx.Value(extraKey{}).(Extra)
	return e
}

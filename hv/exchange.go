package hv

import (
	"context"
	"errors"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// listens says whether messages are for the port that the program listens on.
func (vm *VM) listens() bool {
	switch vm.moment {
	case hypercall.ReadyListen:
		return true
	case hypercall.ReadyMessage:
		return false
	}
	return vm.start.info.Ready&(hypercall.ReadyListen|hypercall.ReadyMessage) == hypercall.ReadyListen
}

var errConnects = errors.New("the program gets no messages: it asks for work itself, at a port of the host's")

// exchange is Invoke for a program that listens on a port: the message is what a client
// sends there, and the response what it gets until the program ends the connection. The
// client's side stays open meanwhile: a server may take its end for a client that has
// left. All of it happens on the calling goroutine.
func (vm *VM) exchange(ctx context.Context, message []byte) (Response, error) {
	c, err := vm.streams.begin(uint32(vm.cfg.ReadyPort), message)
	if err != nil {
		return Response{}, &HostError{"invoke", err}
	}
	defer vm.streams.leaveTo(c)
	begin := time.Now()
	exit, err := vm.enter(ctx)
	for err == errResponded && !c.answered() { // to something else
		exit, err = vm.enter(ctx)
	}
	vm.stats.run += time.Since(begin)
	switch {
	case c.answered():
		vm.from.learn(vm.mem)
		return c.response(), nil
	case err == nil:
		err = &EndedError{exit}
	}
	return Response{}, err
}

// begin opens a stream that the loop is left for when it has ended.
func (t *streams) begin(port uint32, message []byte) (*conn, error) {
	switch {
	case port == 0:
		return nil, errNoPort
	case len(message) > hypercall.MaxMessage:
		return nil, errLong
	}
	c, err := t.open(port)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	copy(c.out.add(len(message)), message)
	c.most = hypercall.MaxMessage + 1
	t.awaited = c
	c.begin()
	return c, nil
}

// leaveTo ends what begin began.
func (t *streams) leaveTo(c *conn) {
	t.mu.Lock()
	t.awaited = nil
	t.mu.Unlock()
	_ = c.Close()
}

// answered says whether the program has ended its side, or has said too much.
func (c *conn) answered() bool {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	return c.complete()
}

// complete is answered for who has the lock.
func (c *conn) complete() bool {
	return c.inEnded || c.err != nil && c.err != ErrOver || c.in.len() >= c.most
}

// response is what the program has answered.
func (c *conn) response() Response {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	data := c.in.bytes()
	c.in = buffer{}
	switch {
	case len(data) > hypercall.MaxMessage:
		return Response{[]byte("port of the program: the response is longer than 6 MiB"), true}
	case !c.inEnded && len(data) == 0:
		return Response{[]byte("port of the program: " + c.err.Error()), true}
	}
	return Response{data, false}
}

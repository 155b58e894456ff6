package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// Main is a worker. It returns the process's exit code when the socket is closed.
func Main() int {
	// Who asks all processes of a group, or of a service, to end asks the other side to
	// answer what is under way first.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	// Memory that is short is better missed here than by all functions.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	return 0
}

func work() error {
	syscall.CloseOnExec(socketFD)
	socket, err := socketOf(socketFD)
	if err != nil {
		return err
	}
	c := &child{socket: socket, in: bufio.NewReaderSize(socket, 32<<10), clones: map[uint32]*clone{}, over: make(chan error, 1)}
	if err := c.start(); err != nil {
		return c.send(frame{kind: kindError, payload: encodeError(err)})
	}
	if err := c.send(frame{kind: kindDone}); err != nil {
		return err
	}
	go c.read()
	return <-c.over // machines that are left end with the process
}

// child is the worker's side.
type child struct {
	socket   *net.UnixConn
	in       *bufio.Reader // of the goroutine that reads
	snapshot *hv.Snapshot
	over     chan error // of 1

	writing sync.Mutex

	mu     sync.Mutex
	clones map[uint32]*clone
}

// clone is a machine.
type clone struct {
	child *child
	id    uint32
	vm    *hv.VM

	// Under the child's lock:
	busy   bool            // a call is under way
	ctx    context.Context // of kindInvoke and kindRun
	cancel context.CancelFunc
	done   chan struct{} // kindRun may end; nil: it is closed
}

// start takes the snapshot.
func (c *child) start() error {
	f, err := readFrame(c.in)
	switch {
	case err != nil:
		return err
	case f.kind != kindStart:
		return fmt.Errorf("a frame of kind %d at first", f.kind)
	}
	// A thread that is in a guest is one that runs, for Go's scheduler.
	runtime.GOMAXPROCS(max(int(f.value), 2))
	c.snapshot, err = hv.ReceiveSnapshot(hv.Handover{Pages: os.NewFile(pagesFD, "snapshot"), State: f.payload})
	return err
}

func (c *child) send(f frame) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return writeFrame(c.socket, f)
}

// read reads until there is a call, has another goroutine read on, and does the call:
// handing it to another goroutine would cost it waking a thread.
func (c *child) read() {
	for {
		f, err := readFrame(c.in)
		if err == io.EOF {
			c.end(nil)
			return
		}
		if err == nil && c.tell(f) {
			continue
		}
		var m *clone
		if err == nil {
			m, err = c.begin(f)
		}
		if err != nil {
			c.end(err)
			return
		}
		go c.read()
		c.finish(m, m.do(f))
		return
	}
}

func (c *child) end(err error) {
	select {
	case c.over <- err:
	default:
	}
}

// begin finds the machine that a call is for.
func (c *child) begin(f frame) (*clone, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.clones[f.machine]
	switch {
	case f.kind == kindNew && m == nil:
		m = &clone{child: c, id: f.machine}
		c.clones[f.machine] = m
	case f.kind == kindNew || m == nil || m.busy:
		return nil, fmt.Errorf("a call of kind %d for machine %d", f.kind, f.machine)
	}
	m.busy = true
	if f.kind == kindInvoke || f.kind == kindRun { // the frame that ends it may be the next
		m.ctx, m.cancel = context.WithCancel(context.Background())
	}
	if f.kind == kindRun {
		m.done = make(chan struct{})
	}
	return m, nil
}

// finish answers a call.
func (c *child) finish(m *clone, answer frame) {
	c.mu.Lock()
	m.busy = false
	if m.cancel != nil {
		m.cancel()
		m.cancel, m.done = nil, nil
	}
	if m.vm == nil {
		delete(c.clones, m.id)
	}
	c.mu.Unlock()
	answer.machine = m.id
	if err := c.send(answer); err != nil {
		c.end(err)
	}
}

// tell does what a frame says that is no call.
func (c *child) tell(f frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.clones[f.machine]
	switch f.kind {
	case kindCancel:
		if m != nil && m.cancel != nil {
			m.cancel()
		}
	case kindIdle:
		if m != nil && m.done != nil {
			close(m.done)
			m.done = nil
		}
	case kindSignal:
		if m != nil && m.vm != nil {
			m.vm.Signal(syscall.Signal(f.value))
		}
	default:
		return false
	}
	return true
}

// do does a call.
func (m *clone) do(f frame) frame {
	var err error
	switch f.kind {
	case kindNew:
		err = m.make(f.value)
	case kindInvoke:
		return m.invoke(f)
	case kindRun:
		err = m.run()
	case kindRewind:
		err = m.vm.Rewind()
	case kindStats:
		return m.stats()
	case kindMemory:
		return frame{kind: kindDone, value: m.vm.OwnMemory()}
	case kindClose:
		err = m.swap(nil).Close()
	default:
		err = fmt.Errorf("there is no call %d", f.kind)
	}
	if err != nil {
		return frame{kind: kindError, payload: encodeError(err)}
	}
	return frame{kind: kindDone}
}

func (m *clone) make(wants int64) (err error) {
	var c hv.Clone
	if wants&wantsStdout != 0 {
		c.Stdout = output{m, kindStdout}
	}
	if wants&wantsStderr != 0 {
		c.Stderr = output{m, kindStderr}
	}
	vm, err := m.child.snapshot.New(c)
	if err == nil {
		m.swap(vm)
	}
	return err
}

// swap sets vm, which signals are sent to beside calls.
func (m *clone) swap(vm *hv.VM) (old *hv.VM) {
	m.child.mu.Lock()
	defer m.child.mu.Unlock()
	old, m.vm = m.vm, vm
	return old
}

// invocation is a context that ends when the other side says so; the program knows of a
// deadline.
type invocation struct {
	context.Context
	end time.Time
}

func (i invocation) Deadline() (time.Time, bool) { return i.end, !i.end.IsZero() }

func (m *clone) invoke(f frame) frame {
	i := invocation{Context: m.ctx}
	if f.value > 0 {
		i.end = time.Now().Add(time.Duration(f.value))
	}
	r, err := m.vm.Invoke(i, f.payload)
	if err != nil {
		return frame{kind: kindError, payload: encodeError(err)}
	}
	answer := frame{kind: kindResponse, payload: r.Data}
	if r.Failed {
		answer.value = 1
	}
	return answer
}

func (m *clone) run() error {
	m.child.mu.Lock()
	done := m.done
	m.child.mu.Unlock()
	if done == nil { // so soon
		done = make(chan struct{})
		close(done)
	}
	return m.vm.RunUntil(m.ctx, done)
}

func (m *clone) stats() frame {
	b, err := json.Marshal(m.vm.Stats())
	if err == nil && len(b) > maxText {
		err = errors.New("too many figures")
	}
	if err != nil {
		return frame{kind: kindError, payload: encodeError(err)}
	}
	return frame{kind: kindFigures, payload: b}
}

// output sends what a program writes. It waits while the other side has not read what
// came before.
type output struct {
	of   *clone
	kind kind
}

func (o output) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), maxOutput)]
		if err := o.of.child.send(frame{machine: o.of.id, kind: o.kind, payload: part}); err != nil {
			return n, err
		}
		n, b = n+len(part), b[len(part):]
	}
	return n, nil
}

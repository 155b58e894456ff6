package worker

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// patience is how long a worker may take over what should take no time.
const patience = 30 * time.Second

// process is a worker, seen from here.
type process struct {
	source  *Source
	stderr  firstBytes
	started chan struct{} // closed: it takes calls, or gone is closed, too
	cmd     *exec.Cmd
	socket  *net.UnixConn
	gone    chan struct{} // closed: it has ended, and why is set
	why     error         // wraps pool.ErrLost
	tell    sync.Once     // of why

	holds   int // the source's: machines that are there, or to be made
	writing sync.Mutex

	mu       sync.Mutex
	machines map[uint32]*Machine
	last     uint32 // number of a machine
}

// newProcess begins to start a worker.
func newProcess(s *Source) *process {
	p := &process{source: s, started: make(chan struct{}), gone: make(chan struct{}), machines: map[uint32]*Machine{}}
	s.beside.Go(p.run)
	return p
}

// run is the worker's life.
func (p *process) run() {
	var err error
	p.cmd, p.socket, err = command(p.source.handover.Pages, &p.stderr)
	if err == nil {
		err = p.serve()
		p.socket.Close()
		err = cmp.Or(p.wait(), err)
	}
	if !isClosed(p.started) {
		p.why = cmp.Or(err, errors.New("a worker has ended at once"))
		defer close(p.started)
	} else {
		p.why = fmt.Errorf("%w: %w", pool.ErrLost, cmp.Or(err, errors.New("its worker has ended")))
	}
	p.source.forget(p)
	close(p.gone)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// serve takes what the worker sends until it ends.
func (p *process) serve() error {
	in := bufio.NewReaderSize(p.socket, 64<<10)
	start := frame{kind: kindStart, value: int64(runtime.GOMAXPROCS(0)), payload: p.source.handover.State}
	if err := p.send(start); err != nil {
		return err
	}
	if err := p.socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	f, err := readFrame(in)
	switch {
	case err != nil:
		return err
	case f.kind == kindError:
		return decodeError(f.payload)
	case f.kind != kindDone:
		return errNonsense
	}
	if err := p.socket.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	close(p.started)
	for {
		f, err := readFrame(in)
		if err == nil {
			err = p.take(f)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var errNonsense = errors.New("the worker has sent what makes no sense")

// take has a frame come where it belongs.
func (p *process) take(f frame) error {
	p.mu.Lock()
	m := p.machines[f.machine]
	expected := m != nil && m.waiting
	if expected && f.kind != kindStdout && f.kind != kindStderr {
		m.waiting = false
	}
	p.mu.Unlock()
	var err error
	switch {
	case !expected:
		return errNonsense
	case f.kind == kindStdout && m.stdout != nil:
		_, err = m.stdout.Write(f.payload)
	case f.kind == kindStderr && m.stderr != nil:
		_, err = m.stderr.Write(f.payload)
	case f.kind < kindDone || f.kind > kindFigures:
		return errNonsense
	default:
		m.answer <- f
	}
	_ = err // a program need not know that nobody listens any more
	return nil
}

// send writes a frame. A worker that does not read is killed.
func (p *process) send(f frame) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.socket.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	err := writeFrame(p.socket, f)
	if err != nil { // half of it may be there
		p.kill()
	}
	return err
}

func (p *process) kill() { _ = p.cmd.Process.Kill() } // it may have ended

// wait waits for the end of a process whose socket is closed: it ends by itself, or not.
func (p *process) wait() error {
	defer time.AfterFunc(patience, p.kill).Stop()
	err := p.cmd.Wait()
	if err == nil {
		return nil
	}
	if first, _, _ := strings.Cut(p.stderr.String(), "\n"); first != "" {
		return fmt.Errorf("worker %d: %w: %s", p.cmd.Process.Pid, err, first)
	}
	return fmt.Errorf("worker %d: %w", p.cmd.Process.Pid, err)
}

// end has the worker end, which has no machines.
func (p *process) end() {
	<-p.started
	if p.socket != nil {
		_ = p.socket.CloseWrite() // it ends, and then this side does
	}
}

// isGone says whether it has ended.
func (p *process) isGone() bool { return isClosed(p.gone) }

// death is why the worker has ended, for the first who asks.
func (p *process) death() (err error) {
	p.tell.Do(func() { err = p.why })
	return err
}

// newMachine makes a machine in the worker.
func (p *process) newMachine(stdout, stderr io.Writer) (*Machine, error) {
	m := &Machine{of: p, stdout: stdout, stderr: stderr, answer: make(chan frame, 1), patience: patience}
	p.mu.Lock()
	for p.last++; p.machines[p.last] != nil; p.last++ {
	}
	m.id = p.last
	p.machines[m.id] = m
	p.mu.Unlock()
	wants := int64(0)
	if stdout != nil {
		wants |= wantsStdout
	}
	if stderr != nil {
		wants |= wantsStderr
	}
	if _, err := m.call(frame{kind: kindNew, value: wants}); err != nil {
		p.remove(m)
		return nil, err
	}
	return m, nil
}

func (p *process) remove(m *Machine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.machines, m.id)
}

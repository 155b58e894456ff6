package pool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
)

func TestMain(m *testing.M) { os.Exit(need.Main(m)) }

// fakeSource makes machines that are functions.
type fakeSource struct {
	contract Contract

	boot   time.Duration // to make a machine
	fails  error         // to make one
	rewind error
	idle   time.Duration // from the end of requests until the program does nothing
	answer func(ctx context.Context, m *fakeMachine, message string) (string, error)

	mu     sync.Mutex
	made   []*fakeMachine
	closed bool
}

type fakeMachine struct {
	source  *fakeSource
	rewound int // times
	uses    int // since it was made or rewound
	all     int // uses
	busy    bool
	closed  bool
	exits   uint64

	asked, most int           // requests now, and at the most
	running     bool          // RunUntil is under way
	over        bool          // it has failed
	life        chan struct{} // closed when that is over
	ended       func()        // has RunUntil return
	signals     []syscall.Signal
	signal      chan struct{} // closed by the first
}

func (s *fakeSource) New(io.Writer, io.Writer) (Machine, error) {
	time.Sleep(s.boot)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		panic("a clone of a snapshot that is closed")
	}
	if s.fails != nil {
		return nil, s.fails
	}
	m := &fakeMachine{source: s, signal: make(chan struct{})}
	s.made = append(s.made, m)
	return m, nil
}

func (s *fakeSource) Contract() Contract { return s.contract }

func (s *fakeSource) Stored() int64 { return 1 << 20 }

func (s *fakeSource) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.made {
		if !m.closed {
			panic("a snapshot closed before its clones")
		}
	}
	if s.closed {
		panic("closed twice")
	}
	s.closed = true
	return nil
}

// open is how many machines are not closed.
func (s *fakeSource) open() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.made {
		if !m.closed {
			n++
		}
	}
	return n
}

// enter checks that there is one call at a time.
func (m *fakeMachine) enter() func() {
	m.source.mu.Lock()
	defer m.source.mu.Unlock()
	if m.busy || m.closed {
		panic("two calls at once, or one of a machine that is closed")
	}
	m.busy = true
	return func() {
		m.source.mu.Lock()
		defer m.source.mu.Unlock()
		m.busy = false
	}
}

func (m *fakeMachine) Invoke(ctx context.Context, _ string, message []byte) (hv.Response, error) {
	defer m.enter()()
	m.uses++
	m.all++
	m.exits += 3
	text, err := m.source.answer(ctx, m, string(message))
	if errors.Is(err, errFailed) {
		return hv.Response{Data: []byte(text), Failed: true}, nil
	}
	return hv.Response{Data: []byte(text)}, err
}

// RunUntil ends when it is told to, by "end" as a request, and by SIGTERM when there is no
// request.
func (m *fakeMachine) RunUntil(ctx context.Context, done <-chan struct{}) (err error) {
	defer m.enter()()
	m.exits += 3
	m.source.mu.Lock()
	m.running, m.life = true, make(chan struct{})
	ended, idle := make(chan struct{}), time.Duration(0)
	m.ended = sync.OnceFunc(func() { close(ended) })
	m.source.mu.Unlock()
	defer func() {
		m.source.mu.Lock()
		defer m.source.mu.Unlock()
		m.running, m.over = false, err != nil
		close(m.life)
	}()
	select {
	case <-done:
		m.source.mu.Lock()
		idle = m.source.idle
		m.source.mu.Unlock()
	case <-ended:
		return &hv.EndedError{Exit: hv.Exit{Code: 2}}
	case <-m.signal:
		if done != nil {
			<-done
		}
		return &hv.EndedError{}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-time.After(idle):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RoundTrip answers a request for what is its path.
func (m *fakeMachine) RoundTrip(r *http.Request) (*http.Response, error) {
	m.source.mu.Lock()
	for !m.running && !m.over { // it is to run in a moment
		m.source.mu.Unlock()
		time.Sleep(time.Microsecond)
		m.source.mu.Lock()
	}
	if m.over {
		m.source.mu.Unlock()
		return nil, hv.ErrOver
	}
	m.asked++
	m.all++
	m.uses++
	m.most = max(m.most, m.asked)
	life, end := m.life, m.ended
	m.source.mu.Unlock()
	defer func() {
		m.source.mu.Lock()
		defer m.source.mu.Unlock()
		m.asked--
	}()
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	go func() {
		select {
		case <-life:
			cancel(hv.ErrOver)
		case <-ctx.Done():
		}
	}()
	message := strings.TrimPrefix(r.URL.Path, "/")
	switch message {
	case "end":
		end()
		return nil, hv.ErrOver
	case "garbage":
		return nil, errors.New("malformed")
	}
	if _, err := m.source.answer(ctx, m, message); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func (m *fakeMachine) Signal(sig syscall.Signal) {
	m.source.mu.Lock()
	defer m.source.mu.Unlock()
	m.signals = append(m.signals, sig)
	if len(m.signals) == 1 {
		close(m.signal)
	}
}

func (m *fakeMachine) Rewind() error {
	defer m.enter()()
	m.rewound++
	m.uses = 0
	return m.source.rewind
}

func (m *fakeMachine) Stats() (s hv.Stats) {
	s.Exits.ByReason = map[string]uint64{"hypercall.respond": m.exits}
	return s
}

func (m *fakeMachine) OwnMemory() int64 { return 4096 }

func (m *fakeMachine) Close() error {
	defer m.enter()()
	m.closed = true
	return nil
}

var errFailed = errors.New("failed")

// echo answers with the message, or with what it says: an error, or after a second.
func echo(ctx context.Context, _ *fakeMachine, message string) (string, error) {
	switch message {
	case "fail":
		return "no good", errFailed
	case "end":
		return "", &hv.EndedError{Exit: hv.Exit{Code: 2}}
	case "fault":
		return "", &hv.GuestFault{Reason: "a test's"}
	case "host":
		return "", &hv.HostError{Op: "run machine", Err: errors.New("no")}
	case "spin":
		<-ctx.Done()
		return "", context.Cause(ctx)
	case "second":
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return message, nil
}

// newFake makes a function of one fakeSource, which is ready.
func newFake(t *testing.T, limits Limits, turns *Turns) (*Function, *fakeSource) {
	t.Helper()
	s := &fakeSource{answer: echo}
	f := New(limits, turns, func() Output { return Silence{} }, func(err error) { t.Logf("trouble: %v", err) })
	f.Swap(s)
	return f, s
}

func invoke(f *Function, message string) Result {
	return f.Invoke(context.Background(), "id", []byte(message))
}

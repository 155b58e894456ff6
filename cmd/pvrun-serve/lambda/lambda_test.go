package lambda

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
)

// fakeVM is a machine whose program is the test.
type fakeVM struct {
	conns chan net.Conn
	ends  error // of RunUntil, when it was told to end
}

func (v *fakeVM) Accept(ctx context.Context) (net.Conn, error) {
	select {
	case c := <-v.conns:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (v *fakeVM) RunUntil(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return v.ends
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (v *fakeVM) Signal(syscall.Signal) {}
func (v *fakeVM) Rewind() error         { return nil }
func (v *fakeVM) Stats() hv.Stats       { return hv.Stats{} }
func (v *fakeVM) OwnMemory() int64      { return 0 }
func (v *fakeVM) Close() error          { return nil }

// program is one connection of a program's to the Runtime API.
type program struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (v *fakeVM) connect(t *testing.T) *program {
	host, guest := net.Pipe()
	v.conns <- host
	return &program{t, guest, bufio.NewReader(guest)}
}

// ask sends a request; the answer's body is read.
func (p *program) ask(method, path, body string) (*http.Response, string) {
	p.send(method, path, body)
	return p.answer()
}

func (p *program) send(method, path, body string) {
	fmt.Fprintf(p.conn, "%s /2018-06-01/runtime/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
}

func (p *program) answer() (*http.Response, string) {
	a, err := http.ReadResponse(p.in, nil)
	if err != nil {
		p.t.Error(err)
		return &http.Response{}, ""
	}
	text, err := io.ReadAll(a.Body)
	if err != nil {
		p.t.Error(err)
	}
	return a, string(text)
}

type result struct {
	hv.Response
	err error
}

func begin(m *Machine, ctx context.Context, id, message string) chan result {
	c := make(chan result, 1)
	go func() {
		r, err := m.Invoke(ctx, id, []byte(message))
		c <- result{r, err}
	}()
	return c
}

func newMachine() (*Machine, *fakeVM) {
	vm := &fakeVM{conns: make(chan net.Conn, 8)}
	return New(vm, "arn:f"), vm
}

// An event goes out with what AWS says of it, and its response comes back.
func TestEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, vm := newMachine()
		p := vm.connect(t)
		ctx, cancel := context.WithTimeout(With(t.Context(), Extra{Trace: "Root=1", Context: `{"a":1}`}), time.Minute)
		defer cancel()
		deadline, _ := ctx.Deadline()
		got := begin(m, ctx, "id-1", "event")
		a, text := p.ask("GET", "invocation/next", "")
		want := map[string]string{
			"Lambda-Runtime-Aws-Request-Id": "id-1", "Lambda-Runtime-Invoked-Function-Arn": "arn:f",
			"Lambda-Runtime-Trace-Id": "Root=1", "Lambda-Runtime-Client-Context": `{"a":1}`,
			"Lambda-Runtime-Deadline-Ms": fmt.Sprint(deadline.UnixMilli()),
		}
		for name, value := range want {
			if a.Header.Get(name) != value {
				t.Errorf("%s: got %q", name, a.Header.Get(name))
			}
		}
		if a.StatusCode != 200 || text != "event" {
			t.Errorf("got %d, %s", a.StatusCode, text)
		}
		if a, text := p.ask("POST", "invocation/id-1/response", "response"); a.StatusCode != 202 || text != `{"status":"OK"}` {
			t.Errorf("got %d, %s", a.StatusCode, text)
		}
		if r := <-got; string(r.Data) != "response" || r.Failed || r.err != nil {
			t.Errorf("got %+v", r)
		}
		p.send("GET", "invocation/next", "") // it waits for the next one
		got = begin(m, t.Context(), "id-2", "another")
		if a, text := p.answer(); text != "another" || !strings.HasPrefix(a.Header.Get("Lambda-Runtime-Trace-Id"), "Root=1-") {
			t.Errorf("got %s, %v", text, a.Header)
		}
		p.ask("POST", "invocation/id-2/error", "no good")
		if r := <-got; string(r.Data) != "no good" || !r.Failed {
			t.Errorf("got %+v", r)
		}
		m.Close()
		p.conn.Close()
	})
}

// What is no answer to the event that is under way is refused, and changes nothing.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, vm := newMachine()
		p := vm.connect(t)
		got := begin(m, t.Context(), "id", "event")
		synctest.Wait()
		refuse := func(path string, status int) {
			t.Helper()
			if a, text := p.ask("POST", path, "x"); a.StatusCode != status {
				t.Errorf("%s: got %d, %s", path, a.StatusCode, text)
			}
		}
		refuse("invocation/id/response", 403) // it has not asked for it
		p.ask("GET", "invocation/next", "")
		refuse("invocation/other/response", 400)
		refuse("invocation/other/error", 400)
		refuse("init/error", 403)
		refuse("invocation/id/response", 202)
		if r := <-got; string(r.Data) != "x" || r.err != nil {
			t.Errorf("got %+v", r)
		}
		refuse("invocation/id/response", 400)
		m.Close()
		p.conn.Close()
	})
}

// A program that waited in another life does not get the events of this one.
func TestLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, vm := newMachine()
		old := vm.connect(t)
		ctx, cancel := context.WithCancel(t.Context())
		got := begin(m, ctx, "id-1", "first")
		old.ask("GET", "invocation/next", "")
		old.ask("POST", "invocation/id-1/response", "x")
		<-got
		old.send("GET", "invocation/next", "")
		synctest.Wait()
		if err := m.Rewind(); err != nil {
			t.Fatal(err)
		}
		late := begin(m, ctx, "id-2", "second")
		synctest.Wait()
		if n, err := old.conn.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("the old life got %d bytes, %v", n, err)
		}
		p := vm.connect(t)
		if _, text := p.ask("GET", "invocation/next", ""); text != "second" {
			t.Errorf("got %s", text)
		}
		cancel()
		if r := <-late; !errors.Is(r.err, context.Canceled) {
			t.Errorf("got %+v", r)
		}
		m.Close()
		p.conn.Close()
		old.conn.Close()
	})
}

// A machine that does not come to rest after its answer has answered.
func TestSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, vm := newMachine()
		vm.ends = &hv.EndedError{}
		p := vm.connect(t)
		got := begin(m, t.Context(), "id", "event")
		p.ask("GET", "invocation/next", "")
		p.ask("POST", "invocation/id/response", "x")
		if r := <-got; string(r.Data) != "x" || !errors.Is(r.err, pool.ErrSpent) {
			t.Errorf("got %+v", r)
		}
		m.Close()
		p.conn.Close()
		time.Sleep(2 * settleTime)
	})
}

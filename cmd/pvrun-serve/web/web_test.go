package web

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/pvrun/pvrun/hv"
)

// fakeVM is a machine whose program gives one answer to all requests.
type fakeVM struct {
	answer string
	dials  int
	ports  []int
}

func (v *fakeVM) Dial(port int) (net.Conn, error) {
	v.dials++
	v.ports = append(v.ports, port)
	host, program := net.Pipe()
	go func() {
		defer program.Close()
		for in := bufio.NewReader(program); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			if _, err := io.WriteString(program, v.answer); err != nil {
				return
			}
		}
	}()
	return host, nil
}

func (v *fakeVM) RunUntil(context.Context, <-chan struct{}) error { return nil }
func (v *fakeVM) Signal(syscall.Signal)                           {}
func (v *fakeVM) Rewind() error                                   { return nil }
func (v *fakeVM) Stats() hv.Stats                                 { return hv.Stats{} }
func (v *fakeVM) OwnMemory() int64                                { return 0 }
func (v *fakeVM) Close() error                                    { return nil }

func ask(t *testing.T, m *Machine) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://program/", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func end(t *testing.T, a *http.Response) {
	t.Helper()
	if text, err := io.ReadAll(a.Body); string(text) != "hello" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	a.Body.Close()
	synctest.Wait()
}

// A connection serves requests until its machine is rewound, and never after that: not
// one either that has become idle only then.
func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vm := &fakeVM{answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"}
		m := New(vm, 3000)
		end(t, ask(t, m))
		end(t, ask(t, m))
		if vm.dials != 1 || vm.ports[0] != 3000 {
			t.Errorf("%d connections, %v", vm.dials, vm.ports)
		}
		late := ask(t, m)
		if err := m.Rewind(); err != nil {
			t.Fatal(err)
		}
		first := ask(t, m)
		end(t, late)
		second := ask(t, m)
		if vm.dials != 3 {
			t.Errorf("%d connections", vm.dials)
		}
		end(t, first)
		end(t, second)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A header is bounded.
func TestLongHeader(t *testing.T) {
	vm := &fakeVM{answer: "HTTP/1.1 200 OK\r\nLong: " + strings.Repeat("x", 2*maxHeader) + "\r\nContent-Length: 0\r\n\r\n"}
	m := New(vm, 8080)
	defer m.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://program/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := m.RoundTrip(r); err == nil {
		a.Body.Close()
		t.Error("it is taken")
	}
}

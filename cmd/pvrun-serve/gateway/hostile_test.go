package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hypercall"
)

// rawSource makes machines whose program is a function that has a connection.
type rawSource struct {
	source
	program func(*bufio.Reader, net.Conn)
}

func (s rawSource) New(io.Writer, io.Writer) (pool.Machine, error) {
	return rawMachine{transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			host, guest := net.Pipe()
			go func() {
				defer guest.Close()
				s.program(bufio.NewReader(guest), guest)
			}()
			return host, nil
		},
	}}, nil
}

type rawMachine struct {
	machine
	transport *http.Transport
}

func (m rawMachine) RoundTrip(r *http.Request) (*http.Response, error) {
	return m.transport.RoundTrip(r)
}

func (m rawMachine) Close() error {
	m.transport.CloseIdleConnections()
	return nil
}

// raw serves a program as function f, of the host f.x too.
func raw(t *testing.T, limits pool.Limits, program func(*bufio.Reader, net.Conn)) (string, *Function) {
	t.Helper()
	url, g := server(t, limits)
	f := named("f")
	f.Logs = logs.NewProgram(g.log)
	f.Pool = pool.New(limits, pool.NewTurns(4), f.Logs.Output, func(error) {})
	f.Pool.Swap(rawSource{source{pool.HTTP}, program})
	g.SetFunctions([]*Function{f})
	t.Cleanup(func() {
		if n := f.Pool.Status().Requests; n != 0 && !t.Failed() {
			t.Errorf("%d requests are under way", n)
		}
		closed := make(chan struct{})
		go func() { f.Pool.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Error("the function cannot be closed")
		}
	})
	return url, f
}

// says is a program that reads the header of a request and answers it with text.
func says(text string) func(*bufio.Reader, net.Conn) {
	return func(r *bufio.Reader, c net.Conn) {
		if _, err := http.ReadRequest(r); err == nil {
			io.WriteString(c, text)
		}
		io.Copy(io.Discard, r)
	}
}

// shortly sets bodyTime for a test.
func shortly(t *testing.T, d time.Duration) {
	old := bodyTime
	t.Cleanup(func() { bodyTime = old })
	bodyTime = d
}

// idle waits until nobody has a clone any more.
func idle(t *testing.T, f *Function) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); f.Pool.Status().Requests > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a request holds its clone")
		}
	}
}

// Numbers that are no status of HTTP are the program's failure.
func TestNoStatus(t *testing.T) {
	for _, status := range []string{"000", "099", "+12", "007"} {
		t.Run(status, func(t *testing.T) {
			url, _ := raw(t, pool.Limits{Max: 1, Queue: 4}, says("HTTP/1.1 "+status+" No\r\nContent-Length: 0\r\n\r\n"))
			r, err := http.Get(url + "/f")
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode != http.StatusBadGateway {
				t.Errorf("got %d", r.StatusCode)
			}
		})
	}
}

// The invocation's id is the gateway's, whatever the program says, and says before.
func TestInvocationHeader(t *testing.T) {
	for name, answer := range map[string]string{
		"another":     "HTTP/1.1 200 OK\r\nX-Pvrun-Invocation: mine\r\nContent-Length: 0\r\n\r\n",
		"early hints": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := raw(t, pool.Limits{Max: 1, Queue: 4}, says(answer))
			r, _ := ask(t, "GET", url+"/f", "", "")
			if v := r.Header.Values(HeaderInvocation); len(v) != 1 || v[0] == "mine" {
				t.Errorf("got %q", v)
			}
		})
	}
}

// An answer whose program is silent for longer than a client may be ends well.
func TestSilentEnd(t *testing.T) {
	shortly(t, 100*time.Millisecond)
	url, _ := raw(t, pool.Limits{Max: 1, Queue: 4}, func(r *bufio.Reader, c net.Conn) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		time.Sleep(3 * bodyTime)
		io.WriteString(c, "0\r\n\r\n")
		io.Copy(io.Discard, r)
	})
	if _, text := ask(t, "GET", url+"/f", "", ""); text != "x" {
		t.Errorf("got %q", text)
	}
}

// A client that reads nothing has left, whatever the program sends.
func TestClientReadsNothing(t *testing.T) {
	header := "Link: " + strings.Repeat("x", 60<<10) + "\r\n\r\n"
	for name, program := range map[string]func(*bufio.Reader, net.Conn){
		"1xx without end": func(r *bufio.Reader, c net.Conn) {
			http.ReadRequest(r)
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n"+header); err != nil {
					return
				}
			}
		},
		"a socket without end": func(r *bufio.Reader, c net.Conn) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			for {
				if _, err := io.WriteString(c, header); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			shortly(t, 200*time.Millisecond)
			url, f := raw(t, pool.Limits{Max: 1, Queue: 4, Timeout: time.Second}, program)
			c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, "GET /f HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			for f.Pool.Status().Requests == 0 {
				time.Sleep(time.Millisecond)
			}
			idle(t, f)
		})
	}
}

// What is left of a body that nobody has read is no request.
func TestRestOfBody(t *testing.T) {
	shortly(t, 200*time.Millisecond)
	url, f := raw(t, pool.Limits{Max: 1, Queue: 4}, says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	hidden := "GET /f/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	fmt.Fprintf(c, "POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(hidden))
	r := bufio.NewReader(c)
	a, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if io.Copy(io.Discard, a.Body); !a.Close {
		t.Error("the connection is for another request")
	}
	idle(t, f)
	time.Sleep(4 * bodyTime)
	io.WriteString(c, hidden)
	if a, err := http.ReadResponse(r, nil); err == nil {
		t.Errorf("it was answered with %d", a.StatusCode)
	}
}

// A request target without a path is none for a program.
func TestTarget(t *testing.T) {
	url, _ := raw(t, pool.Limits{Max: 1, Queue: 4}, func(r *bufio.Reader, c net.Conn) {
		line, _ := r.ReadString('\n')
		target := strings.Fields(line)[1]
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(target), target)
	})
	for target, want := range map[string]string{
		"/f%2fa": "/a", "/f/%2fa": "/%2fa", "/f?a": "/?a", "*": "*",
		"http:a": "", "x:http://other/a": "", "http://f.x": "/", "http://u:p@f.x/a": "/a",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		host := "x"
		if !strings.HasPrefix(target, "/") {
			host = "f.x"
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, host)
		a, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(a.Body)
		if want == "" && a.StatusCode != http.StatusBadRequest || want != "" && string(got) != want {
			t.Errorf("%s: got %d, %s", target, a.StatusCode, got)
		}
	}
}

// A program that changes the protocol unasked has its connection closed.
func TestSwitchUnasked(t *testing.T) {
	closed := make(chan struct{})
	url, _ := raw(t, pool.Limits{Max: 1, Queue: 4, Reuse: true}, func(r *bufio.Reader, c net.Conn) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		io.Copy(io.Discard, r)
		close(closed)
	})
	if r, _ := ask(t, "GET", url+"/f", "", ""); r.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d", r.StatusCode)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is open")
	}
}

// A client that reads nothing of a response has left.
func TestResponseNotRead(t *testing.T) {
	shortly(t, 200*time.Millisecond)
	at := strings.TrimPrefix(contracted(t), "http://")
	for _, path := range []string{"/m", "/2015-03-31/functions/m/invocations"} {
		t.Run(path, func(t *testing.T) {
			c, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			c.(*net.TCPConn).SetReadBuffer(128 << 10)
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, hypercall.MaxMessage)
			if _, err := c.Write(make([]byte, hypercall.MaxMessage)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * bodyTime)
			a, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, a.Body); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes were kept, %v", n, err)
			}
		})
	}
}

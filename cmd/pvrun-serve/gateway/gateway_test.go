package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// source makes machines that answer as they are asked to.
type source struct{ contract pool.Contract }

func (source) New(io.Writer, io.Writer) (pool.Machine, error) { return machine{}, nil }
func (s source) Contract() pool.Contract                      { return s.contract }
func (source) Stored() int64                                  { return 1 << 20 }
func (source) Close() error                                   { return nil }

type machine struct{}

func (machine) RunUntil(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RoundTrip answers with what it was asked.
func (machine) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/garbage" {
		return nil, errors.New("malformed HTTP response")
	}
	text := fmt.Sprintf("%s %s %s %s %s", r.Method, r.Host, r.URL.RequestURI(), r.Header.Get("X-Forwarded-Prefix"), r.Header.Get("X-Forwarded-Host"))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func (machine) Signal(syscall.Signal) {}

func (machine) Invoke(ctx context.Context, _ string, message []byte) (hv.Response, error) {
	switch string(message) {
	case "fail":
		return hv.Response{Data: []byte("no <such> key"), Failed: true}, nil
	case "end":
		return hv.Response{}, &hv.EndedError{Exit: hv.Exit{Code: 2}}
	case "fault":
		return hv.Response{}, &hv.GuestFault{Reason: "a test's"}
	case "host":
		return hv.Response{}, errors.New("no memory\nat all")
	case "second":
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return hv.Response{}, context.Cause(ctx)
		}
	case "spin":
		<-ctx.Done()
		return hv.Response{}, context.Cause(ctx)
	}
	return hv.Response{Data: message}, nil
}

func (machine) Rewind() error { return nil }
func (machine) Stats() (s hv.Stats) {
	s.Exits.ByReason = map[string]uint64{"hypercall.respond": 1}
	return s
}
func (machine) OwnMemory() int64 { return 4096 }
func (machine) Close() error     { return nil }

// server serves functions; each is ready.
func server(t *testing.T, limits pool.Limits, functions ...*Function) (string, *Gateway) {
	t.Helper()
	g := New(slog.New(slog.DiscardHandler))
	turns := pool.NewTurns(4)
	for _, f := range functions {
		f.Logs = logs.NewProgram(g.log)
		f.Pool = pool.New(limits, turns, f.Logs.Output, func(error) {})
		f.Pool.Swap(source{})
		t.Cleanup(f.Pool.Close)
	}
	g.SetFunctions(functions)
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	return s.URL, g
}

func named(name string) *Function { return NewFunction(name, "/"+name, "", nil, nil) }

// ask sends a request and returns its answer.
func ask(t *testing.T, method, url, host, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(text)
}

func TestStatuses(t *testing.T) {
	f := named("f")
	url, _ := server(t, pool.Limits{Max: 1, Timeout: 20 * time.Millisecond}, f)
	ids := map[string]bool{}
	for _, test := range []struct {
		message string
		status  int
		want    string
	}{
		{"hello", 200, "hello"},
		{"", 200, ""},
		{"fail", 500, "no <such> key"},
		{"end", 502, "the program has ended with code 2 in place of answering\n"},
		{"fault", 502, "guest fault: a test's\n"},
		{"host", 503, "no memory\n"},
		{"spin", 504, "time-out: no response after 20ms\n"},
	} {
		r, got := ask(t, "POST", url+"/f", "", test.message)
		if r.StatusCode != test.status || got != test.want || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: got %d, %q, %v", test.message, r.StatusCode, got, r.Header)
		}
		ids[r.Header.Get(HeaderInvocation)] = true
	}
	if len(ids) != 7 || ids[""] {
		t.Errorf("ids are not unique: %v", ids)
	}
	if !f.bodies.TryAcquire(maxBodies) {
		t.Error("room for messages is lost")
	}
}

func TestRoutes(t *testing.T) {
	other := NewFunction("other", "/deep/path", "Example.COM", nil, nil)
	other.Host = "example.com"
	url, _ := server(t, pool.Limits{Max: 1}, named("f"), other)
	for _, test := range []struct {
		method, path, host string
		status             int
	}{
		{"POST", "/f", "", 200},
		{"POST", "/", "f.functions.example", 200},
		{"POST", "/", "F.localhost:8080", 200},
		{"POST", "/deep/path", "", 200},
		{"POST", "/", "example.com:80", 200},
		{"POST", "/", "f", 404},
		{"POST", "/other", "", 404},
		{"POST", "/x", "f.functions.example", 404},
		{"POST", "/f/", "", 404},
		{"GET", "/x", "", 404},
		{"GET", "/f", "", 405},
		{"PUT", "/f", "", 405},
		{"GET", "/", "", 200},
		{"GET", "/metrics", "", 200},
		{"GET", "/status.json", "", 200},
		{"POST", "/metrics", "", 404},
	} {
		if r, text := ask(t, test.method, url+test.path, test.host, ""); r.StatusCode != test.status {
			t.Errorf("%s %s of %q: got %d, %s", test.method, test.path, test.host, r.StatusCode, text)
		}
	}
	if r, _ := ask(t, "GET", url+"/f", "", ""); r.Header.Get("Allow") != "POST" {
		t.Errorf("got %v", r.Header)
	}
}

func TestTooLong(t *testing.T) {
	url, _ := server(t, pool.Limits{Max: 1}, named("f"))
	for more, status := range map[int]int{0: 200, 1: 413} {
		text := strings.Repeat("x", hypercall.MaxMessage+more)
		if r, got := ask(t, "POST", url+"/f", "", text); r.StatusCode != status || status == 200 && got != text {
			t.Errorf("%d more: got %d and %d bytes", more, r.StatusCode, len(got))
		}
		// Of a length that is not told.
		r, err := http.Post(url+"/f", "", io.MultiReader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != status {
			t.Errorf("%d more, in chunks: got %d", more, r.StatusCode)
		}
	}
}

// Beyond the queue a client is told to come again.
func TestBusy(t *testing.T) {
	f := named("f")
	url, _ := server(t, pool.Limits{Max: 1, Queue: 1, Timeout: time.Minute}, f)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() { leave(t, ctx, url+"/f") })
	}
	for s := f.Pool.Status(); s.Running+s.Queued < 2; s = f.Pool.Status() {
		time.Sleep(time.Millisecond)
	}
	if r, text := ask(t, "POST", url+"/f", "", "x"); r.StatusCode != 429 || r.Header.Get("Retry-After") != "1" || text != "too many invocations wait already\n" {
		t.Errorf("got %d, %v, %q", r.StatusCode, r.Header, text)
	}
	// Clients that leave make room.
	cancel()
	clients.Wait()
	for s := f.Pool.Status(); s.Counts.Outcomes[pool.Cancelled] < 2; s = f.Pool.Status() {
		time.Sleep(time.Millisecond)
	}
	if r, _ := ask(t, "POST", url+"/f", "", "x"); r.StatusCode != 200 {
		t.Errorf("got %d", r.StatusCode)
	}
}

// leave sends a message that has no answer, and leaves when ctx ends.
func leave(t *testing.T, ctx context.Context, url string) {
	r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("spin"))
	if err != nil {
		t.Error(err)
		return
	}
	if a, err := http.DefaultClient.Do(r); err == nil {
		a.Body.Close()
		t.Errorf("got %d", a.StatusCode)
	}
}

func TestNotReady(t *testing.T) {
	url, g := server(t, pool.Limits{Max: 1})
	f := named("f")
	f.Logs = logs.NewProgram(g.log)
	f.Pool = pool.New(pool.Limits{Max: 1}, pool.NewTurns(1), f.Logs.Output, func(error) {})
	defer f.Pool.Close()
	f.SetTrouble("it spins\nfor ever")
	g.SetFunctions([]*Function{f})
	if r, text := ask(t, "POST", url+"/f", "", "x"); r.StatusCode != 503 || r.Header.Get("Retry-After") != "1" || text != "the function is not ready: it spins\n" {
		t.Errorf("got %d, %q", r.StatusCode, text)
	}
}

// half sends half a message, and perhaps says that there is no more. It returns the answer.
func half(t *testing.T, url string, ends bool) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, "POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	if ends {
		c.(*net.TCPConn).CloseWrite()
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return string(answer)
}

// A body that ends early is no invocation.
func TestHalfRequest(t *testing.T) {
	f := named("f")
	url, _ := server(t, pool.Limits{Max: 1}, f)
	if answer := half(t, url, true); !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("got %q", answer)
	}
	if n := f.Pool.Status().Counts; len(n.Outcomes) != 0 {
		t.Errorf("got %+v", n)
	}
	if !f.bodies.TryAcquire(maxBodies) {
		t.Error("room for messages is lost")
	}
}

// A message has to come in time; its answer may take longer.
func TestSlowClient(t *testing.T) {
	defer func(old time.Duration) { bodyTime = old }(bodyTime)
	bodyTime = 200 * time.Millisecond
	f := named("f")
	url, _ := server(t, pool.Limits{Max: 1}, f)
	if r, text := ask(t, "POST", url+"/f", "", "second"); r.StatusCode != 200 {
		t.Errorf("got %d, %s", r.StatusCode, text)
	}
	if answer := half(t, url, false); !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("got %q", answer)
	}
	if n := f.Pool.Status().Counts.Outcomes; len(n) != 1 {
		t.Errorf("got %v", n)
	}
}

func TestMetrics(t *testing.T) {
	url, g := server(t, pool.Limits{Max: 1, Timeout: 10 * time.Millisecond}, named("f"))
	for _, message := range []string{"x", "x", "fail", "spin", "end"} {
		ask(t, "POST", url+"/f", "", message)
	}
	_, text := ask(t, "GET", url+"/metrics", "", "")
	for _, line := range []string{
		`pvrun_invocations_total{function="f",outcome="ok"} 2`,
		`pvrun_invocations_total{function="f",outcome="failed"} 1`,
		`pvrun_invocations_total{function="f",outcome="timeout"} 1`,
		`pvrun_invocations_total{function="f",outcome="ended"} 1`,
		`pvrun_invocations_total{function="f",outcome="busy"} 0`,
		`pvrun_invocation_seconds_count{function="f"} 5`,
		`pvrun_wait_seconds_count{function="f"} 5`,
		`pvrun_memory_bytes{function="f",of="snapshot"} 1.048576e+06`,
		`pvrun_ready{function="f"} 1`,
		`pvrun_queue_length{function="f"} 0`,
		`pvrun_exits_total{function="f",reason="hypercall.respond"} `,
		`pvrun_clones{function="f",state="ready"} `,
		`pvrun_starts_total{function="f",start="cold"} `,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	f := g.functions()[0]
	g.SetFunctions(nil)
	g.Forget(f)
	if _, text := ask(t, "GET", url+"/metrics", "", ""); strings.Contains(text, `"f"`) {
		t.Errorf("a function that has gone is in:\n%s", text)
	}
}

func TestStatusPage(t *testing.T) {
	url, _ := server(t, pool.Limits{Max: 3, Reuse: true}, named("f"))
	ask(t, "POST", url+"/f", "", "x")
	_, text := ask(t, "GET", url+"/status.json", "", "")
	var s Status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	f := s.Functions[0]
	if f.Name != "f" || f.Path != "/f" || !f.Ready || f.Isolation != "instance" || f.Max != 3 || f.Outcomes[pool.OK] != 1 || f.Shared != 1<<20 || len(f.Spark) != span-1 || s.RSS == 0 {
		t.Errorf("got %+v", s)
	}
	r, html := ask(t, "GET", url+"/", "", "")
	for _, outside := range []string{"http://", "https://", "src=", "@import", "url("} {
		if strings.Contains(strings.ReplaceAll(html, "http://www.w3.org/2000/svg", ""), outside) {
			t.Errorf("the page needs %s", outside)
		}
	}
	// All that the page reads is there.
	for _, name := range []string{"name", "path", "ready", "isolation", "rate", "error_rate", "p50_seconds", "p99_seconds", "running", "ready_clones", "queued", "max", "cold", "warm", "outcomes", "snapshot_bytes", "clones_bytes", "spark"} {
		if !strings.Contains(text, `"`+name+`":`) || !strings.Contains(html, "f."+name) {
			t.Errorf("%s is not in both", name)
		}
	}
	if !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("got %v", r.Header)
	}
}

func TestWindow(t *testing.T) {
	var w window
	now := time.Unix(1000, 0)
	for i := range 100 {
		w.add(now, time.Duration(i+1)*time.Millisecond, i == 0)
	}
	w.add(now, -1, true)
	w.add(now.Add(-5*time.Second), time.Hour, false)
	if v := w.view(now); v.Rate != 0.1 || v.P50 < time.Minute {
		t.Errorf("the second is not over: got %+v", v)
	}
	v := w.view(now.Add(time.Second))
	near := func(got, want time.Duration) bool { return got > want*9/10 && got < want*11/10 }
	if v.Rate != 10.2 || v.Errors != 0.2 || !near(v.P50, 51*time.Millisecond) || !near(v.P99, 100*time.Millisecond) {
		t.Errorf("got %+v", v)
	}
	if n := len(v.Counts); v.Counts[n-1] != 101 || v.Counts[n-6] != 1 {
		t.Errorf("got %v", v.Counts)
	}
	if v := w.view(now.Add(time.Hour)); v.Rate != 0 || v.P50 != 0 || v.Counts[0] != 0 {
		t.Errorf("later: got %+v", v)
	}
}

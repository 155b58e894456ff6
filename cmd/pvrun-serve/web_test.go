package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/gateway"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// image is a program's of this repository.
func image(t *testing.T, folder string) string {
	t.Helper()
	need.KVM(t)
	dir, err := filepath.Abs("../../" + folder)
	if err != nil {
		t.Fatal(err)
	}
	return vmtest.Image(t, dir)
}

func hostileWeb(t *testing.T) string { return image(t, "test/function/hostileweb") }

// call sends a request; the status is 0 when there is no answer, and the text ends with
// an error's when it breaks off.
func (s *serve) call(ctx context.Context, method, path string, body io.Reader) (int, string) {
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return 0, err.Error()
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		return a.StatusCode, string(text) + " ... " + err.Error()
	}
	return a.StatusCode, string(text)
}

func (s *serve) get(path string) (int, string) {
	return s.call(context.Background(), "GET", path, nil)
}

// both serves the program of an image in both isolations.
func both(t *testing.T, image string) *serve {
	s := start(t, "-f", configFile(t, `
drain: 10s
defaults: {timeout: 2m, contract: http}
functions:
  rewound: {image: %[1]s}
  kept: {image: %[1]s, isolation: instance, concurrency: 8, max: 1}
  short: {image: %[1]s, timeout: 500ms}
`, image))
	s.ready("rewound", "kept", "short")
	return s
}

// Whatever a program does that serves HTTP, its client has an answer that says so.
func TestWebFaults(t *testing.T) {
	s := both(t, hostileWeb(t))
	const ended = "the program has ended with code %d in place of answering\n"
	for _, test := range []struct {
		path   string
		status int
		want   string // the beginning
	}{
		{"/remember/a", 200, "[a]"},
		{"/exit", 502, fmt.Sprintf(ended, 3)},
		{"/panic", 502, fmt.Sprintf(ended, 2)},
		{"/half", 200, "half ... unexpected EOF"},
		{"/half-exit", 200, "half ... unexpected EOF"},
		{"/close", 502, "the program's answer: "},
		{"/raw?text=garbage%0d%0a%0d%0a", 502, "the program's answer: "},
		{"/raw?text=HTTP/1.1+200+OK%0d%0a", 502, "the program's answer: "},
		{"/raw?text=HTTP/1.1+99999+OK%0d%0a%0d%0a", 502, "the program's answer: "},
		{"/header", 502, "the program's answer: "},
		{"/status/418", 418, ""},
		{"/status/500", 500, ""},
		{"/nothing", 404, "404 page not found"},
		{"/remember/b", 200, "[b]"},
	} {
		for _, name := range []string{"/rewound", "/kept"} {
			want := test.want
			if name == "/kept" && test.path == "/remember/b" {
				want = "[b]" // it has ended meanwhile
			}
			if status, got := s.get(name + test.path); status != test.status || !strings.HasPrefix(got, want) {
				t.Errorf("%s%s: got %d, %.200q", name, test.path, status, got)
			}
		}
	}
	for _, path := range []string{"/short/never", "/short/spin"} {
		if status, got := s.get(path); status != 504 || got != "time-out: no response after 500ms\n" {
			t.Errorf("%s: got %d, %.200q", path, status, got)
		}
	}
	// A program that works on has its machine taken away.
	for range 3 {
		if status, got := s.get("/rewound/work"); status != 200 || got != "begun" {
			t.Errorf("got %d, %q", status, got)
		}
	}
	s.end(sigterm)
	s.nothingLeft()
}

// Nothing of a request is left for the next, unless that is what is wanted.
func TestWebIsolation(t *testing.T) {
	s := both(t, hostileWeb(t))
	want := ""
	for i := range 3 {
		if status, got := s.get(fmt.Sprint("/rewound/remember/", i)); status != 200 || got != fmt.Sprintf("[%d]", i) {
			t.Errorf("got %d, %q", status, got)
		}
		want = strings.TrimSpace(want + fmt.Sprintf(" %d", i))
		if status, got := s.get(fmt.Sprint("/kept/remember/", i)); status != 200 || got != "["+want+"]" {
			t.Errorf("got %d, %q", status, got)
		}
	}
	s.end(sigterm)
}

// What the program is told of its request and of where it is.
func TestWebRequest(t *testing.T) {
	s := both(t, hostileWeb(t))
	at := strings.TrimPrefix(s.url, "http://")
	environment := "PORT=8080\nK_SERVICE=kept\nK_REVISION=kept-00001\nK_CONFIGURATION=kept\n"
	for _, test := range []struct{ method, path, host, want string }{
		{"PATCH", "/kept/show?a=b%20c;d&e", "", "PATCH " + at + " /show?a=b%20c;d&e\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: " + at + "\nX-Forwarded-Proto: http\nX-Forwarded-Prefix: /kept\nAccept-Encoding: \nUser-Agent: \n"},
		{"DELETE", "/show", "kept.example.com", "DELETE kept.example.com /show\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: kept.example.com\nX-Forwarded-Proto: http\nX-Forwarded-Prefix: \nAccept-Encoding: \nUser-Agent: \n"},
	} {
		r, err := http.NewRequest(test.method, s.url+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = test.host
		r.Header = http.Header{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Prefix": {"/x"}, "Accept-Encoding": {"identity"}, "User-Agent": {""}}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(a.Body)
		a.Body.Close()
		want := strings.Replace(test.want, "Accept-Encoding: ", "Accept-Encoding: identity", 1) + environment
		if string(got) != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
	s.trailers()
	s.hints()
	s.end(sigterm)
}

// trailers sends and wants one.
func (s *serve) trailers() {
	r, err := http.NewRequest("POST", s.url+"/rewound/trailer", io.MultiReader(strings.NewReader("12345")))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Trailer = http.Header{"There": {"and back"}}
	r.Header.Set("Expect", "100-continue")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if string(text) != "5 bytes" || err != nil || a.Trailer.Get("Back") != "and back" {
		s.t.Errorf("got %s, %v, %v", text, err, a.Trailer)
	}
}

func (s *serve) hints() {
	hints := ""
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints += fmt.Sprint(code, h.Get("Link"))
			return nil
		},
	})
	if status, text := s.call(ctx, "GET", "/rewound/hints", nil); status != 200 || text != "all" || hints != "103</style.css>; rel=preload" {
		s.t.Errorf("got %d, %s, %s", status, text, hints)
	}
}

// Bodies of any length go through, and are in nobody's memory whole.
func TestWebStreams(t *testing.T) {
	s := both(t, hostileWeb(t))
	mib := 64
	if testing.Short() || raceDetector {
		mib = 8
	}
	for _, name := range []string{"/rewound", "/kept"} {
		sent := sha256.New()
		body := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), int64(mib)<<20), sent)
		status, got := s.call(t.Context(), "PUT", name+"/sum", body)
		if want := fmt.Sprintf("%d %x <nil>", mib<<20, sent.Sum(nil)); status != 200 || got != want {
			t.Errorf("%s: got %d, %.200s, want %s", name, status, got, want)
		}
		a, err := http.Get(s.url + fmt.Sprintf("%s/zeros/%d", name, mib))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, a.Body)
		a.Body.Close()
		if n != int64(mib)<<20 || err != nil {
			t.Errorf("%s: got %d bytes, %v", name, n, err)
		}
	}
	s.end(sigterm)
}

// Each event comes when it is sent, and a socket's messages come back.
func TestWebEvents(t *testing.T) {
	s := both(t, image(t, "images/fn-http"))
	for _, name := range []string{"/rewound", "/kept"} {
		s.events(name)
		s.socket(name)
	}
	s.end(sigterm)
}

// events wants an event while others are to come: the next one is asked for in no other
// way than by reading, and comes an hour later.
func (s *serve) events(name string) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.url+name+"/events?n=2&every=1h", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	line, err := bufio.NewReader(a.Body).ReadString('\n')
	if line != "data: 0\n" || err != nil || a.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Errorf("%s: got %q, %v, %v", name, line, err, a.Header)
	}
}

func (s *serve) socket(name string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.url+name+"/socket", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.CloseNow()
	for i := range 20 {
		text := bytes.Repeat([]byte{byte(i)}, i*1000)
		if err := c.Write(ctx, websocket.MessageBinary, text); err != nil {
			s.t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, text) {
			s.t.Fatalf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
	c.Close(websocket.StatusNormalClosure, "")
}

// One clone has eight requests at once, and its program sees when clients leave.
func TestWebConcurrency(t *testing.T) {
	s := both(t, hostileWeb(t))
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			if status, text := s.get("/kept/meet/8"); status != 200 || text != "met" {
				t.Errorf("got %d, %s", status, text)
			}
		})
	}
	clients.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	for range 8 {
		clients.Go(func() { s.call(ctx, "GET", "/kept/never", nil) })
	}
	s.await("eight are under way", func() bool { return s.status("kept").Requests == 8 })
	if f := s.status("kept"); f.Running != 1 || f.Many != 8 || f.Contract != "http" {
		t.Errorf("got %+v", f)
	}
	cancel()
	clients.Wait()
	s.await("the program has seen them leave", func() bool { _, text := s.get("/kept/left"); return text == "8" })
	if f := s.status("kept"); f.Outcomes[pool.Cancelled] != 8 {
		t.Errorf("got %+v", f.Outcomes)
	}
	s.end(sigterm)
}

// A client that leaves in the middle of a body ends its request.
func TestWebClientLeaves(t *testing.T) {
	s := both(t, hostileWeb(t))
	for _, name := range []string{"rewound", "kept"} {
		a, err := http.Get(s.url + "/" + name + "/zeros/1000")
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(io.Discard, a.Body, 1<<20)
		a.Body.Close()
		gone := func(n uint64) func() bool {
			return func() bool { return s.status(name).Outcomes[pool.Cancelled] == n }
		}
		s.await("it is over", gone(1))
		r, w := io.Pipe()
		go func() {
			w.Write(make([]byte, 1<<20))
			w.CloseWithError(io.ErrUnexpectedEOF)
		}()
		s.call(t.Context(), "POST", "/"+name+"/sum", r)
		s.await("it is over", gone(2))
		if status, text := s.get("/" + name + "/remember/x"); status != 200 || text != "[x]" {
			t.Errorf("%s: got %d, %s", name, status, text)
		}
	}
	s.end(sigterm)
}

// Programs that have state are told when they go, and those of streams that last, too.
func TestWebTerm(t *testing.T) {
	web, socket := hostileWeb(t), image(t, "images/fn-http")
	s := start(t, "-f", configFile(t, `
drain: 4s
functions:
  f: {image: %s, isolation: instance, concurrency: 4, idle: 1s}
  ws: {image: %s, isolation: instance, concurrency: 4}
`, web, socket))
	s.ready("f", "ws")
	s.get("/f/remember/x")
	s.await("an idle clone is told", func() bool {
		return strings.Contains(s.text(), `"msg":"got SIGTERM"`) && strings.Contains(s.text(), `"msg":"ends"`)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.url+"/ws/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("x")); err != nil {
		t.Fatal(err)
	}
	c.Read(ctx)
	go s.cmd.Process.Signal(sigterm)
	_, _, err = c.Read(ctx)
	if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
		t.Errorf("got %v, %v", got, err)
	}
	s.end(sigterm)
	if !strings.Contains(s.text(), `"msg":"ending"`) {
		t.Error("the program with a socket was not told")
	}
}

// A request goes on while its function is booted anew, and the next one finds another
// machine.
func TestWebReload(t *testing.T) {
	s := both(t, hostileWeb(t))
	if status, text := s.get("/kept/remember/a"); status != 200 || text != "[a]" {
		t.Errorf("got %d, %s", status, text)
	}
	if status, text := s.call(t.Context(), "POST", "/kept/sum", &slowBody{serve: s}); status != 200 || !strings.HasPrefix(text, "3 ") {
		t.Errorf("got %d, %s", status, text)
	}
	if status, text := s.get("/kept/remember/b"); status != 200 || text != "[b]" {
		t.Errorf("got %d, %s", status, text)
	}
	s.await("the old program was told", func() bool { return strings.Contains(s.text(), `"msg":"got SIGTERM"`) })
	s.end(sigterm)
}

// slowBody ends when the function has been booted anew.
type slowBody struct {
	serve *serve
	sent  bool
}

func (b *slowBody) Read(p []byte) (int, error) {
	if !b.sent {
		b.sent = true
		return copy(p, "abc"), nil
	}
	s := b.serve
	s.cmd.Process.Signal(sighup)
	s.await("it is booted anew", func() bool { return strings.Count(s.text(), `"msg":"ready","function":"kept"`) == 2 })
	return 0, io.EOF
}

// TestWebLeak sends many requests, of which some end early, and looks for what is left.
func TestWebLeak(t *testing.T) {
	web := hostileWeb(t)
	t.Setenv("TMPDIR", t.TempDir())
	count := 1000
	if testing.Short() || raceDetector {
		count = 200
	}
	one := func(count int) {
		f := newWeb(t, web)
		defer f.close()
		var clients sync.WaitGroup
		work := make(chan int)
		for range 6 {
			clients.Go(func() {
				for i := range work {
					f.request(i)
				}
			})
		}
		for i := range count {
			work <- i
		}
		close(work)
		clients.Wait()
	}
	one(count / 10)
	before := vmtest.Take()
	one(count)
	if left := before.Left(); left != "" {
		t.Errorf("left: %s", left)
	}
}

// web is a gateway in this process, of one function in either isolation.
type web struct {
	t      *testing.T
	pools  []*pool.Function
	server *httptest.Server
	client http.Client
}

func newWeb(t *testing.T, image string) *web {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil)) // what goes wrong
	g, turns := gateway.New(log), pool.NewTurns(2)
	w := &web{t: t, server: httptest.NewServer(g)}
	w.client.Transport = &http.Transport{}
	var list []*gateway.Function
	for _, name := range []string{"rewound", "kept"} {
		p := boot.Program{Name: name, From: image, Memory: 64 << 20, Within: time.Minute, Contracts: []pool.Contract{pool.HTTP}}
		s, err := p.Source(t.Context(), pool.Silence{})
		if err != nil {
			t.Fatal(err)
		}
		limits := pool.Limits{Max: 2, Queue: 8, Timeout: time.Minute, Reuse: name == "kept", Concurrency: 4, Grace: 10 * time.Second}
		program := logs.NewProgram(log)
		f := pool.New(limits, turns, program.Output, func(err error) { t.Error(err) })
		f.Swap(s)
		w.pools = append(w.pools, f)
		list = append(list, gateway.NewFunction(name, "/"+name, "", f, program))
	}
	g.SetFunctions(list)
	return w
}

// request sends one of many kinds, of which some end early.
func (w *web) request(i int) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	leaves := rand.IntN(3) == 0
	if leaves {
		time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, cancel)
	}
	path := []string{"remember/x", "zeros/2", "sum", "half", "close", "status/204"}[i%6]
	var body io.Reader
	if path == "sum" {
		body = io.LimitReader(rand.NewChaCha8([32]byte{}), 1<<20)
	}
	r, err := http.NewRequestWithContext(ctx, "POST", w.server.URL+[]string{"/rewound/", "/kept/"}[i/6%2]+path, body)
	if err != nil {
		w.t.Error(err)
		return
	}
	a, err := w.client.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, a.Body)
		a.Body.Close()
	}
	broken := path == "half"
	if (err != nil) != broken && !leaves {
		w.t.Errorf("%s: got %+v, %v", path, a, err)
	}
}

func (w *web) close() {
	w.client.CloseIdleConnections()
	w.server.Close()
	for _, f := range w.pools {
		f.Close()
		need.Count(int(f.Status().Counts.Made))
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"

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

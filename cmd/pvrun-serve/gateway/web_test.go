package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// contracted serves a function of each contract, m, h and l, and u that is not ready.
func contracted(t *testing.T) string {
	t.Helper()
	var all []*Function
	url, g := server(t, pool.Limits{Max: 1, Queue: 4})
	turns := pool.NewTurns(4)
	for name, s := range map[string]pool.Source{"m": source{pool.Message}, "h": source{pool.HTTP}, "l": source{pool.Lambda}, "u": nil} {
		f := named(name)
		f.Logs = logs.NewProgram(g.log)
		f.Pool = pool.New(pool.Limits{Max: 1, Queue: 4}, turns, f.Logs.Output, func(error) {})
		if s != nil {
			f.Pool.Swap(s)
		}
		t.Cleanup(f.Pool.Close)
		all = append(all, f)
	}
	g.SetFunctions(all)
	return url
}

// Programs that serve HTTP have all paths below theirs, and all of their hosts'.
func TestWebRoutes(t *testing.T) {
	at := contracted(t)
	own := strings.TrimPrefix(at, "http://")
	for _, test := range []struct {
		method, path, host string
		status             int
		want               string // the beginning
	}{
		{"GET", "/h", "", 200, "GET " + own + " / /h " + own},
		{"PUT", "/h/", "", 200, "PUT " + own + " / /h"},
		{"GET", "/h/a/b?c=d;e", "", 200, "GET " + own + " /a/b?c=d;e /h"},
		{"GET", "/h/a%2fb", "", 200, "GET " + own + " /a%2fb /h"},
		{"GET", "/%68/a%2fb", "", 200, "GET " + own + " /a/b /h"},
		{"GET", "/h//a", "", 200, "GET " + own + " //a /h"},
		{"GET", "/metrics", "h.example", 200, "GET h.example /metrics  h.example"},
		{"GET", "/m", "H.example:80", 200, "GET H.example:80 /m  H.example:80"},
		{"OPTIONS", "/", "h.example", 200, "OPTIONS h.example / "},
		{"GET", "/hh", "", 404, "no such function\n"},
		{"GET", "/m/x", "", 404, "no such function\n"},
		{"GET", "/x/h", "", 404, "no such function\n"},
		{"GET", "/h/garbage", "", 502, "the program's answer: malformed HTTP response\n"},
		{"GET", "/u/x", "", 503, "the function is not ready\n"},
		{"POST", "/u", "", 503, "the function is not ready\n"},
		{"POST", "/m", "", 200, ""},
		{"POST", "/2015-03-31/functions/m/invocations", "", 200, ""},
		{"POST", "/2015-03-31/functions/h/invocations", "", 404, `{"Message":"Function not found"`},
		{"GET", "/2015-03-31/functions/m/invocations", "", 405, `{"Message":"must be POST"`},
		{"POST", "/2015-03-31/functions/u/invocations", "", 503, `{"Message":"the function is not ready"`},
		{"POST", "/2015-03-31/functions/m/configuration", "", 404, "no such function\n"},
	} {
		r, text := ask(t, test.method, at+test.path, test.host, "")
		if r.StatusCode != test.status || !strings.HasPrefix(text, test.want) {
			t.Errorf("%s %s of %q: got %d, %s", test.method, test.path, test.host, r.StatusCode, text)
		}
	}
}

func TestConnectMethod(t *testing.T) {
	w := httptest.NewRecorder()
	New(slog.New(slog.DiscardHandler)).forward(w, httptest.NewRequest(http.MethodConnect, "http://h.example/", nil), named("h"), "id", "")
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d", w.Code)
	}
}

func TestStrip(t *testing.T) {
	for _, test := range []struct{ path, prefix, want string }{
		{"/f", "/f", "/"},
		{"/f/a", "/f", "/a"},
		{"/a%20b/c%2Fd", "/a b", "/c%2Fd"},
		{"/%66/c%2Fd", "/f", "/c/d"},
		{"/f/%C3%A4", "/f", "/%C3%A4"},
		{"/f%2Fa", "/f", "/a"},
	} {
		u, err := url.Parse(test.path)
		if err != nil {
			t.Fatal(err)
		}
		if strip(u, test.prefix); u.EscapedPath() != test.want {
			t.Errorf("%s: got %s, want %s", test.path, u.EscapedPath(), test.want)
		}
	}
}

// What clients say is a header's value, or nothing.
func TestInvokeContext(t *testing.T) {
	for text, want := range map[string]string{"": "", "Root=1": "Root=1", "a\x01b": "", "ä": "ä"} {
		if got := headerValue(text); got != want {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for path, want := range map[string]string{
		"/2015-03-31/functions/f/invocations":                                       "f",
		"/2015-03-31/functions/f:3/invocations":                                     "f",
		"/2015-03-31/functions/arn:aws:lambda:us-east-1:1:function:f:3/invocations": "f",
		"/2015-03-31/functions/arn:aws:lambda:us-east-1:1:function:f/invocations":   "f",
		"/2015-03-31/functions//invocations":                                        "",
		"/2015-03-31/functions/f/invoke-async":                                      "none",
		"/f":                                                                        "none",
	} {
		got, ok := awsName(path)
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: got %s", path, got)
		}
	}
}

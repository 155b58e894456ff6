package main

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/gateway"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// TestWebLeak sends many requests, of which some end early, and looks for what is left.
func TestWebLeak(t *testing.T) {
	leak(t, hostileWeb(t), pool.HTTP, []string{"remember/x", "zeros/2", "sum", "half", "close", "status/204"})
}

// TestLambdaLeak is the same for events.
func TestLambdaLeak(t *testing.T) {
	leak(t, hostileLambda(t), pool.Lambda, []string{"hello", "remember x", "error", "exit", "break", "many"})
}

func leak(t *testing.T, image string, contract pool.Contract, what []string) {
	t.Setenv("TMPDIR", t.TempDir())
	count := 1000
	if testing.Short() || raceDetector {
		count = 200
	}
	one := func(count int) {
		w := newWeb(t, image, contract)
		defer w.close()
		var clients sync.WaitGroup
		work := make(chan int)
		for range 6 {
			clients.Go(func() {
				for i := range work {
					w.request(i/len(what), what[i%len(what)])
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
	t        *testing.T
	contract pool.Contract
	pools    []*pool.Function
	server   *httptest.Server
	client   http.Client
}

func newWeb(t *testing.T, image string, contract pool.Contract) *web {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil)) // what goes wrong
	g, turns := gateway.New(log), pool.NewTurns(2)
	w := &web{t: t, contract: contract, server: httptest.NewServer(g)}
	w.client.Transport = &http.Transport{}
	var list []*gateway.Function
	for _, name := range []string{"rewound", "kept"} {
		p := boot.Program{Name: name, From: image, Memory: 64 << 20, Within: time.Minute, Contracts: []pool.Contract{contract}}
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

// request sends one, of which some end early.
func (w *web) request(i int, what string) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	leaves := rand.IntN(3) == 0
	if leaves {
		time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, cancel)
	}
	url := w.server.URL + []string{"/rewound", "/kept"}[i%2]
	var body io.Reader
	switch {
	case w.contract == pool.Lambda:
		body = strings.NewReader(what)
	case what == "sum":
		body = io.LimitReader(rand.NewChaCha8([32]byte{}), 1<<20)
		fallthrough
	default:
		url += "/" + what
	}
	r, err := http.NewRequestWithContext(ctx, "POST", url, body)
	if err != nil {
		w.t.Error(err)
		return
	}
	a, err := w.client.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, a.Body)
		a.Body.Close()
	}
	broken := what == "half"
	if (err != nil) != broken && !leaves {
		w.t.Errorf("%s: got %+v, %v", what, a, err)
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

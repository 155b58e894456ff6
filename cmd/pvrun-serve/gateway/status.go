package gateway

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pvrun/pvrun"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

//go:embed status.html
var page []byte

// Reserved are the names that functions cannot have: their paths are the gateway's own.
var Reserved = []string{"metrics", "status"}

func (g *Gateway) newPages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Write(page)
	})
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		json.NewEncoder(w).Encode(g.status(time.Now()))
	})
	mux.Handle("GET /metrics", g.metrics.handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such function", http.StatusNotFound)
	})
	return mux
}

// Status is what the page shows.
type Status struct {
	Version   string           `json:"version"`
	Uptime    float64          `json:"uptime_seconds"`
	RSS       int64            `json:"rss_bytes"` // of the whole process
	Functions []FunctionStatus `json:"functions"`
}

// FunctionStatus is a row of it. Rates and percentiles are of the last ten seconds.
type FunctionStatus struct {
	Name      string                  `json:"name"`
	Path      string                  `json:"path"`
	Ready     bool                    `json:"ready"`
	Trouble   string                  `json:"trouble,omitempty"`
	Isolation string                  `json:"isolation"`
	Rate      float64                 `json:"rate"`
	ErrorRate float64                 `json:"error_rate"`
	P50       float64                 `json:"p50_seconds"`
	P99       float64                 `json:"p99_seconds"`
	Contract  string                  `json:"contract,omitempty"` // when it is known
	Many      int                     `json:"concurrency"`
	Requests  int                     `json:"requests"` // messages, events and requests under way
	Running   int                     `json:"running"`  // clones
	Idle      int                     `json:"ready_clones"`
	Queued    int                     `json:"queued"`
	Changing  int                     `json:"changing"` // clones that are made, rewound or closed
	Max       int                     `json:"max"`
	Cold      uint64                  `json:"cold"`
	Warm      uint64                  `json:"warm"`
	Outcomes  map[pool.Outcome]uint64 `json:"outcomes"`
	Shared    int64                   `json:"snapshot_bytes"`
	Own       int64                   `json:"clones_bytes"`
	Spark     []uint32                `json:"spark"` // invocations in each of the last seconds
}

func (g *Gateway) status(now time.Time) Status {
	s := Status{Version: pvrun.Version, Uptime: now.Sub(g.begun).Seconds(), RSS: rss(), Functions: []FunctionStatus{}}
	for _, f := range g.functions() {
		s.Functions = append(s.Functions, f.status(now))
	}
	return s
}

func (f *Function) status(now time.Time) FunctionStatus {
	p, v := f.Pool.Status(), f.window.view(now)
	contract := ""
	if p.Ready {
		contract = p.Contract.String()
	}
	return FunctionStatus{
		Contract: contract, Many: max(1, p.Limits.Concurrency), Requests: p.Requests,
		Name: f.Name, Path: f.Path, Ready: p.Ready, Trouble: firstLine(f.Trouble()), Isolation: isolation(p.Limits),
		Rate: v.Rate, ErrorRate: v.Errors, P50: v.P50.Seconds(), P99: v.P99.Seconds(),
		Running: p.Running, Idle: p.Idle, Queued: p.Queued, Changing: p.Starting + p.Rewinding + p.Closing, Max: p.Limits.Max,
		Cold: p.Counts.Cold, Warm: p.Counts.Warm, Outcomes: p.Counts.Outcomes,
		Shared: p.Shared, Own: p.Own, Spark: v.Counts,
	}
}

func isolation(l pool.Limits) string {
	switch {
	case l.Reuse:
		return "instance"
	case l.Fresh:
		return "invocation, fresh"
	}
	return "invocation"
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// rss is the process's resident memory, in bytes (proc_pid_statm(5)).
func rss() int64 {
	b, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n * int64(os.Getpagesize())
}

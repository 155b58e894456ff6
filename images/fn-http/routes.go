package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// visits counts requests since the program began.
var visits atomic.Int64

// routes are what there is. Streams end when end does.
func routes(end context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: visit %d\n", os.Getenv("K_SERVICE"), visits.Add(1))
	})
	mux.HandleFunc("GET /hello/{name}", hello)
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("GET /download/{mib}", download)
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { events(end, w, r) })
	mux.HandleFunc("GET /socket", func(w http.ResponseWriter, r *http.Request) { socket(end, w, r) })
	return mux
}

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"greeting": "hello " + r.PathValue("name"), "method": r.Method, "host": r.Host})
}

var mib = make([]byte, 1<<20)

// download sends as many MiB of zeros as the path says.
func download(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseUint(r.PathValue("mib"), 10, 20)
	if err != nil {
		http.Error(w, "/download/N: N is a number of MiB", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatUint(n<<20, 10))
	for ; n > 0; n-- {
		if _, err := w.Write(mib); err != nil {
			return
		}
	}
}

// events sends ?n= events, ?every= apart.
func events(end context.Context, w http.ResponseWriter, r *http.Request) {
	n, every := 10, 100*time.Millisecond
	if v, err := strconv.Atoi(r.FormValue("n")); err == nil {
		n = v
	}
	if v, err := time.ParseDuration(r.FormValue("every")); err == nil && v > 0 {
		every = v
	}
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range n {
		fmt.Fprintf(w, "data: %d\n\n", i)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-end.Done():
			return
		}
	}
}

// sockets are those that are open.
var sockets sync.WaitGroup

// socket sends back each message that it gets, until the client or the program ends.
func socket(end context.Context, w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // the client was told
	}
	sockets.Add(1)
	defer sockets.Done()
	defer c.CloseNow()
	defer context.AfterFunc(end, func() { c.Close(websocket.StatusGoingAway, "the program ends") })()
	ctx := context.Background()
	for {
		kind, text, err := c.Read(ctx)
		if err != nil || c.Write(ctx, kind, text) != nil {
			return
		}
	}
}

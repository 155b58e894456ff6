// Command hostileweb serves HTTP at $PORT and does what a request's path says, such as
// what it must not.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	mu         sync.Mutex
	remembered []string
	met        int           // requests of /meet that are there
	all        chan struct{} // closed when they are all
	left       atomic.Int64  // clients that have gone
)

func main() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		fmt.Println("got SIGTERM")
		time.Sleep(50 * time.Millisecond)
		fmt.Println("ends")
		os.Exit(0)
	}()
	mux := http.NewServeMux()
	for path, f := range map[string]http.HandlerFunc{
		"/remember/{what}": remember,
		"/exit":            func(http.ResponseWriter, *http.Request) { os.Exit(3) },
		"/panic":           func(http.ResponseWriter, *http.Request) { go panic("at once"); select {} },
		"/half-exit":       func(w http.ResponseWriter, _ *http.Request) { half(w); time.Sleep(200 * time.Millisecond); os.Exit(3) },
		"/half":            func(w http.ResponseWriter, _ *http.Request) { half(w); panic(http.ErrAbortHandler) },
		"/close":           func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"/raw":             raw,
		"/header":          header,
		"/never":           never,
		"/left":            func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, left.Load()) },
		"/spin":            func(http.ResponseWriter, *http.Request) { spin() },
		"/work":            func(w http.ResponseWriter, _ *http.Request) { go spin(); fmt.Fprint(w, "begun") },
		"/sum":             sum,
		"/zeros/{mib}":     zeros,
		"/meet/{count}":    meet,
		"/status/{code}":   status,
		"/show":            show,
		"/trailer":         trailer,
		"/hints":           hints,
	} {
		mux.HandleFunc(path, f)
	}
	err := http.ListenAndServe(":"+os.Getenv("PORT"), mux)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func spin() {
	for i := 0; ; i++ {
	}
}

func remember(w http.ResponseWriter, r *http.Request) {
	mu.Lock()
	defer mu.Unlock()
	remembered = append(remembered, r.PathValue("what"))
	fmt.Fprint(w, remembered)
}

// half sends the first bytes of a body.
func half(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "1000")
	io.WriteString(w, "half")
	http.NewResponseController(w).Flush()
}

// raw sends what is in the query, which is no HTTP, and closes.
func raw(w http.ResponseWriter, r *http.Request) {
	c := hijack(w)
	defer c.Close()
	io.WriteString(c, r.FormValue("text"))
}

// header sends a header without end.
func header(w http.ResponseWriter, _ *http.Request) {
	c := hijack(w)
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 200 OK\r\n")
	for i := 0; ; i++ {
		if _, err := fmt.Fprintf(c, "Header-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
			return
		}
	}
}

func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	return c
}

// never answers, and counts the clients that leave.
func never(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	left.Add(1)
}

// sum answers with the number and the SHA-256 of the bytes that it gets.
func sum(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	fmt.Fprintf(w, "%d %x %v", n, h.Sum(nil), err)
}

var mib = make([]byte, 1<<20)

func zeros(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.PathValue("mib"))
	for ; n > 0; n-- {
		if _, err := w.Write(mib); err != nil {
			return
		}
	}
}

// meet waits until as many requests are there as the path says.
func meet(w http.ResponseWriter, r *http.Request) {
	count, _ := strconv.Atoi(r.PathValue("count"))
	mu.Lock()
	if met == 0 {
		all = make(chan struct{})
	}
	here := all
	if met++; met == count {
		close(all)
		met = 0
	}
	mu.Unlock()
	select {
	case <-here:
		fmt.Fprint(w, "met")
	case <-r.Context().Done():
	}
}

func status(w http.ResponseWriter, r *http.Request) {
	code, _ := strconv.Atoi(r.PathValue("code"))
	w.WriteHeader(code)
}

// show tells what the program knows of a request.
func show(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s\n", r.Method, r.Host, r.RequestURI)
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Accept-Encoding", "User-Agent"} {
		fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ","))
	}
	for _, name := range []string{"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"} {
		fmt.Fprintf(w, "%s=%s\n", name, os.Getenv(name))
	}
}

// trailer answers with the request's trailer as its own.
func trailer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Back")
	n, _ := io.Copy(io.Discard, r.Body)
	fmt.Fprintf(w, "%d bytes", n)
	w.Header().Set("Back", r.Trailer.Get("There"))
}

func hints(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	fmt.Fprint(w, "all")
}

// Command httpd is a small web server: HTTP/1.1, HTTP/2 over TLS, streams both ways
// and server-sent events.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("httpd: ")
	addr := flag.String("addr", ":8080", "`address` for plain HTTP, \"\" for none")
	tlsAddr := flag.String("tls", ":8443", "`address` for HTTPS, \"\" for none")
	cert := flag.String("cert", "", "PEM `file` of the certificate; none: a new one, signed by itself")
	key := flag.String("key", "", "PEM `file` of the certificate's key")
	name := flag.String("name", "", "what / answers with hello; none: the host's name")
	flag.Parse()
	if err := run(*addr, *tlsAddr, *cert, *key, *name); err != nil {
		log.Fatal(err)
	}
}

func run(addr, tlsAddr, cert, key, name string) error {
	if name == "" {
		name, _ = os.Hostname()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A client that is slow to say what it wants must not hold a connection for ever.
	server := &http.Server{Handler: handler(ctx, name), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	if tlsAddr != "" {
		pair, err := certificate(cert, key, name)
		if err != nil {
			return err
		}
		// Complete before either listener is served: the first of them settles for the
		// whole server whether HTTP/2 is spoken, and only a named h2 makes it so.
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	}
	failed := make(chan error, 2)
	if addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		log.Printf("http://%s", l.Addr())
		go func() { failed <- server.Serve(l) }()
	}
	if tlsAddr != "" {
		l, err := net.Listen("tcp", tlsAddr)
		if err != nil {
			return err
		}
		log.Printf("https://%s", l.Addr())
		go func() { failed <- server.ServeTLS(l, "", "") }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(drain)
}

func handler(ctx context.Context, name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s\n", name)
	})
	mux.HandleFunc("GET /about", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "server %s\nproto %s\nhost %s\nclient %s\n", name, r.Proto, r.Host, r.RemoteAddr)
	})
	mux.HandleFunc("GET /bytes/{n}", sendBytes)
	mux.HandleFunc("POST /sum", sum)
	mux.HandleFunc("POST /count", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, n)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { events(ctx, w, r) })
	return mux
}

// pattern is what /bytes sends, over and over.
var pattern = func() []byte {
	b := make([]byte, 64<<10)
	for i := range b {
		b[i] = byte(i * 131 >> 3)
	}
	return b
}()

// sendBytes sends as many bytes as the path says.
func sendBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "/bytes/N: N is a number of bytes", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	for n > 0 {
		k, err := w.Write(pattern[:min(n, int64(len(pattern)))])
		if err != nil {
			return
		}
		n -= int64(k)
	}
}

// sum answers with the number and the SHA-256 of the bytes that it gets.
func sum(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %x\n", n, h.Sum(nil))
}

// events sends ?n= server-sent events, ?every= apart.
func events(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	n, every := 10, time.Second
	var err error
	if s := r.FormValue("n"); s != "" {
		n, err = strconv.Atoi(s)
	}
	if s := r.FormValue("every"); s != "" && err == nil {
		every, err = time.ParseDuration(s)
	}
	if err == nil && (n < 0 || every <= 0) {
		err = errors.New("n and every are positive")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range n {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, time.Now().UTC().Format(time.RFC3339Nano)); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

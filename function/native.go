//go:build !pvrun || !linux

package function

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func handle(f Handler) error {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return serve(ctx, l, f)
}

// serve answers messages until ctx ends, and then those under way.
func serve(ctx context.Context, l net.Listener, f Handler) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) { answer(w, r, f) })
	server := http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Shutdown(context.Background())
	}
}

func answer(w http.ResponseWriter, r *http.Request, f Handler) {
	message, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxMessage))
	if err != nil {
		status := http.StatusBadRequest
		if long := (*http.MaxBytesError)(nil); errors.As(err, &long) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), status)
		return
	}
	response, err := call(r.Context(), message, f)
	if err == nil {
		err = tooLong(response)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(response)
}

// call calls f on a goroutine of its own: net/http would go on after a panic on its.
func call(ctx context.Context, message []byte, f Handler) (response []byte, err error) {
	done := make(chan struct{})
	go func() {
		response, err = f(ctx, message)
		close(done)
	}()
	<-done
	return response, err
}

func ready() error { return nil }

func generation() uint64 { return 0 }

var instanceID = sync.OnceValue(func() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
})

func onResume(func()) {}

package hv

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// webImage is an unmodified web server.
var webImage = sync.OnceValues(func() (string, error) { return builtOnce("../test/function/web") })

// web is a snapshot of it.
func web(t testing.TB, cfg Config) *Snapshot {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img, err := webImage()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Image, cfg.Args, cfg.Env, cfg.Stderr = img, []string{"web"}, append(cfg.Env, "PORT=8080"), os.Stderr
	cfg.Messages, cfg.Ready, cfg.ReadyPort = true, cfg.Ready|hypercall.ReadyListen, 8080
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Boot(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serving runs a machine until the function that it returns is called.
func serving(t testing.TB, vm *VM) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	done, left := make(chan struct{}), make(chan error, 1)
	go func() { left <- vm.RunUntil(ctx, done) }()
	return func() {
		t.Helper()
		close(done)
		if err := <-left; err != nil {
			t.Errorf("RunUntil: %v", err)
		}
		cancel()
	}
}

// TestDial has many requests at once answered, lives after lives.
func TestDial(t *testing.T) {
	vm := clone(t, web(t, Config{Memory: 256 << 20}))
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return vm.Dial(0) },
	}}
	big := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	for life := range 5 {
		stop := serving(t, vm)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				r, err := client.Post("http://web/echo", "", bytes.NewReader(big))
				if err != nil {
					t.Error(life, i, err)
					return
				}
				defer r.Body.Close()
				if b, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(b, big) {
					t.Errorf("life %d, request %d: %d bytes, %v", life, i, len(b), err)
				}
			})
		}
		all.Wait()
		client.CloseIdleConnections()
		stop()
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
}

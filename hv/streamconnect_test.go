package hv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// servicePort is where test/function/asks finds the host.
const servicePort = 9001

// asksImage is a program that asks the host for its work.
var asksImage = sync.OnceValues(func() (string, error) { return builtOnce("../test/function/asks") })

// asks boots it until it is ready.
func asks(t *testing.T, cfg Config) (*Snapshot, error) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img, err := asksImage()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Image, cfg.Args, cfg.Messages = img, []string{"asks"}, true
	cfg.Env = []string{fmt.Sprintf("SERVICE=127.0.0.1:%d", servicePort)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return Boot(ctx, cfg)
}

// service is a server of the host's to which one machine's program connects.
type service struct{ vm *VM }

func (s service) Accept() (net.Conn, error) { return s.vm.Accept(context.Background()) }
func (s service) Close() error              { return nil }
func (s service) Addr() net.Addr            { return loopback(servicePort) }

// newService serves work until the machine is closed: each text of texts once, and what
// is answered goes to the other channel.
func newService(t *testing.T, vm *VM) (texts chan<- string, answers <-chan string) {
	to, from := make(chan string), make(chan string)
	mux := http.NewServeMux()
	mux.HandleFunc("/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case text := <-to:
			io.WriteString(w, text)
			if http.NewResponseController(w).Flush() != nil { // of a life that is over
				to <- text
			}
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/answer", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		from <- string(b)
	})
	left := make(chan error, 1)
	go func() { left <- (&http.Server{Handler: mux}).Serve(service{vm}) }()
	t.Cleanup(func() {
		vm.Close()
		if err := <-left; !errors.Is(err, ErrOver) {
			t.Errorf("serve: %v", err)
		}
	})
	return to, from
}

// TestConnect: a program that asks the host for work is ready when it has connected, and
// each life goes on with that connection.
func TestConnect(t *testing.T) {
	s, err := asks(t, Config{Ready: hypercall.ReadyConnect | hypercall.ReadyMessage, ServicePort: servicePort, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	file := filepath.Join(t.TempDir(), "snap")
	if err := s.Save(file); err != nil {
		t.Fatal(err)
	}
	saved, err := OpenSnapshot(file)
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	for _, s := range []*Snapshot{s, saved} {
		if i := s.Info(); i.Moment != hypercall.ReadyConnect || i.ServicePort != servicePort {
			t.Errorf("ready at %d, port %d", i.Moment, i.ServicePort)
		}
		vm := clone(t, s)
		if _, err := vm.Invoke(t.Context(), nil); !errors.Is(err, errConnects) {
			t.Errorf("Invoke: %v", err)
		}
		texts, answers := newService(t, vm)
		for life := range 5 {
			stop := serving(t, vm)
			for i := range 3 {
				texts <- fmt.Sprint("text ", life)
				if got, want := <-answers, fmt.Sprintf("%d text %d", i+1, life); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			stop()
			if err := vm.Rewind(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestConnectRefused: without a service the program finds nobody.
func TestConnectRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no port":      {Ready: hypercall.ReadyConnect},
		"another port": {Ready: hypercall.ReadyConnect, ServicePort: servicePort + 1},
	} {
		var out strings.Builder
		cfg.Stderr = &out
		_, err := asks(t, cfg)
		if e := (*NotReadyError)(nil); !errors.As(err, &e) || !strings.Contains(out.String(), "connection refused") {
			t.Errorf("%s: %v, %s", name, err, &out)
		}
	}
}

// TestConnectMoment: a program that has connected before it listens, or the other way
// around, has come to rest at what was first.
func TestConnectMoment(t *testing.T) {
	s, err := asks(t, Config{Ready: hypercall.ReadyConnect | hypercall.ReadyListen, ReadyPort: 80, ServicePort: servicePort})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := web(t, Config{Ready: hypercall.ReadyConnect, ServicePort: servicePort})
	if a, b := s.Info().Moment, w.Info().Moment; a != hypercall.ReadyConnect || b != hypercall.ReadyListen {
		t.Errorf("moments %d and %d", a, b)
	}
	if r, err := clone(t, w).Invoke(t.Context(), []byte("GET /count HTTP/1.0\r\n\r\n")); err != nil || r.Failed || !strings.HasSuffix(string(r.Data), "\r\n1") {
		t.Errorf("%q, %v", r.Data, err)
	}
}

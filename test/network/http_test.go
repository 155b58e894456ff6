package network

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is httpd in a machine, as its peers reach it.
type server struct {
	*machine
	ns         string // where the peers are
	http, tls  string // addresses
	httpClient *http.Client
}

// httpd starts it on a network: "user" or "tap".
func httpd(t *testing.T, network string, flags ...string) *server {
	t.Helper()
	s := &server{}
	if network == "tap" {
		s.ns = namespace(t)
		s.http, s.tls = "10.77.0.2:8080", "10.77.0.2:8443"
		s.machine = start(t, s.ns, onTap(flags...), "httpd")
	} else {
		s.http, s.tls = freePort(t), freePort(t)
		_, plain, _ := net.SplitHostPort(s.http)
		_, secure, _ := net.SplitHostPort(s.tls)
		flags = append([]string{"--net", "user", "-p", plain + ":8080", "-p", secure + ":8443"}, flags...)
		s.machine = start(t, "", flags, "httpd")
	}
	s.says(t, "https://")
	s.httpClient = browser(t, s.ns)
	return s
}

// freePort is an address that nobody listened at a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eachNetwork(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range []string{"user", "tap"} {
		t.Run(network, func(t *testing.T) { f(t, network) })
	}
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%s: %s, %v", url, r.Status, err)
	}
	return string(b)
}

// A web server in a machine is one like any other.
func TestHTTP(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		s := httpd(t, network, "--name", "web")
		if got := get(t, s.httpClient, "http://"+s.http+"/"); got != "hello from web\n" {
			t.Errorf("got %q", got)
		}
		if got := get(t, s.httpClient, "https://"+s.tls+"/about"); !strings.Contains(got, "proto HTTP/2.0\n") {
			t.Errorf("got %q", got)
		}
		got := get(t, s.httpClient, "http://"+s.http+"/events?n=3&every=10ms")
		if events := strings.Count(got, "\n\n"); events != 3 {
			t.Errorf("%d events:\n%s", events, got)
		}
		streams(t, s, 20<<20)
	})
}

// The same in trap mode, over an NE2000, with frames that wait for the wire.
func TestTrapHTTP(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		s := httpd(t, network, "--mode", "trap", "--name", "web", "--net-rate", "2m")
		if got := get(t, s.httpClient, "http://"+s.http+"/"); got != "hello from web\n" {
			t.Errorf("got %q", got)
		}
		streams(t, s, 1<<20)
	})
}

// streams sends n bytes each way and looks at every one.
func streams(t *testing.T, s *server, n int) {
	t.Helper()
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	r, err := s.httpClient.Post("http://"+s.http+"/sum", "", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got, _ := io.ReadAll(r.Body); string(got) != fmt.Sprintf("%d %x\n", n, sha256.Sum256(data)) {
		t.Errorf("in: got %q", got)
	}
	r, err = s.httpClient.Post("http://"+s.http+"/echo", "", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	back, err := io.ReadAll(r.Body)
	if err != nil || !bytes.Equal(back, data) {
		t.Errorf("out: %d of %d bytes, %v", len(back), n, err)
	}
}

// Connections are many one after the other, and many at once.
func TestConnections(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		total, atOnce := 10_000, 1_000
		if network == "user" || !*long {
			total, atOnce = 1_000, 200
		}
		s := httpd(t, network, "-m", "256m")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range total / 8 {
					if err := s.visit(); err != nil {
						t.Errorf("visitor %d: %v", i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		conns := make([]net.Conn, atOnce)
		for i := range conns {
			c, err := dial(s.ns, s.http)
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			defer c.Close()
			conns[i] = c
		}
		for i, c := range conns {
			if err := ask(c); err != nil {
				t.Fatalf("connection %d of %d: %v", i, atOnce, err)
			}
		}
	})
}

// visit makes a connection for one request.
func (s *server) visit() error {
	c, err := dial(s.ns, s.http)
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(c)
}

// ask makes one request on a connection.
func ask(c net.Conn) error {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// A client in a machine fetches from a server of the host's.
func TestClient(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		ns, address, host, flags := "", "127.0.0.1:0", "host.pvrun.internal", []string{"--net", "user"}
		if network == "tap" {
			ns, address, host, flags = namespace(t), "0.0.0.0:0", "10.77.0.1", onTap()
		}
		l, err := listen(ns, address)
		if err != nil {
			t.Fatal(err)
		}
		tries := 0
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tries++; tries == 1 {
				http.Error(w, "later", http.StatusServiceUnavailable)
				return
			}
			w.Write(make([]byte, 1_000_000))
		})}
		go server.Serve(l)
		defer server.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		m := start(t, ns, flags, "client", "http://"+host+":"+port+"/")
		if got := m.wait(t, 0); !strings.Contains(got, " HTTP/1.1 200 OK 1000000 ") || tries != 2 {
			t.Errorf("got %q after %d tries", got, tries)
		}
	})
}

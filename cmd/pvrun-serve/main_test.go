package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/gateway"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// envServe makes this test binary pvrun-serve.
const envServe = "PVRUN_SERVE_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(envServe) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(need.Main(m))
}

// hostile is the image of a function that does what it is told.
func hostile(t *testing.T) string {
	t.Helper()
	need.KVM(t)
	dir, err := filepath.Abs("../../test/function/hostile")
	if err != nil {
		t.Fatal(err)
	}
	return vmtest.Image(t, dir)
}

// serve is a pvrun-serve that runs.
type serve struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	temp string // its folder for temporary files
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), envServe+"=1")
	return cmd
}

// start starts one, and waits until it listens.
func start(t *testing.T, args ...string) *serve {
	t.Helper()
	need.Count(1)
	s := &serve{t: t, temp: t.TempDir(), done: make(chan struct{})}
	s.cmd = command(t, append([]string{"--listen", "127.0.0.1:0", "--log", "json"}, args...)...)
	s.cmd.Env = append(s.cmd.Env, "TMPDIR="+s.temp)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go s.read(stderr, address)
	t.Cleanup(s.kill)
	select {
	case a := <-address:
		s.url = "http://" + a
	case <-s.done:
		t.Fatalf("it has ended: %s", s.text())
	}
	return s
}

// read reads the log.
func (s *serve) read(r io.Reader, address chan<- string) {
	defer close(s.done)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.mu.Lock()
		s.log.Write(append(lines.Bytes(), '\n'))
		s.mu.Unlock()
		var m struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &m) == nil && m.Msg == "listening" {
			address <- m.Address
		}
	}
}

func (s *serve) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *serve) kill() {
	s.cmd.Process.Kill()
	<-s.done
	s.cmd.Wait()
	if s.t.Failed() {
		s.t.Logf("log: %.4000s", s.text())
	}
}

// end has it end by a signal, and wants exit code 0.
func (s *serve) end(sig os.Signal) {
	s.t.Helper()
	s.cmd.Process.Signal(sig)
	<-s.done
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("%v: %v", sig, err)
	}
}

// post sends a message; the status is 0 when there is no answer.
func (s *serve) post(name, message string) (int, string) {
	r, err := http.Post(s.url+"/"+name, "", strings.NewReader(message))
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(text)
}

// status is what the page knows of a function.
func (s *serve) status(name string) gateway.FunctionStatus {
	s.t.Helper()
	r, err := http.Get(s.url + "/status.json")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	var all gateway.Status
	if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range all.Functions {
		if f.Name == name {
			return f
		}
	}
	return gateway.FunctionStatus{} // it is not there yet
}

// await waits until something is so.
func (s *serve) await(what string, so func() bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (s *serve) ready(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.await(name+" is ready", func() bool { return s.status(name).Ready })
	}
}

// file writes a file, at once.
func file(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// config writes a file of functions.
func configFile(t *testing.T, format string, args ...any) string {
	t.Helper()
	return file(t, filepath.Join(t.TempDir(), "serve.yaml"), fmt.Appendf(nil, format, args...))
}

const (
	sigterm = syscall.SIGTERM
	sighup  = syscall.SIGHUP
)

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// Whatever a function does, its client has an answer that says so, and the next one has
// a machine.
func TestFaults(t *testing.T) {
	for _, workers := range []string{"never", "always"} {
		t.Run("workers "+workers, func(t *testing.T) { testFaults(t, workers) })
	}
}

func testFaults(t *testing.T, workers string) {
	s := start(t, "--workers", workers, "-f", configFile(t, `
defaults: {memory: 32m, timeout: 2m}
functions:
  f: {image: %[1]s}
  spins: {image: %[1]s, timeout: 300ms}
  never: {image: %[1]s, args: [never], ready-timeout: 300ms}
  ends: {image: %[1]s, args: [exit]}
`, hostile(t)))
	s.ready("f", "spins")
	garbage := strings.Repeat("\x00\xff\xfe\r\n<", 1000)
	for _, test := range []struct {
		name, message string
		status        int
		want          string // all of it, but for a line's end
	}{
		{"f", "hello you", 200, "hello you"},
		{"f", "panic at once", 502, "the program has ended with code 2 in place of answering"},
		{"f", "exit 0", 502, "the program has ended with code 0 in place of answering"},
		{"f", "kill", 502, "the program was killed by signal 9 in place of answering"},
		{"f", "null", 502, "the program has ended with code 2 in place of answering"},
		{"f", "eat", 502, "the program has ended with code 2 in place of answering"},
		{"f", "long 7000000", 502, "the program has ended with code 1 in place of answering"},
		{"f", "fail no good", 500, "no good"},
		{"f", "garbage", 200, garbage},
		{"f", "early", 200, "early "},
		{"f", "remember secret", 200, "[secret]"},
		{"f", "remember another", 200, "[another]"},
		{"spins", "spin", 504, "time-out: no response after 300ms"},
		{"spins", "hang", 504, "time-out: no response after 300ms"},
		{"f", "hello again", 200, "hello again"},
	} {
		if status, got := s.post(test.name, test.message); status != test.status || strings.TrimSuffix(got, "\n") != test.want {
			t.Errorf("%s: %s: got %d, %.200q", test.name, test.message, status, got)
		}
	}
	for name, want := range map[string]string{
		"never": "was not ready after 300ms: it has not asked for a message",
		"ends":  "the program has ended with code 3 before it was ready",
	} {
		s.await(name+" has been tried", func() bool { return s.status(name).Trouble != "" })
		if status, text := s.post(name, "x"); status != 503 || !strings.Contains(text, want) {
			t.Errorf("%s: got %d, %q", name, status, text)
		}
	}
	for _, words := range []string{"panic: at once", "fatal error: runtime: out of memory", `"msg":"not today"`} {
		if !strings.Contains(s.text(), words) {
			t.Errorf("the log has no %s", words)
		}
	}
	s.end(sigterm)
	s.nothingLeft()
}

// nothingLeft wants no temporary files.
func (s *serve) nothingLeft() {
	s.t.Helper()
	list, err := os.ReadDir(s.temp)
	if err != nil || len(list) > 0 {
		s.t.Errorf("left: %v, %v", list, err)
	}
}

// A gigabyte of output is bounded where it goes, and what is missing is said.
func TestMuchOutput(t *testing.T) {
	for _, workers := range []string{"never", "always"} {
		t.Run("workers "+workers, func(t *testing.T) { testMuchOutput(t, workers) })
	}
}

func testMuchOutput(t *testing.T, workers string) {
	s := start(t, "--workers", workers, "--timeout", "5m", "f="+hostile(t))
	s.ready("f")
	mib := 1024
	if testing.Short() || raceDetector {
		mib = 64
	}
	if status, text := s.post("f", fmt.Sprint("write ", mib)); status != 200 {
		t.Errorf("got %d, %s", status, text)
	}
	s.await("the log says what is dropped", func() bool { return strings.Contains(s.text(), "output dropped") })
	if n := len(s.text()); n > 64<<20 {
		t.Errorf("the log has %d bytes", n)
	}
	if status, text := s.post("f", "hello"); status != 200 {
		t.Errorf("got %d, %s", status, text)
	}
	s.end(sigterm)
}

// A log that nobody reads keeps nobody.
func TestStuckLog(t *testing.T) {
	image := hostile(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := command(t, "--listen", "127.0.0.1:0", "--log", "json", "f="+image)
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer cmd.Process.Kill()
	s := &serve{t: t, cmd: cmd, done: make(chan struct{})}
	s.url = firstAddress(t, r)
	s.ready("f")
	for range 20 { // each is more than a pipe holds
		if status, text := s.post("f", "write 1"); status != 200 {
			t.Fatalf("got %d, %s", status, text)
		}
	}
	cmd.Process.Signal(sigterm)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// firstAddress reads the first line of a log, and no more.
func firstAddress(t *testing.T, r *os.File) string {
	t.Helper()
	var line strings.Builder
	b := make([]byte, 1)
	for b[0] != '\n' {
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
		line.Write(b)
	}
	_, rest, _ := strings.Cut(line.String(), `"address":"`)
	address, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("got %s", &line)
	}
	return "http://" + address
}

// A client that leaves takes its invocation with it.
func TestClientLeaves(t *testing.T) {
	s := start(t, "--timeout", "10m", "f="+hostile(t))
	s.ready("f")
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			r, err := http.NewRequestWithContext(ctx, "POST", s.url+"/f", strings.NewReader("spin"))
			if err != nil {
				t.Error(err)
				return
			}
			if a, err := http.DefaultClient.Do(r); err == nil {
				a.Body.Close()
				t.Errorf("got %d", a.StatusCode)
			}
		})
	}
	s.await("they run", func() bool { return s.status("f").Running == 3 })
	cancel()
	clients.Wait()
	s.await("they do not run any more", func() bool {
		f := s.status("f")
		return f.Running == 0 && f.Outcomes[pool.Cancelled] == 3
	})
	if status, text := s.post("f", "hello"); status != 200 {
		t.Errorf("got %d, %s", status, text)
	}
	s.end(sigterm)
}

// Killed, it leaves nothing behind, and starts again.
func TestKilled(t *testing.T) {
	image := hostile(t)
	for range 3 {
		s := start(t, "--min", "2", "f="+image)
		s.ready("f")
		if status, text := s.post("f", "remember x"); status != 200 || text != "[x]" {
			t.Errorf("got %d, %s", status, text)
		}
		go s.post("f", "spin")
		s.await("it runs", func() bool { return s.status("f").Running == 1 })
		s.kill()
		s.nothingLeft()
		if left, _ := filepath.Glob("/dev/shm/*pvrun*"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// One function has more than it can do; another answers.
func TestNoisyNeighbour(t *testing.T) {
	s := start(t, "--timeout", "10m", "--running", "2", "--queue", "5", "noisy="+hostile(t), "quiet="+hostile(t))
	s.ready("noisy", "quiet")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, "POST", s.url+"/noisy", strings.NewReader("spin"))
			if a, err := http.DefaultClient.Do(r); err == nil {
				a.Body.Close()
				if a.StatusCode != 429 {
					t.Errorf("got %d", a.StatusCode)
				}
			}
		})
	}
	s.await("all that may have come", func() bool {
		f := s.status("noisy")
		return f.Outcomes[pool.Busy] == 20-3-5 && f.Running+f.Queued == 3+5
	})
	for range 10 {
		if status, text := s.post("quiet", "hello"); status != 200 {
			t.Errorf("got %d, %s", status, text)
		}
	}
	cancel()
	clients.Wait()
	s.end(sigterm)
}

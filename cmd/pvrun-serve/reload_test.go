package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// content is what is in a file.
func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// clients send messages all the time, and want an answer to each, until the function that
// is returned is called.
func (s *serve) clients(name string) (stop func()) {
	var over atomic.Bool
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for !over.Load() {
				if status, text := s.post(name, `{"Name": "version"}`); status != 200 {
					s.t.Errorf("while it is reloaded: got %d, %s", status, text)
					return
				}
			}
		})
	}
	return func() { over.Store(true); all.Wait() }
}

// A new image has the next invocations, and none fails meanwhile.
func TestImageChanges(t *testing.T) {
	old := content(t, hostile(t))
	dir, err := filepath.Abs("../../images/fn-hello")
	if err != nil {
		t.Fatal(err)
	}
	hello := content(t, vmtest.Image(t, dir))
	image := file(t, filepath.Join(t.TempDir(), "f.img"), old)
	s := start(t, "--timeout", "5m", "f="+image)
	s.ready("f")
	under := make(chan string)
	go func() {
		_, text := s.post("f", "sleep 2500")
		under <- text
	}()
	s.await("it runs", func() bool { return s.status("f").Running == 1 })
	stop := s.clients("f")
	file(t, image, hello)
	s.await("the new one answers", func() bool {
		_, text := s.post("f", `{"name": "you"}`)
		return text == "hello you\n"
	})
	if text := <-under; text != "sleep 2500" {
		t.Errorf("what was under way: got %q", text)
	}
	file(t, image, []byte("no image"))
	s.await("the bad one is told of", func() bool { return strings.Contains(s.status("f").Trouble, "not an ELF file") })
	if status, text := s.post("f", `{"name": "you"}`); status != 200 || text != "hello you\n" {
		t.Errorf("after a bad one: got %d, %q", status, text)
	}
	stop()
	file(t, image, old)
	s.await("the first answers again", func() bool {
		_, text := s.post("f", "remember x")
		return text == "[x]"
	})
	if trouble := s.status("f").Trouble; trouble != "" {
		t.Errorf("got %q", trouble)
	}
	s.end(sigterm)
	s.nothingLeft()
}

// A package whose source changes is built anew; one that does not compile changes nothing.
func TestSourceChanges(t *testing.T) {
	dir := t.TempDir()
	module, err := filepath.Abs("../../function")
	if err != nil {
		t.Fatal(err)
	}
	file(t, filepath.Join(dir, "go.mod"), []byte("module f\n\ngo 1.26.0\n\nrequire github.com/pvrun/pvrun/function v0.0.0\n\nreplace github.com/pvrun/pvrun/function => "+module+"\n"))
	write := func(answer string) {
		file(t, filepath.Join(dir, "main.go"), []byte(`package main

import (
	"context"

	"github.com/pvrun/pvrun/function"
)

func main() {
	function.Handle(func(context.Context, []byte) ([]byte, error) { return []byte(`+answer+`), nil })
}
`))
	}
	write(`"one"`)
	s := start(t, "--timeout", "5m", "f="+dir)
	s.ready("f")
	answers := func(want string) func() bool {
		return func() bool { _, text := s.post("f", "x"); return text == want }
	}
	s.await("the first answers", answers("one"))
	write(`"two" +`)
	s.await("the bad one is told of", func() bool { return s.status("f").Trouble != "" })
	if !answers("one")() {
		t.Error("after a bad one the first does not answer")
	}
	write(`"two"`)
	s.await("the new one answers", answers("two"))
}

// SIGHUP reads the file anew: functions come, go and change.
func TestReload(t *testing.T) {
	image := hostile(t)
	path := configFile(t, `functions: {stays: {image: %[1]s, env: {VERSION: one}}, goes: {image: %[1]s}}`, image)
	s := start(t, "-f", path)
	s.ready("stays", "goes")
	stop := s.clients("stays")
	write := func(text string) {
		file(t, path, []byte(strings.ReplaceAll(text, "IMAGE", image)))
		s.cmd.Process.Signal(syscall.SIGHUP)
	}
	write(`functions: {stays: {image: IMAGE, env: {VERSION: two}, isolation: instance, max: 3}, comes: {image: IMAGE, path: /v1/comes}}`)
	s.await("the new one answers", func() bool {
		_, text := s.post("stays", "version")
		return text == "two"
	})
	s.await("one comes", func() bool {
		status, _ := s.post("v1/comes", "hello")
		return status == 200
	})
	if status, _ := s.post("goes", "hello"); status != 404 {
		t.Errorf("one that has gone: got %d", status)
	}
	if f := s.status("stays"); f.Max != 3 || f.Isolation != "instance" {
		t.Errorf("got %+v", f)
	}
	write(`functions: {stays: {imag: IMAGE}}`)
	s.await("the bad file is told of", func() bool { return strings.Contains(s.text(), "field imag not found") })
	write(`functions: {stays: {image: IMAGE, args: [never], ready-timeout: 300ms}}`)
	s.await("the bad program is told of", func() bool { return strings.Contains(s.status("stays").Trouble, "was not ready") })
	if status, text := s.post("stays", "version"); status != 200 || text != "two" {
		t.Errorf("got %d, %q", status, text)
	}
	stop()
	s.end(sigterm)
}

// What is under way is answered, and then it ends.
func TestDrain(t *testing.T) {
	s := start(t, "--timeout", "5m", "f="+hostile(t))
	s.ready("f")
	answers := make(chan int)
	for range 2 {
		go func() {
			status, _ := s.post("f", "sleep 1500")
			answers <- status
		}()
	}
	s.await("they run", func() bool { return s.status("f").Running == 2 })
	s.cmd.Process.Signal(sigterm)
	for range 2 {
		if status := <-answers; status != 200 {
			t.Errorf("got %d", status)
		}
	}
	<-s.done
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if status, _ := s.post("f", "hello"); status != 0 {
		t.Errorf("afterwards: got %d", status)
	}
}

// What does not end is ended, after a time or at the second signal.
func TestDrainEnds(t *testing.T) {
	image := hostile(t)
	for _, test := range []struct{ drain, signals string }{{"200ms", "x"}, {"10m", "xx"}} {
		s := start(t, "--timeout", "10m", "--drain", test.drain, "f="+image)
		s.ready("f")
		answer := make(chan int)
		go func() {
			status, _ := s.post("f", "spin")
			answer <- status
		}()
		s.await("it runs", func() bool { return s.status("f").Running == 1 })
		for range test.signals {
			s.cmd.Process.Signal(sigterm)
			s.await("the log says so", func() bool { return strings.Contains(s.text(), "draining") })
		}
		if status := <-answer; status != 503 {
			t.Errorf("%v: got %d", test, status)
		}
		s.end(sigterm)
	}
}

// TestExits checks bad input: one line, and a code.
func TestExits(t *testing.T) {
	need.KVM(t)
	text := file(t, filepath.Join(t.TempDir(), "text"), []byte("no image"))
	taken := start(t, "f="+hostile(t))
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"", 125, "there is no function to serve: NAME=IMAGE, or a file (--config) (see 'pvrun serve --help')"},
		{"f", 125, `"f": must be NAME=IMAGE, NAME=SNAP or NAME=PKG (see 'pvrun serve --help')`},
		{"--nonsense", 125, "unknown flag: --nonsense (see 'pvrun serve --help')"},
		{"--timeout soon f=x", 125, "(see 'pvrun serve --help')"},
		{"--log xml f=x", 125, "--log xml: must be text or json (see 'pvrun serve --help')"},
		{"--log-level loud f=x", 125, "--log-level loud: must be debug, info, warn or error (see 'pvrun serve --help')"},
		{"-e =x f=x", 125, `-e "=x": must be NAME=VALUE (see 'pvrun serve --help')`},
		{"-m 3 f=x", 125, "must be a number with a unit such as 64m or 1g (see 'pvrun serve --help')"},
		{"-f no/such/file", 125, "open no/such/file: no such file or directory (see 'pvrun serve --help')"},
		{"f=no/such.img", 127, "function f: no/such.img: no such file or directory"},
		{"f=no/such.snap", 127, "function f: no/such.snap: no such file or directory"},
		{"f=./no/such", 127, "no/such"},
		{"f=" + text, 125, "function f: " + text + ": not an ELF file"},
		{"--listen " + strings.TrimPrefix(taken.url, "http://") + " f=x.img", 125, "address already in use"},
	} {
		args := strings.Fields(test.args)
		if !strings.Contains(test.args, "--listen") {
			args = append([]string{"--listen", "127.0.0.1:0"}, args...)
		}
		cmd := command(t, append([]string{"--log-level", "error"}, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		cmd.Run()
		var own []string // lines that are not the log's
		for line := range strings.Lines(stderr.String()) {
			if !strings.HasPrefix(line, "time=") {
				own = append(own, line)
			}
		}
		if code := cmd.ProcessState.ExitCode(); code != test.code || len(own) != 1 || !strings.HasPrefix(own[0], "pvrun: ") || !strings.Contains(own[0], test.want) {
			t.Errorf("%s: exit code %d, %q", test.args, code, stderr.String())
		}
	}
}

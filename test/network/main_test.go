// Package network tests machines' networks with real peers: what is on the host's
// side is the host's own TCP/IP, in network namespaces that the tests make.
package network

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

var (
	scratch string // a folder for what is built, removed at the end
	pvrun   string // the command, with pvrun-net beside it

	long = flag.Bool("long", false, "more of everything, for make network")
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "pvrun-network-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	os.Setenv("XDG_RUNTIME_DIR", filepath.Join(scratch, "run"))
	os.Mkdir(filepath.Join(scratch, "run"), 0o700)
	if pvrun = need.Built("../../cmd/pvrun", ""); pvrun != "" {
		return need.Main(m)
	}
	pvrun = filepath.Join(scratch, "pvrun")
	for _, b := range []struct{ dir, out, pkg string }{
		{"../..", pvrun, "./cmd/pvrun"},
		{"../../cmd/pvrun-net", pvrun + "-net", "."},
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", b.out, b.pkg)
		cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: go build %s: %v\n%s", b.pkg, err, text)
			return 1
		}
	}
	return need.Main(m)
}

// image is a program of images/, or of a folder here, built once.
func image(t *testing.T, name string) string {
	t.Helper()
	from := name
	if !strings.HasPrefix(name, "./") {
		from = "../../images/" + name
	}
	if out := need.Built(from, ".img"); out != "" {
		return out
	}
	build, _ := images.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		out := filepath.Join(scratch, filepath.Base(name)+".img")
		text, err := exec.Command(pvrun, "build", "-o", out, from).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("build %s: %w\n%s", name, err, text)
		}
		return out, err
	}))
	out, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var images sync.Map

// machine is a pvrun that runs.
type machine struct {
	cmd    *exec.Cmd
	stderr lines
	stdout bytes.Buffer
	ended  chan struct{}
}

// start runs an image in a namespace, "" for the host's own, and ends it with the test.
func start(t *testing.T, ns string, flags []string, name string, args ...string) *machine {
	t.Helper()
	return startImage(t, ns, flags, image(t, name), args...)
}

func startImage(t *testing.T, ns string, flags []string, img string, args ...string) *machine {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	line := append([]string{pvrun, "run", "--timeout", "5m"}, flags...)
	line = append(append(line, img), args...)
	m := &machine{cmd: within(ns, line...), ended: make(chan struct{})}
	m.cmd.Stdout, m.cmd.Stderr = &m.stdout, &m.stderr
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		m.cmd.Wait()
		close(m.ended)
	}()
	t.Cleanup(func() {
		m.stop()
		if t.Failed() {
			t.Logf("%q: %v\n%s", m.cmd.Args, m.cmd.ProcessState, m.stderr.text())
		}
	})
	return m
}

// stop ends a machine as a user does.
func (m *machine) stop() {
	m.cmd.Process.Signal(os.Interrupt)
	select {
	case <-m.ended:
	case <-time.After(20 * time.Second):
		m.cmd.Process.Kill()
		<-m.ended
	}
}

// says waits for a line on stderr with text in it, and returns that line.
func (m *machine) says(t *testing.T, text string) string {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if line, ok := m.stderr.with(text); ok {
			return line
		}
		select {
		case <-m.ended:
			t.Fatalf("ended without %q:\n%s", text, m.stderr.text())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not say %q:\n%s", text, m.stderr.text())
		}
	}
}

// wait waits for a machine's end and returns what it wrote.
func (m *machine) wait(t *testing.T, code int) string {
	t.Helper()
	select {
	case <-m.ended:
	case <-time.After(4 * time.Minute):
		t.Fatalf("%q does not end:\n%s", m.cmd.Args, m.stderr.text())
	}
	if got := m.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("%q: exit code %d, want %d\n%s", m.cmd.Args, got, code, m.stderr.text())
	}
	return m.stdout.String()
}

// kill ends a machine that takes no signals.
func (m *machine) kill() {
	m.cmd.Process.Kill()
	<-m.ended
}

// lines is a writer whose lines can be looked at.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) with(text string) (string, bool) {
	s := bufio.NewScanner(strings.NewReader(l.text()))
	for s.Scan() {
		if strings.Contains(s.Text(), text) {
			return s.Text(), true
		}
	}
	return "", false
}

// number makes names of a test's own.
var number atomic.Int32

func newName() string { return fmt.Sprintf("pv%x-%d", os.Getpid()&0xffff, number.Add(1)) }

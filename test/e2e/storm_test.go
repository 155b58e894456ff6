package e2e

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

// TestStorm: events come at every moment of a fault's way into the guest.
func TestStorm(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	need.Count(1)
	s := start(t, command("run", "--timeout", "30s", built(t, cases.image), "storm"))
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for range 20_000 {
			if s.cmd.Process.Signal(syscall.SIGWINCH) != nil {
				return
			}
			time.Sleep(20 * time.Microsecond)
		}
	}()
	out, code := s.end()
	<-stop
	if out != "recovered from all: true\n" || code != 0 {
		t.Errorf("code %d, output %q, stderr %q", code, out, &s.stderr)
	}
}

// TestRetouch: a page that is given back and touched again is progress, however
// often.
func TestRetouch(t *testing.T) {
	t.Parallel()
	wants(t, run(t, cases, []string{"--timeout", "30s"}, "retouch"), 0, "sum 0\n", "")
}

// TestFullStdoutDrainedStderr: one stream that is full does not hold the other.
func TestFullStdoutDrainedStderr(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	need.Count(1)
	cmd := command("run", "--timeout", "20s", built(t, cases.image), "twopipes")
	if _, err := cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(stderr)
	if err != nil || len(text) != 100*7<<10 {
		t.Errorf("%d bytes of stderr, %v: %.100q", len(text), err, text)
	}
	if cmd.Wait(); shellCode(cmd.ProcessState) != 0 {
		t.Errorf("code %d", shellCode(cmd.ProcessState))
	}
}

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
	eachMode(t, func(t *testing.T, mode string) {
		need.KVM(t)
		need.Count(1)
		s := start(t, command("run", "--mode", mode, "--timeout", "30s", built(t, cases.image), "storm"))
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
	})
}

// TestRetouch: a page that is given back and touched again is progress, however
// often.
func TestRetouch(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		wants(t, run(t, cases, in(mode, "--timeout", "30s"), "retouch"), 0, "sum 0\n", "")
	})
}

// TestFullStdoutDrainedStderr: one stream that is full does not hold the other. A
// bare machine's end waits for the reader of what its lines have taken.
func TestFullStdoutDrainedStderr(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		need.KVM(t)
		need.Count(1)
		cmd := command("run", "--mode", mode, "--timeout", "20s", built(t, cases.image), "twopipes")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 100*7<<10)
		if n, err := io.ReadFull(stderr, text); err != nil {
			t.Errorf("%d bytes of stderr, %v: %.100q", n, err, text)
		}
		if mode == "trap" {
			go io.Copy(io.Discard, stdout)
		}
		if more, err := io.ReadAll(stderr); err != nil || len(more) > 0 {
			t.Errorf("%v, more stderr: %.100q", err, more)
		}
		if cmd.Wait(); shellCode(cmd.ProcessState) != 0 {
			t.Errorf("code %d", shellCode(cmd.ProcessState))
		}
	})
}

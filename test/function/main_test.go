package function

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

var (
	scratch string // a folder for what is built, removed at the end
	pvrun   string // the command
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "pvrun-function-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	if pvrun = need.Built("../../cmd/pvrun", ""); pvrun != "" {
		return need.Main(m)
	}
	pvrun = filepath.Join(scratch, "pvrun")
	cmd := exec.Command("go", "build", "-o", pvrun, "./cmd/pvrun")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: go build: %v\n%s", err, text)
		return 1
	}
	return need.Main(m)
}

// program builds an image of programs/ once.
func program(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		if out := need.Built(filepath.Join("programs", name), ".img"); out != "" {
			return out, nil
		}
		out := filepath.Join(scratch, name+".img")
		if text, err := exec.Command(pvrun, "build", "-o", out, filepath.Join("programs", name)).CombinedOutput(); err != nil {
			return "", fmt.Errorf("pvrun build %s: %w\n%s", name, err, text)
		}
		return out, nil
	})
}

var casesImage, listensImage = program("cases"), program("listens")

func built(t *testing.T, f func() (string, error)) string {
	t.Helper()
	need.KVM(t)
	file, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// tooLong is when a command is taken for one that hangs. No test waits for it.
const tooLong = 2 * time.Minute

// command is pvrun with arguments, which runs a machine or more. Its stdin is empty.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	cmd := exec.CommandContext(t.Context(), pvrun, args...)
	cmd.Env = append(os.Environ(), "TERM=")
	return cmd
}

// outcome is what a process did.
type outcome struct {
	stdout, stderr string
	code           int // -1: killed
}

func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(tooLong, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func do(t *testing.T, args ...string) outcome {
	t.Helper()
	return finish(t, command(t, args...))
}

// wants checks an outcome; of stderr the last line, with what is in front of it cut off
// where it is not asked for.
func wants(t *testing.T, got outcome, code int, stdout, stderr string) {
	t.Helper()
	said := got.stderr
	if !strings.Contains(strings.TrimSuffix(stderr, "\n"), "\n") && stderr != "" {
		said = said[strings.LastIndex(strings.TrimSuffix(said, "\n"), "\n")+1:]
	}
	if got.code != code || got.stdout != stdout || said != stderr {
		t.Errorf("got exit code %d, %q, %q; want %d, %q, %q", got.code, got.stdout, got.stderr, code, stdout, stderr)
	}
}

// snapshotOf makes a snapshot with the flags, and returns its file.
func snapshotOf(t *testing.T, image string, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "x.snap")
	got := do(t, append([]string{"snapshot", image, "-o", out}, args...)...)
	if got.code != 0 || !strings.HasPrefix(got.stdout, out+": ") || strings.Count(got.stdout, "\n") != 1 {
		t.Fatalf("snapshot %v: %+v", args, got)
	}
	return out
}

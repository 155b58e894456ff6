package durability

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
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
	kills     = flag.Int("kills", 6, "end each kind of writer `n` times")
	databases = flag.String("databases", "kv", "databases to end: kv, sql, lsm")
	seed      = flag.Uint64("seed", uint64(time.Now().UnixNano()), "what the moments follow from")
)

var (
	scratch string // a folder for what is built, removed at the end
	pvrun   string // the command
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "pvrun-durability-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	pvrun = filepath.Join(scratch, "pvrun")
	if err := goBuild("../..", pvrun, "./cmd/pvrun"); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	return need.Main(m)
}

// goBuild builds a package natively, without cgo as in a machine.
func goBuild(dir, out, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// program is a program in its two forms, each built once.
type program struct{ native, image func() (string, error) }

func define(dir, pkg string) program {
	name := filepath.Base(pkg)
	return program{
		sync.OnceValues(func() (string, error) {
			out := filepath.Join(scratch, name)
			return out, goBuild(dir, out, pkg)
		}),
		sync.OnceValues(func() (string, error) {
			out := filepath.Join(scratch, name+".img")
			cmd := exec.Command(pvrun, "build", "-o", out, pkg)
			cmd.Dir = dir
			if text, err := cmd.CombinedOutput(); err != nil {
				return "", fmt.Errorf("pvrun build %s: %w\n%s", pkg, err, text)
			}
			return out, nil
		}),
	}
}

var programs = map[string]program{
	"kv":      define("../../images", "./kv"),
	"sql":     define("../../images", "./sql"),
	"lsm":     define("../../images", "./lsm"),
	"stamper": define("../..", "./test/durability/stamper"),
}

func built(t *testing.T, f func() (string, error)) string {
	t.Helper()
	file, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// machine runs a program in a machine with pvrun's flags.
func machine(t *testing.T, name string, flags []string, args ...string) *exec.Cmd {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	line := append([]string{"run", "--timeout", "2m"}, flags...)
	cmd := exec.Command(pvrun, append(append(line, built(t, programs[name].image)), args...)...)
	cmd.Env = append(os.Environ(), "TERM=")
	return cmd
}

// moment is when a machine is ended: a time after a number of acknowledgements.
type moment struct {
	acks  int
	after time.Duration
}

// moments are of every kind: while a machine starts, right after an
// acknowledgement, and anywhere.
func moments(rng *rand.Rand) moment {
	switch rng.IntN(8) {
	case 0:
		return moment{0, time.Duration(rng.IntN(100)) * time.Millisecond}
	case 1, 2, 3:
		return moment{1 + rng.IntN(150), 0}
	}
	return moment{1 + rng.IntN(150), time.Duration(rng.IntN(5000)) * time.Microsecond}
}

// end runs a command until the moment, ends it with SIGKILL, and calls acked for
// every line that it had printed. A command that has an end may come to it first.
func end(t *testing.T, cmd *exec.Cmd, when moment, endless bool, acked func(line string)) {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop := func() { ended = true; time.Sleep(when.after); cmd.Process.Kill() }
	if when.acks == 0 {
		stop()
	}
	lines := bufio.NewReader(out)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a line without its end is none
		}
		if err != nil {
			t.Error(err)
			break
		}
		acked(strings.TrimSuffix(line, "\n"))
		if n == when.acks {
			stop()
		}
	}
	err = cmd.Wait()
	if killed := ended && cmd.ProcessState.ExitCode() == -1; !killed && (endless || err != nil) {
		t.Fatalf("ended by itself: %v\n%s", err, stderr.String())
	}
}

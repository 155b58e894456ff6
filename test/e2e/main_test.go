package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/internal/need"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

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
	if scratch, err = os.MkdirTemp("", "pvrun-e2e-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // programs inherit what is ignored, and die of what is not
	}
	os.Chmod(scratch, 0o755)                                   // for the tests of other users
	os.Setenv("XDG_DATA_HOME", filepath.Join(scratch, "data")) // volumes with a name
	if pvrun = need.Built("../../cmd/pvrun", ""); pvrun != "" {
		return need.Main(m)
	}
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

// program is a program of images/ or programs/ in its two forms.
type program struct {
	dir    string // of its module
	name   string // its folder there
	rootfs string // a folder, or ""
	flags  []string

	native, image func() (string, error)
}

// define names a program; what is needed of it is built once.
func define(dir, name, rootfs string, flags ...string) *program {
	p := &program{dir: dir, name: name, rootfs: rootfs, flags: flags}
	p.native = sync.OnceValues(func() (string, error) {
		if out := need.Built(filepath.Join(p.dir, p.name), ""); out != "" {
			return out, nil
		}
		out := filepath.Join(scratch, name+".native", name) // the name is its argv[0]
		return out, goBuild(p.dir, out, "./"+name)
	})
	p.image = sync.OnceValues(func() (string, error) {
		if out := need.Built(filepath.Join(p.dir, p.name), strings.Join(flags, "")+".img"); out != "" {
			return out, nil
		}
		out := filepath.Join(scratch, fmt.Sprintf("%s%d", name, len(flags)), name+".img")
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return "", err
		}
		args := append([]string{"build", "-o", out}, flags...)
		if rootfs != "" {
			args = append(args, "--rootfs", rootfs)
		}
		if text, err := exec.Command(pvrun, append(args, filepath.Join(dir, name))...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("pvrun %q: %w\n%s", args, err, text)
		}
		return out, nil
	})
	return p
}

const imagesDir, programsDir = "../../images", "programs"

var (
	hello     = define(imagesDir, "hello", "")
	markdown  = define(imagesDir, "markdown", imagesDir+"/markdown/rootfs")
	wordcount = define(imagesDir, "wordcount", "")
	primes    = define(imagesDir, "primes", "")
	script    = define(imagesDir, "script", imagesDir+"/script/rootfs")

	cases    = define(programsDir, "cases", "")
	syscalls = define(programsDir, "syscalls", "")
	sockets  = define(programsDir, "sockets", "")
	zeros    = define(programsDir, "zeros", "")
)

// built returns the file that one of a program's functions makes.
func built(t *testing.T, f func() (string, error)) string {
	t.Helper()
	file, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// outcome is what a process did.
type outcome struct {
	stdout, stderr string
	code           int // as a shell has it: 128+n for signal n
}

// command is pvrun with arguments and no terminal. Its stdin is empty.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(pvrun, args...)
	cmd.Env = append(os.Environ(), "TERM=")
	return cmd
}

// finish runs a command to its end.
func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), shellCode(cmd.ProcessState)}
}

// modes are what a machine can be to its guest.
var modes = []string{"pv", "trap"}

// eachMode runs a test in each mode of machine.
func eachMode(t *testing.T, f func(t *testing.T, mode string)) {
	t.Helper()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f(t, mode)
		})
	}
}

// in is the flags for a mode, and more.
func in(mode string, flags ...string) []string { return append([]string{"--mode", mode}, flags...) }

// run runs pvrun on an image: its flags, the program, the program's arguments.
// A machine that hangs is ended and fails the test by its exit code.
func run(t *testing.T, p *program, flags []string, args ...string) outcome {
	t.Helper()
	return finish(t, runCommand(t, p, flags, args...))
}

func runCommand(t *testing.T, p *program, flags []string, args ...string) *exec.Cmd {
	t.Helper()
	need.Count(1)
	line := append([]string{"run", "--timeout", "2m", "--engine", need.Engine(t)}, flags...)
	line = append(line, built(t, p.image))
	return command(append(line, args...)...)
}

// nativeCommand is the program itself, in an environment like a machine's.
func nativeCommand(t *testing.T, p *program, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(built(t, p.native), args...)
	cmd.Env = []string{"PATH=/bin", "HOME=/", "TMPDIR=" + t.TempDir()}
	cmd.Dir = "/"
	return cmd
}

// same reports where two texts begin to differ.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Errorf("%s: line %d: got %q, want %q", what, i+1, at(g, i), at(w, i))
			return
		}
	}
}

func at(lines []string, i int) string {
	if i >= len(lines) {
		return "(end)"
	}
	return lines[i]
}

// golden compares a text with testdata/name.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (make golden writes it)", err)
	}
	same(t, file, got, string(want))
}

// wants checks an outcome; an empty stderr shall be empty, another is a part.
func wants(t *testing.T, got outcome, code int, stdout, stderr string) {
	t.Helper()
	if got.code != code {
		t.Errorf("exit code: got %d, want %d", got.code, code)
	}
	same(t, "stdout", got.stdout, stdout)
	if stderr == "" && got.stderr != "" || !strings.Contains(got.stderr, stderr) {
		t.Errorf("stderr: got %q, want %q", got.stderr, stderr)
	}
}

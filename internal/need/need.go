// Package need lets tests say that they need KVM, so that a machine without
// it never makes them look as if they had passed. It depends on nothing of
// pvrun; all tests can use it.
//
//	func TestMain(m *testing.M) { os.Exit(need.Main(m)) }
//
//	func TestX(t *testing.T) {
//		need.KVM(t)
//
// Without /dev/kvm these tests skip and Main says so where it cannot be
// overlooked; with PVRUN_KVM=must they fail.
package need

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Environment variables that tests obey.
const (
	// EnvKVM set to "must" makes a missing KVM a failure.
	EnvKVM = "PVRUN_KVM"
	// EnvReport names a file to which each test package appends a line that
	// says whether it had KVM; make test sums them up.
	EnvReport = "PVRUN_KVM_REPORT"
	// EnvEngine set to "proc" has tests whose machines need no KVM run them as
	// processes, and skips the others.
	EnvEngine = "PVRUN_ENGINE"
	// EnvBuilt set to anything has tests take programs that were built before: a
	// machine without Go has them beside their sources.
	EnvBuilt = "PVRUN_BUILT"
	// EnvSlow set to anything gives guests more time: the processor is emulated.
	EnvSlow = "PVRUN_SLOW"
)

// Patience is how long to wait for what takes no longer than d on a processor.
func Patience(d time.Duration) time.Duration {
	if os.Getenv(EnvSlow) != "" {
		return 6 * d
	}
	return d
}

// Built is the file that was made before of the program in a folder: the program itself
// with suffix "", its image with ".img". It is "" where tests have to build.
func Built(dir, suffix string) string {
	if os.Getenv(EnvBuilt) == "" {
		return ""
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Join(dir, "built", filepath.Base(dir)+suffix)
}

// machines counts what ran in this process, skipped the tests without KVM, instead
// those whose machines were processes.
var machines, skipped, instead atomic.Int64

// Count says that a test has run n machines.
func Count(n int) { machines.Add(int64(n)) }

// Main runs the tests of a package and returns the exit code. It reports on
// KVM after them.
func Main(m *testing.M) int {
	err := usable()
	if err != nil && os.Getenv(EnvKVM) == "must" {
		fmt.Fprintf(os.Stderr, "FAIL: KVM NOT TESTED: %v, and %s=must\n", err, EnvKVM)
		return 1
	}
	code := m.Run()
	report(err)
	return code
}

// KVM skips the test when there is none.
func KVM(t testing.TB) {
	t.Helper()
	err := usable()
	switch {
	case os.Getenv(EnvEngine) == "proc":
		t.Skip("for KVM, and this is the process engine's turn")
	case err == nil:
	case os.Getenv(EnvKVM) == "must":
		t.Fatalf("KVM NOT TESTED: %v, and %s=must", err, EnvKVM)
	default:
		skipped.Add(1)
		t.Skipf("KVM NOT TESTED: %v", err)
	}
}

// Engine names the engine of a test's machines, for hv.Config: the one of EnvEngine, or
// else KVM. Without KVM it is a process, and that KVM was not tested shows as ever.
func Engine(t testing.TB) string {
	t.Helper()
	err := usable()
	switch {
	case os.Getenv(EnvEngine) == "proc":
		return "proc"
	case err == nil:
		return "kvm"
	case os.Getenv(EnvKVM) == "must":
		t.Fatalf("KVM NOT TESTED: %v, and %s=must", err, EnvKVM)
	}
	instead.Add(1)
	return "proc"
}

// Machine tells a program that runs machines whether it can. Without KVM it
// says so aloud, and that is an error when KVM must be there.
func Machine(program string) (ok bool, err error) {
	switch err = usable(); {
	case err == nil:
		return true, nil
	case os.Getenv(EnvKVM) == "must":
		return false, fmt.Errorf("KVM NOT TESTED: %w, and %s=must", err, EnvKVM)
	}
	shoutTo(os.Stderr, fmt.Sprintf("KVM NOT TESTED: %s: %v", program, err))
	return false, nil
}

// usable says why KVM cannot be used; nil when it can.
var usable = func() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// report tells people and make test how it was.
func report(err error) {
	name := filepath.Base(strings.TrimSuffix(os.Args[0], ".test"))
	line := fmt.Sprintf("KVM tested: %s: %d machines", name, machines.Load())
	if os.Getenv(EnvEngine) == "proc" {
		line = fmt.Sprintf("process engine tested: %s: %d machines", name, machines.Load())
		err = nil
	}
	if err != nil {
		line = fmt.Sprintf("KVM NOT TESTED: %s: %d tests skipped, %d with processes instead: %v", name, skipped.Load(), instead.Load(), err)
		shout(line)
	}
	file := os.Getenv(EnvReport)
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// shout writes to the stderr of the go command that runs this test: what a
// test that passes writes to its own is thrown away.
func shout(line string) {
	out := io.Writer(os.Stderr)
	parent := fmt.Sprintf("/proc/%d", os.Getppid())
	comm, _ := os.ReadFile(parent + "/comm")
	if strings.TrimSpace(string(comm)) == "go" {
		f, err := os.OpenFile(parent+"/fd/2", os.O_WRONLY|os.O_APPEND|syscall.O_NOCTTY, 0)
		if err == nil {
			defer f.Close()
			out = f
		}
	}
	shoutTo(out, line)
}

func shoutTo(out io.Writer, line string) {
	fmt.Fprintf(out, "\n%s\n%s\n%[1]s\n\n", strings.Repeat("!", len(line)), line)
}

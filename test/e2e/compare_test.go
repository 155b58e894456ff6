package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/internal/compare"
	"github.com/pvrun/pvrun/internal/need"
)

// Reading the time takes no exits, a fault of the program's one, and the kernel
// counts no fewer.
func TestCompare(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	need.Count(4)
	got := finish(t, command("compare", "--modes", "pv", "--runs", "1", "--workloads", "clock,exceptions", "-o", "json"))
	if got.code != 0 {
		t.Fatalf("exit code %d, %s", got.code, got.stderr)
	}
	var r compare.Report
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Engine != "kvm" || r.Backend == "" || len(r.Workloads) != 2 || len(r.Summary) == 0 {
		t.Fatalf("got %s", got.stdout)
	}
	clock, exceptions := r.Workloads[0].Modes[0], r.Workloads[1].Modes[0]
	if v := clock.PerOp.Exits.Value; v >= compare.None {
		t.Errorf("clock: %v exits", v)
	}
	v := exceptions.PerOp
	if v.Exits.Value < 1 || v.Exits.Value > 1.1 || v.KernelExits == nil || v.KernelExits.Value < v.Exits.Value || v.NS.Value <= 0 {
		t.Errorf("exceptions: got %+v", v)
	}
	if len(exceptions.Reasons) == 0 || exceptions.Reasons[0].Name != "fault.exception" {
		t.Errorf("exceptions: got %+v", exceptions.Reasons)
	}
	for _, progress := range []string{"building the workloads ", "\n[1/2] clock . ", "\n[2/2] exceptions . "} {
		if !strings.Contains("\n"+got.stderr, progress) {
			t.Errorf("progress: no %q in %q", progress, got.stderr)
		}
	}
}

// A comparison of an image of the user's.
func TestCompareAnImage(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	need.Count(1)
	got := finish(t, command("compare", "--modes", "pv", "--runs", "1", built(t, hello.image)))
	if got.code != 0 || !strings.Contains(got.stdout, "\nhello     pv    hypercall.console_write  1 ") {
		t.Errorf("exit code %d, %s\n%s", got.code, got.stderr, got.stdout)
	}
}

// A signal to pvrun alone ends its machine too, and nothing is left.
func TestCompareInterrupted(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	need.Count(1)
	tmp := t.TempDir()
	cmd := command("compare", "--modes", "pv", "--runs", "1000", "--workloads", "timer")
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	if _, err := lines.ReadString('.'); err != nil { // of the seconds that building took
		t.Fatal(err)
	}
	if text, err := lines.ReadString('.'); err != nil || !strings.HasSuffix(text, "timer .") {
		t.Errorf("got %q, %v", text, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, lines)
	cmd.Wait()
	if code := shellCode(cmd.ProcessState); code != 128+int(syscall.SIGINT) {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), tmp) {
			t.Errorf("%s is still there: %q", name, text)
		}
	}
}

package need

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		usable = func() error { return errors.New("no KVM, says the test") }
	}
	os.Exit(Main(m))
}

// envChild tells a child of TestMissingKVMShows what it is.
const envChild = "NEED_CHILD"

// TestNeed is what a test does, in the child on a machine without KVM.
func TestNeed(t *testing.T) {
	KVM(t)
	if os.Getenv(envChild) != "" {
		t.Error("not skipped")
	}
}

func TestMissingKVMShows(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	for _, must := range []bool{false, true} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNeed$")
		cmd.Env = append(os.Environ(), envChild+"=1", EnvReport+"="+report, EnvKVM+"=")
		if must {
			cmd.Env = append(cmd.Env, EnvKVM+"=must")
		}
		out, err := cmd.CombinedOutput()
		if failed := err != nil; failed != must {
			t.Errorf("must %v: got %v", must, err)
		}
		if !strings.Contains(string(out), "KVM NOT TESTED") {
			t.Errorf("must %v: got %q", must, out)
		}
	}
	text, _ := os.ReadFile(report)
	if want := "KVM NOT TESTED: need: 1 tests skipped, 0 with processes instead: no KVM, says the test\n"; string(text) != want {
		t.Errorf("report: got %q, want %q", text, want)
	}
}

func TestMachine(t *testing.T) {
	defer func(f func() error) { usable = f }(usable)
	for _, c := range []struct {
		kvm      error
		must     string
		ok, fail bool
	}{
		{nil, "", true, false},
		{nil, "must", true, false},
		{errors.New("no KVM"), "", false, false},
		{errors.New("no KVM"), "must", false, true},
	} {
		t.Setenv(EnvKVM, c.must)
		usable = func() error { return c.kvm }
		if ok, err := Machine("test"); ok != c.ok || (err != nil) != c.fail {
			t.Errorf("KVM %v, must %q: got %v, %v", c.kvm, c.must, ok, err)
		}
	}
}

package vmtest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(need.Main(m)) }

// recorder is a testing.TB that keeps what is said against a test.
type recorder struct {
	testing.TB
	said   []string
	failed bool
}

func (r *recorder) Errorf(format string, args ...any) {
	r.said, r.failed = append(r.said, fmt.Sprintf(format, args...)), true
}
func (r *recorder) Failed() bool { return r.failed }
func (r *recorder) Helper()      {}

// expect runs a guest as a test would and checks what the harness says.
func expect(t *testing.T, g Guest, want Want, complaints ...string) {
	t.Helper()
	need.KVM(t)
	r := &recorder{TB: t}
	Expect(r, g, want)
	if len(r.said) != len(complaints) {
		t.Fatalf("got %q, want %q", r.said, complaints)
	}
	for i, s := range complaints {
		if !strings.Contains(r.said[i], s) {
			t.Errorf("got %q, want %q in it", r.said[i], s)
		}
	}
}

func TestWorks(t *testing.T) {
	g := Guest{Package: "./testdata/works", Args: []string{"a", "b c"}, Stdin: "in\x00put\n"}
	expect(t, g, Want{Stdout: "in\x00put\n[a b c]\n"})
}

func TestFailureIsReported(t *testing.T) {
	expect(t, Guest{Package: "./testdata/fails"}, Want{Stdout: "something\n"},
		"exit code: got 3, want 0",
		`stdout: got "something else\n", want "something\n"`,
		`stderr: got "and an error\n", want ""`)
}

func TestFailureIsExpected(t *testing.T) {
	expect(t, Guest{Package: "./testdata/fails"},
		Want{Stdout: "something else\n", Stderr: "an error", Code: 3})
}

func TestSpinIsReported(t *testing.T) {
	g := Guest{Package: "./testdata/spins", Timeout: 300 * time.Millisecond}
	expect(t, g, Want{}, "end: got still running, want <nil>")
	expect(t, g, Want{Err: ErrStillRunning})
}

func TestFaultIsReported(t *testing.T) {
	g := Guest{Package: "./testdata/faults"}
	expect(t, g, Want{}, "end: got guest fault: ")
	expect(t, g, Want{Fault: "no such words"}, "want a guest fault with no such words")
	expect(t, g, Want{Fault: "the guest gave up"})
}

func TestMachineThatCannotBe(t *testing.T) {
	g := Guest{Config: hv.Config{Image: "/none/such"}}
	expect(t, g, Want{}, "/none/such: no such file or directory")
}

func TestLeftovers(t *testing.T) {
	tests := []struct {
		name, want string
		leave      func() (remove func())
	}{
		{"nothing", "", func() func() { return func() {} }},
		{"goroutine", "1 goroutines", func() func() {
			c := make(chan bool)
			go func() { <-c }()
			return func() { close(c) }
		}},
		{"descriptor", "descriptor ", func() func() {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }
		}},
		{"mapping", "mapping of 3145728 bytes", func() func() {
			b, err := unix.Mmap(-1, 0, 3<<20, unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
			if err != nil {
				t.Fatal(err)
			}
			return func() { unix.Munmap(b) }
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if raceEnabled && test.name == "mapping" {
				t.Skip("the race detector has such mappings itself")
			}
			var remove func()
			got := Leftovers(func() { remove = test.leave() })
			remove()
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// An open machine is the leftover that matters.
func TestOpenMachineIsLeft(t *testing.T) {
	need.KVM(t)
	var vm *hv.VM
	var err error
	left := Leftovers(func() {
		vm, err = hv.New(hv.Config{Image: Image(t, "./testdata/works")})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"anon_inode:kvm-vm", "anon_inode:kvm-vcpu", "mapping of"} {
		if !strings.Contains(left, want) {
			t.Errorf("got %q, want %q in it", left, want)
		}
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
}

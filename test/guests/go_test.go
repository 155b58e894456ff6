package guests

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
)

// program is the Go guest in prog, built once.
var program = sync.OnceValues(func() (string, error) {
	if img := need.Built("prog", ".img"); img != "" {
		return img, nil
	}
	dir, err := os.MkdirTemp("", "pvrun-guests-")
	if err != nil {
		return "", err
	}
	var log strings.Builder
	res, err := build.Build(context.Background(), build.Config{
		Dir: "prog", Output: filepath.Join(dir, "image"), Stdout: &log, Stderr: &log,
	})
	if err != nil {
		return "", errors.New(err.Error() + "\n" + log.String())
	}
	return res.Image, nil
})

func TestMain(m *testing.M) {
	code := need.Main(m)
	if image, err := program(); err == nil && need.Built("prog", ".img") == "" {
		os.RemoveAll(filepath.Dir(image))
	}
	os.Exit(code)
}

// runGo runs one case of the program.
func runGo(t *testing.T, name string, stopAfter time.Duration) outcome {
	t.Helper()
	image, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var out capped
	o := run(t, hv.Config{Image: image, Args: []string{"guests", name}, Stdout: &out, Stderr: &out}, stopAfter)
	o.out = out.Bytes()
	return o
}

const insideWant = `nil: runtime error: invalid memory address or nil pointer dereference
page 0: runtime error: invalid memory address or nil pointer dereference
write text: fault at 0x401000
write start info: fault at 0x7ffd00100000
kernel half: fault at 0xffff800000000000
divide by zero: runtime error: integer divide by zero
mapped: no fault
read-only: fault at 0x1000000000
unmapped: fault at 0x1000000000
mapped again: no fault
alive
survived
`

// TestGoInside is a Go program that watches its own faults and goes on.
func TestGoInside(t *testing.T) {
	o := runGo(t, "inside", limit)
	o.wantExit(t, 0)
	if got := string(o.out); got != insideWant {
		t.Errorf("got\n%s\nwant\n%s", got, insideWant)
	}
}

// TestGoEnds: programs that end by their own fault.
func TestGoEnds(t *testing.T) {
	const stopped, fault, either = -1, -2, -3
	tests := []struct {
		name string
		code int
		want string // in the output, or in the fault's reason
	}{
		{"nil", 2, "nil pointer dereference"},
		{"wild", 2, "unexpected fault address 0x123456789000"},
		{"overflow", 2, "stack overflow"},
		{"overflow in little memory", 2, "out of memory"},
		{"memory", 2, "out of memory"},
		{"deadlock", 2, "all goroutines are asleep"},
		{"panic", 2, "panic: on purpose"},
		{"exit", 77, ""},
		{"spin", stopped, ""},
		{"spin on no stack", stopped, ""},
		{"spin on text", stopped, ""},
		{"fault on nothing", either, ""},
		{"fault on odd", either, ""},
		{"TF for ever", either, ""},
		{"AC for ever", stopped, ""},
		{"HLT", 2, "SIG"},
		{"OUT", 2, "SIG"},
		{"IN", 2, "SIG"},
		{"LoadCR3", 2, "SIG"},
		{"VMMCALL", either, ""},
		{"page's middle", 2, "SIG"},
		{"jump to data", 2, "SIG"},
		{"unmap the heap", either, ""},
		{"unmap data", either, ""},
		{"protect all", either, ""},
		{"zero everything", either, ""},
		{"mask for ever", stopped, ""},
		{"junk in vCPU page", either, ""},
		{"junk beyond", either, ""},
		{"junk in shared page", either, ""},
		{"events for ever", stopped, ""},
		{"upcall nowhere", fault, "#PF page fault at 0x1000"},
		{"ignore signals", stopped, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := limit
			if test.code == stopped || test.code == either {
				d = 1500 * time.Millisecond
			}
			o := runGo(t, test.name, d)
			switch test.code {
			case stopped:
				o.wantStopped(t)
			case fault:
				o.wantFault(t, test.want)
			case either:
				t.Logf("%v: %.200q", o, o.out)
				if o.took > limit {
					t.Errorf("took %v", o.took)
				}
			default:
				o.wantExit(t, test.code)
				if !strings.Contains(string(o.out), test.want) {
					t.Errorf("output %q, want …%s…", o.out, test.want)
				}
			}
		})
	}
}

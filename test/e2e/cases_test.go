package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each case does the same in a machine as natively: output, exit code, and
// what a dying program says, but for addresses and numbers of goroutines.
func TestSameAsNative(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"goroutines", "gc", "types", "recover", "preempt",
		"panic", "panic-error", "panic-nil", "panic-goroutine", "fatal",
		"deadlock", "deadlock-mutex", "goexit", "stack-overflow",
		"exit 0", "exit 1", "exit 2", "exit 99", "exit 124", "exit 125", "exit 126", "exit 127", "exit 128",
		"exit 200", "exit 255", "exit 256", "exit -1",
		"time", "sleepers", "zones UTC Local",
		"files", "folders", "links", "permissions", "root", "locks", "mmap", "pipes", "devices",
		"many", "big", "errors", "unix", "both", "args", "args a b|c  d||-e|--stats|é\n",
		"kill term", "kill int", "kill kill", "kill hup", "kill usr1 notify", "kill term notify", "kill int notify",
		"signal-codes", "signal-blocked", "signal-package", "timers", "usage", "bad-pointers",
		"metrics", "memory-limit", "heap-dump", "crash-output off", "maps", "thread-names",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			name, rest, more := strings.Cut(line, " ")
			args := []string{name}
			if more {
				args = append(args, strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '|' })...)
			}
			want := finish(t, nativeCommand(t, cases, args...))
			eachMode(t, func(t *testing.T, mode string) {
				got := run(t, cases, in(mode), args...)
				if got.code != want.code {
					t.Errorf("exit code: got %d, want %d", got.code, want.code)
				}
				same(t, "stdout", got.stdout, want.stdout)
				same(t, "stderr", anyTrace(got.stderr), anyTrace(want.stderr))
				if t.Failed() {
					t.Logf("stderr:\n%.2000s", got.stderr)
				}
			})
		})
	}
}

func TestSameAsNativeWithOddArguments(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		args := []string{"args", "", " a  b ", "--", "--stats", "-e", "é\n", "\x01\xff", strings.Repeat("long", 5000)}
		want := finish(t, nativeCommand(t, cases, args...))
		wants(t, run(t, cases, in(mode), args...), 0, want.stdout, "")
	})
}

var (
	addresses = regexp.MustCompile(`0x[0-9a-f]+`)
	numbers   = regexp.MustCompile(`\b(goroutine |m=)\d+`)
)

// anyTrace is a traceback without what no two runs have in common. Of one
// that shows all goroutines only the first is kept: where Go's own ones are is
// a matter of timing.
func anyTrace(s string) string {
	s = addresses.ReplaceAllString(s, "0x")
	s = numbers.ReplaceAllString(s, "${1}N")
	if strings.Contains(s, "\nruntime stack:\n") {
		all := strings.SplitAfterN(s, "\n\n", 4)
		return strings.Join(all[:min(3, len(all))], "")
	}
	return s
}

// A traceback names the user's files and lines as the native build does; that
// is checked above. This checks that it does at all.
func TestPanicTrace(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		got := run(t, cases, in(mode), "panic")
		wants(t, got, 2, "", "panic: runtime error: index out of range [4] with length 0\n\ngoroutine 1 [running]:\nmain.panicDeep(")
		if n := strings.Count(got.stderr, "programs/cases/runtime.go:"); n != 5 {
			t.Errorf("got %d lines of runtime.go, want 5:\n%s", n, got.stderr)
		}
	})
}

// Go's own message for too little memory.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		for _, size := range []string{"24m", "64m", "200m"} {
			got := run(t, cases, in(mode, "-m", size), "out-of-memory")
			if got.code != 2 || !strings.Contains(got.stderr, "fatal error: runtime: out of memory") &&
				!strings.Contains(got.stderr, "runtime: cannot allocate memory") {
				t.Errorf("-m %s: got code %d, stderr %.300q", size, got.code, got.stderr)
			}
		}
	})
}

// A goroutine that never waits leaves the others their turns, whatever it does.
func TestEveryoneHasATurn(t *testing.T) {
	t.Parallel()
	for _, work := range []string{"compute", "alloc", "getpid", "now", "stat", "write"} {
		t.Run(work, func(t *testing.T) {
			eachMode(t, func(t *testing.T, mode string) {
				wants(t, run(t, cases, in(mode, "--timeout", "20s"), "share", work), 0, "shared\n", "")
			})
		})
	}
}

// System calls in a program's own assembly.
func TestSyscallInstructions(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		want := finish(t, nativeCommand(t, syscalls))
		wants(t, run(t, syscalls, in(mode)), 0, want.stdout, "")
		if !strings.Contains(want.stdout, "written by an instruction\n0\n") {
			t.Errorf("native: got %q", want.stdout)
		}
	})
}

// A program starts as root in a machine; natively only root can do the same.
func TestCredentials(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		got := run(t, cases, in(mode), "credentials")
		wants(t, got, 0, got.stdout, "")
		golden(t, "credentials", got.stdout)
		if os.Geteuid() == 0 {
			same(t, "stdout", got.stdout, finish(t, nativeCommand(t, cases, "credentials")).stdout)
		}
	})
}

// A heap dump is written when WriteHeapDump returns, also while another waits.
// On Linux a dump whose reader is in the program never ends.
func TestTwoHeapDumps(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		wants(t, run(t, cases, in(mode, "--timeout", "30s"), "heap-dump-two"), 0, "true true 1048576\n", "")
	})
}

// What differs from Linux, and is meant to.
func TestOwnAnswers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"self", "cannot", "system", "env"} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, mode string) {
				got := run(t, cases, in(mode), name)
				wants(t, got, 0, got.stdout, "")
				golden(t, name, got.stdout)
			})
		})
	}
}

func TestRandomDiffers(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		seen := map[string]bool{}
		for range 5 {
			got := run(t, cases, in(mode), "random")
			lines := strings.Fields(got.stdout)
			if len(lines) != 4 || lines[1] != "true" || lines[2] != "true" {
				t.Fatalf("got %q", got.stdout)
			}
			for _, s := range []string{lines[0], lines[3]} {
				if seen[s] || len(s) != 32 {
					t.Errorf("got %s again", s)
				}
				seen[s] = true
			}
		}
	})
}

// The wall clock is the host's. A bare machine asks a clock that knows seconds.
func TestWallClock(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		before := time.Now().Add(-map[string]time.Duration{"pv": time.Second, "trap": 2 * time.Second}[mode])
		got := run(t, cases, in(mode), "clock")
		ns, err := time.ParseDuration(strings.TrimSpace(got.stdout) + "ns")
		if err != nil {
			t.Fatalf("got %q", got.stdout)
		}
		if at := time.Unix(0, int64(ns)); at.Before(before) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("got %v at %v", at, time.Now())
		}
	})
}

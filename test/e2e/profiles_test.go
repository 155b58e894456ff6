package e2e

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// profileOf runs the case that writes a profile and returns its file.
func profileOf(t *testing.T, mode, kind string) (file, stderr string) {
	t.Helper()
	got := run(t, cases, in(mode), "profile", kind)
	if got.code != 0 {
		t.Fatalf("exit code: got %d, want 0; stderr %q", got.code, got.stderr)
	}
	file = filepath.Join(t.TempDir(), kind)
	if err := os.WriteFile(file, []byte(got.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, got.stderr
}

func tool(t *testing.T, args ...string) string {
	t.Helper()
	text, err := exec.Command("go", append([]string{"tool"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go tool %q: %v", args, err)
	}
	return string(text)
}

// A CPU profile has the CPU time that was used, where it was used, and no idle
// time, however late its ticks come.
func TestCPUProfile(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		file, stderr := profileOf(t, mode, "cpu")
		used, err := strconv.ParseInt(strings.TrimSpace(stderr), 10, 64)
		if err != nil {
			t.Fatalf("stderr: got %q", stderr)
		}
		top := tool(t, "pprof", "-top", "-nodecount=1000", file)
		total := duration(t, top, `Total samples = (\S+)`)
		burn := duration(t, top, `(?m)^.* (\S+)\s+\S+  main\.burn$`)
		if math.Abs(burn.Seconds()/float64(used)*1e9-1) > 0.1 {
			t.Errorf("samples of main.burn: got %v of %v, want %v", burn, total, time.Duration(used))
		}
		if burn < total*8/10 {
			t.Errorf("main.burn: got %v, want most of %v", burn, total)
		}
		raw := tool(t, "pprof", "-raw", file)
		if m := raw[strings.Index(raw, "Mappings"):]; !strings.Contains(m, "1: 0x400000/") || !strings.Contains(m, "[FN]") {
			t.Errorf("no mapping of the program: %q", m)
		}
	})
}

func duration(t *testing.T, text, pattern string) time.Duration {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %q in\n%.2000s", pattern, text)
	}
	d, err := time.ParseDuration(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOtherProfiles(t *testing.T) {
	t.Parallel()
	for kind, function := range map[string]string{
		"heap": "main.keepSome", "block": "main.contend", "mutex": "main.contend.func1", "goroutine": "main.waitForStop",
	} {
		t.Run(kind, func(t *testing.T) {
			eachMode(t, func(t *testing.T, mode string) {
				file, _ := profileOf(t, mode, kind)
				if top := tool(t, "pprof", "-top", "-nodecount=1000", file); !strings.Contains(top, " "+function+"\n") &&
					!strings.Contains(top, " "+function+" (") {
					t.Errorf("no %s in\n%.2000s", function, top)
				}
			})
		})
	}
}

func TestExecutionTrace(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		file, _ := profileOf(t, mode, "trace")
		text := tool(t, "trace", "-d=parsed", file)
		for _, want := range []string{`RegionBegin.*"work"`, `StateTransition.*GoID=\d+ Running->Waiting`, `main\.contend`, `RegionEnd.*"work"`} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("no %q in the trace, which begins\n%.1000s", want, text)
			}
		}
	})
}

// A crash's last words go to the descriptor that SetCrashOutput was given.
func TestCrashOutput(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		want := finish(t, nativeCommand(t, cases, "crash-output"))
		got := run(t, cases, in(mode), "crash-output")
		if got.code != 2 || !strings.HasPrefix(got.stdout, "panic: last words\n") {
			t.Errorf("got code %d, stdout %q", got.code, got.stdout)
		}
		same(t, "stdout", anyTrace(got.stdout), anyTrace(want.stdout))
	})
}

// Switches of the runtime do what they do natively.
func TestGODEBUG(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ env, name, want string }{
		{"gctrace=1", "gc", `(?m)^gc 1 @\d+\.\d+s \d+%: .* \d+ P`},
		{"inittrace=1", "exit 0", `(?m)^init runtime @\S+ ms, \S+ ms clock, \d+ bytes, \d+ allocs$`},
		{"madvdontneed=0", "gc", `^$`},
		{"asyncpreemptoff=1", "goroutines", `^$`},
		{"schedtrace=1", "gc", `(?m)^SCHED \d+ms: gomaxprocs=1 `},
		{"scavtrace=1,gctrace=1", "gc", `(?m)^scav \d+ KiB work`},
		{"clobberfree=1", "gc", `^$`},
		{"invalidptr=1,gcstoptheworld=1", "gc", `^$`},
	} {
		t.Run(test.env, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(test.name)
			native := nativeCommand(t, cases, args...)
			native.Env = append(native.Env, "GODEBUG="+test.env, "GOMAXPROCS=1")
			want := finish(t, native)
			eachMode(t, func(t *testing.T, mode string) {
				got := run(t, cases, in(mode, "-e", "GODEBUG="+test.env), args...)
				if got.code != want.code || got.stdout != want.stdout {
					t.Errorf("got code %d, stdout %q, want %d, %q", got.code, got.stdout, want.code, want.stdout)
				}
				for name, text := range map[string]string{"machine": got.stderr, "native": want.stderr} {
					if !regexp.MustCompile(test.want).MatchString(text) {
						t.Errorf("%s: no %q in %.500q", name, test.want, text)
					}
				}
			})
		})
	}
}

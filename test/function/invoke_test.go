package function

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/load"
)

func TestInvoke(t *testing.T) {
	t.Parallel()
	image := built(t, casesImage)
	snap := snapshotOf(t, image, "-e", "COLOR=red", "--", "some", "words")
	for _, target := range []string{image, snap} {
		wants(t, do(t, "invoke", target, "-d", "echo a\x01\n\nb"), 0, "a\x01\n\nb", "")
		wants(t, do(t, "invoke", target, "-d", "echo "), 0, "", "")
		wants(t, do(t, "invoke", target, "-d", "say it"), 0, "it", "to stdout\nto stderr\n")
	}
	wants(t, do(t, "invoke", image, "-d", "args", "-e", "COLOR=blue", "--", "x", "-d"), 0, "x -dblue", "")
	wants(t, do(t, "invoke", snap, "-d", "args"), 0, "some wordsred", "")
	wants(t, do(t, "invoke", "./programs/cases", "-d", "echo built"), 0, "built", "")
}

func TestLongestMessage(t *testing.T) {
	t.Parallel()
	image, file := built(t, casesImage), filepath.Join(t.TempDir(), "data")
	word := []byte("echo ")
	text := append(word, bytes.Repeat([]byte("0123456\x00"), hypercall.MaxMessage/8)...)[:hypercall.MaxMessage]
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "invoke", image, "-d", "-")
	cmd.Stdin = bytes.NewReader(text)
	for _, got := range []outcome{do(t, "invoke", image, "-d", "@"+file), finish(t, cmd)} {
		if got.code != 0 || got.stdout != string(text[len(word):]) {
			t.Errorf("exit code %d, %d bytes, %s", got.code, len(got.stdout), got.stderr)
		}
	}
}

// TestInvokeFailures has each way in which there is no response.
func TestInvokeFailures(t *testing.T) {
	t.Parallel()
	image := built(t, casesImage)
	snap := snapshotOf(t, image)
	for _, test := range []struct {
		message string
		code    int
		stderr  string // its last line
	}{
		{"fail for a reason", 1, "the program's handler failed: for a reason"},
		{"exit", 123, "the program ended with exit code 7 in place of answering"},
		{"zero", 123, "the program ended with exit code 0 in place of answering"},
		{"panic", 123, "the program ended with exit code 2 in place of answering"},
		{"kill", 123, "the program was killed by signal 9 in place of answering"},
		{"eat", 123, "the program ended with exit code 2 in place of answering"},
		{"spin", 124, "time-out: no response after 1s"},
		{"sleep", 124, "time-out: no response after 1s"},
	} {
		t.Run(test.message, func(t *testing.T) {
			t.Parallel()
			args := []string{"invoke", snap, "-d", test.message}
			if test.code == 124 {
				args = append(args, "--timeout", "1s")
			}
			got := do(t, args...)
			wants(t, got, test.code, "", "pvrun: "+test.stderr+"\n")
			if test.message == "panic" && !strings.HasPrefix(got.stderr, "panic: at work\n") {
				t.Errorf("got %q", got.stderr)
			}
			if test.message == "eat" && !strings.HasPrefix(got.stderr, "fatal error: runtime: out of memory\n") {
				t.Errorf("got %q", got.stderr)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	image := built(t, casesImage)
	const lacking = ": it has not asked for a message, as function.Handle does"
	out := filepath.Join(t.TempDir(), "x.snap")
	for _, verb := range [][]string{{"invoke", image}, {"snapshot", image, "-o", out}} {
		start := func(word string) outcome {
			return do(t, append(slices.Clone(verb), "--timeout", "1s", "--", word)...)
		}
		wants(t, start("exit"), 123, "", "not asking\npvrun: the program ended with exit code 3 before it was ready"+lacking+"\n")
		wants(t, start("panic"), 123, "", "pvrun: the program ended with exit code 2 before it was ready"+lacking+"\n")
		for _, word := range []string{"sleep", "spin"} {
			wants(t, start(word), 124, "", "pvrun: the program was not ready after 1s"+lacking+" (--timeout allows more time)\n")
		}
		if got := do(t, append(slices.Clone(verb), "-m", "1m")...); got.code != 125 || !strings.Contains(got.stderr, ": not enough memory for the machine: ") {
			t.Errorf("with 1 MiB: got %+v", got)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("there is a snapshot")
	}
}

// many sends count messages and returns the responses and the report.
func many(t *testing.T, target, message string, count int, flags ...string) ([]string, load.Report) {
	t.Helper()
	args := append([]string{"invoke", target, "-d", message, "-n", strconv.Itoa(count), "-o", "json", "--print"}, flags...)
	got := do(t, args...)
	var rep load.Report
	if err := json.Unmarshal([]byte(got.stderr), &rep); err != nil || got.code != 0 {
		t.Fatalf("%v: exit code %d, %v\n%s", flags, got.code, err, got.stderr)
	}
	if rep.Count != count || rep.Errors != 0 || rep.PerSecond <= 0 || rep.Latency.Min <= 0 || rep.Latency.Min > rep.Latency.Max || rep.Exits == nil || *rep.Exits < 1 {
		t.Errorf("%v: got %+v", flags, rep)
	}
	return strings.Fields(got.stdout), rep
}

// TestIsolation has a program count: one that is rewound counts from the start.
func TestIsolation(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, casesImage))
	for kind, flags := range map[string][]string{
		"invocation": nil, "instance": {"--isolation", "instance"}, "fresh": {"--fresh"},
	} {
		const n = 40
		for _, workers := range []string{"1", "4"} {
			flags := append(slices.Clone(flags), "-c", workers)
			counts, rep := many(t, snap, "count", n, flags...)
			ones := 0
			for _, c := range counts {
				if c == "1" {
					ones++
				}
			}
			// One machine of each worker, at the most, begins at one.
			if len(counts) != n || kind != "instance" && ones != n || kind == "instance" && (ones > 4 || !slices.Contains(counts, strconv.Itoa(n/4))) {
				t.Errorf("%v: got %v", flags, counts)
			}
			if rep.Isolation != kind || strconv.Itoa(rep.Workers) != workers {
				t.Errorf("%v: got %+v", flags, rep)
			}
		}
		lives, _ := many(t, snap, "life", n, append(slices.Clone(flags), "-c", "2")...)
		slices.Sort(lives)
		if different := len(slices.Compact(lives)); different != n && kind != "instance" || different > 2 && kind == "instance" {
			t.Errorf("%s: %d instance IDs of %d", kind, different, n)
		}
	}
}

// Failures are counted, and others go on.
func TestManyFailures(t *testing.T) {
	t.Parallel()
	image := built(t, casesImage)
	for message, kind := range map[string]string{"fail x": "failed", "exit": "ended", "spin": "timed out"} {
		got := do(t, "invoke", image, "-d", message, "-n", "4", "-c", "2", "--timeout", "1s", "-o", "json")
		var rep load.Report
		if err := json.Unmarshal([]byte(got.stdout), &rep); err != nil || got.code != 1 || rep.ByKind[kind] != 4 || rep.Count != 4 {
			t.Errorf("%s: %v, %+v", message, err, got)
		}
		if !strings.Contains(got.stderr, "pvrun: "+kind+", such as: ") {
			t.Errorf("%s: got %q", message, got.stderr)
		}
	}
}

func TestInvokeTable(t *testing.T) {
	t.Parallel()
	got := do(t, "invoke", built(t, casesImage), "-d", "echo x", "-n", "20", "--stats", "-")
	if got.code != 0 || !strings.HasPrefix(got.stdout, "invocations              20\nerrors                   0\n") ||
		!strings.Contains(got.stderr, "exits.by_reason.hypercall.respond") {
		t.Errorf("got %+v", got)
	}
}

// A signal ends pvrun, whatever the program does.
func TestInvokeSignal(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, casesImage))
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := command(t, "invoke", snap, "-d", "panic", "-n", "1000000")
		r, w := io.Pipe()
		cmd.Stderr = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first panic says that it has begun.
		if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, r)
		cmd.Process.Signal(sig)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 128+int(sig) {
			t.Errorf("%v: got exit code %d", sig, code)
		}
	}
}

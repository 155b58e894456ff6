package function

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hv"
)

// runWith runs a snapshot with stdin.
func runWith(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	cmd := command(t, append([]string{"run", "--timeout", tooLong.String()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return finish(t, cmd)
}

// TestRunSnapshot has a program go on several times from where it was: with streams of
// its own each time, and with what it had.
func TestRunSnapshot(t *testing.T) {
	t.Parallel()
	image := built(t, casesImage)
	snap := snapshotOf(t, image, "--ready", "call", "--name", "first", "-e", "COLOR=red", "--", "call", "x", "y")
	line := regexp.MustCompile(`^after ([0-9a-f]{32}) (first|second) red \[x y\]\n$`)
	var lives []string
	for _, flags := range [][]string{nil, nil, {"--name", "second"}} {
		got := runWith(t, "one\ntwo\n", append(flags, snap)...)
		m := line.FindStringSubmatch(got.stdout)
		if m == nil || got.code != 5 || got.stderr != "read one\nread two\n" || (m[2] == "second") != (flags != nil) {
			t.Fatalf("got %+v", got)
		}
		lives = append(lives, m[1])
	}
	slices.Sort(lives)
	if len(slices.Compact(lives)) != 3 {
		t.Errorf("instance IDs: %v", lives)
	}
}

func TestRunSnapshotTimeout(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, casesImage), "--ready", "call", "--", "call")
	cmd := command(t, "run", "--timeout", "1s", snap)
	cmd.Stdin = strings.NewReader("spin\n")
	if got := finish(t, cmd); got.code != 124 || got.stderr != "pvrun: time-out after 1s\n" {
		t.Errorf("got %+v", got)
	}
}

func TestRunSnapshotStats(t *testing.T) {
	t.Parallel()
	snap, file := snapshotOf(t, built(t, casesImage), "--ready", "call", "--", "call"), filepath.Join(t.TempDir(), "stats")
	got := runWith(t, "", "--stats", file, snap)
	text, err := os.ReadFile(file)
	var s hv.Stats
	if err != nil || json.Unmarshal(text, &s) != nil || got.code != 5 || s.ExitCode != 5 || s.Exits.Total == 0 || s.TimeNS.Create <= 0 {
		t.Errorf("%v, %+v, %s", err, got, text)
	}
}

// Signals reach a program that goes on, and its handlers are those of before.
func TestRunSnapshotSignal(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, casesImage), "--ready", "call", "--", "call")
	cmd := command(t, "run", snap)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if text, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(text, "after ") {
		t.Fatalf("got %q, %v", text, err)
	}
	io.WriteString(in, "signal\n")
	cmd.Process.Signal(syscall.SIGUSR1)
	if text, err := lines.ReadString('\n'); err != nil || text != "user defined signal 1\n" {
		t.Errorf("got %q, %v", text, err)
	}
	in.Close()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("got exit code %d", code)
	}
}

// TestReady has programs that are ready when they listen, or at the first of several
// moments.
func TestReady(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, listensImage), "--ready", "listen:8080,message")
	wants(t, runWith(t, "", snap), 0, "after\n", "")
	out := filepath.Join(t.TempDir(), "x.snap")
	got := do(t, "snapshot", built(t, listensImage), "-o", out, "--ready", "listen:8081")
	wants(t, got, 123, "", "pvrun: the program ended with exit code 0 before it was ready: it does not listen on TCP port 8081\n")
	snap = snapshotOf(t, built(t, casesImage), "--ready", "message,call", "--", "call")
	if got := runWith(t, "", snap); got.code != 5 || !strings.HasPrefix(got.stdout, "after ") {
		t.Errorf("got %+v", got)
	}
}

// What the program says before it is ready is not in pvrun's stdout.
func TestSnapshotOutput(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "x.snap")
	got := do(t, "snapshot", built(t, casesImage), "-o", out, "--ready", "call", "--", "call")
	line := regexp.MustCompile(`^` + regexp.QuoteMeta(out) + `: [0-9,]+ pages, [0-9.]+ MiB, ready after [0-9.]+ m?s\n$`)
	if got.code != 0 || got.stderr != "before\n" || !line.MatchString(got.stdout) {
		t.Errorf("got %+v", got)
	}
	again := do(t, "snapshot", built(t, casesImage), "-o", out, "--ready", "call", "--", "call")
	wants(t, again, 125, "", "pvrun: write "+out+": it is there already (-f replaces it)\n")
	if again = do(t, "snapshot", built(t, casesImage), "-f", "-o", out, "--ready", "call", "--", "call"); again.code != 0 {
		t.Errorf("with -f: %+v", again)
	}
}

func TestBadSnapshots(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, casesImage))
	good, err := os.ReadFile(snap)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.snap")
	for name, change := range map[string]func([]byte) []byte{
		"cut off":    func(b []byte) []byte { return b[:len(b)-1] },
		"magic only": func(b []byte) []byte { return b[:8] },
		"a page":     func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"header":     func(b []byte) []byte { b[12] ^= 1; return b },
	} {
		if err := os.WriteFile(bad, change(slices.Clone(good)), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"run", "invoke"} {
			got := do(t, verb, bad)
			if got.code != 125 || got.stdout != "" || !strings.HasPrefix(got.stderr, "pvrun: "+bad+": ") || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("%s: %s: got %+v", name, verb, got)
			}
		}
	}
}

// A snapshot is no image, and an image no snapshot.
func TestWrongKind(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, casesImage))
	wants(t, do(t, "run", "-m", "64m", snap), 125, "", "pvrun: --memory: "+snap+" is a snapshot, whose program has begun already (see 'pvrun run --help')\n")
	wants(t, do(t, "snapshot", snap, "-o", snap+"2"), 125, "", "pvrun: "+snap+" is a snapshot already (see 'pvrun snapshot --help')\n")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("pvrun"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"run", "invoke", "snapshot"} {
		if got := do(t, verb, text); got.code != 125 || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: got %+v", verb, got)
		}
	}
}

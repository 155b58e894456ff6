package e2e

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/need"
)

// write makes a folder of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		dir := write(t, map[string]string{"env": "# comment\nA=file\nB=file with spaces \n\n  C=x=y\nFROM_HOST\nNOT_THERE\n"})
		cmd := runCommand(t, cases, in(mode, "--env-file", dir+"/env", "-e", "A=flag", "-e", "D=", "-e", "E=é\n\x01", "-e", "F=1", "-e", "F=2"),
			"env", "A", "B", "C", "D", "E", "F", "FROM_HOST", "NOT_THERE", "NOT_GIVEN")
		cmd.Env = append(cmd.Env, "FROM_HOST=yes", "NOT_GIVEN=no")
		wants(t, finish(t, cmd), 0, strings.Join([]string{`"A=flag"`, `"B=file with spaces "`, `"C=x=y"`, `"D="`, `"E=é\n\x01"`, `"F=2"`, `"FROM_HOST=yes"`, ""}, "\n"), "")
	})
}

func TestWorkdirAndRootFS(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		dir := write(t, map[string]string{"srv/app/here": "x", "srv/exec": "y", "z/1": "1", "z/2": "2"})
		if err := os.Symlink("/srv/app", dir+"/link"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir+"/srv/exec", 0o750); err != nil {
			t.Fatal(err)
		}
		flags := in(mode, "--rootfs", dir)
		wants(t, run(t, cases, append(flags, "-w", "/srv/app"), "where"), 0, "/srv/app\n<nil>\nfolder true\n", "")
		wants(t, run(t, cases, append(flags, "-w", "/link"), "where"), 0, "/srv/app\n<nil>\nfolder true\n", "")
		want := finish(t, nativeCommand(t, cases, "walk", dir))
		got := run(t, cases, flags, "walk", "/srv")
		wants(t, got, 0, ". drwxr-xr-x true\napp drwxr-xr-x true\napp/here -rw-r--r-- true\nexec -rwxr-x--- true\n", "")
		if !strings.Contains(want.stdout, "srv/exec -rwxr-x--- true\n") {
			t.Errorf("native: got %q", want.stdout)
		}
		// The flag takes the place of what the image has.
		wants(t, run(t, script, flags, "/main.js"), 1, "", "script: open /main.js: no such file or directory\n")
	})
}

func TestWorkdirThatIsNotThere(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		got := run(t, cases, in(mode, "-w", "/none/such"), "where")
		if got.code != 125 && !strings.Contains(got.stdout, "here: no such file or directory\nfolder true") {
			t.Errorf("neither an error nor a new folder: got %+v", got)
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		for _, name := range []string{"spin", "wait", "deaf", "ignore"} {
			got := run(t, cases, in(mode, "--timeout", "300ms"), name)
			wants(t, got, 124, got.stdout, "pvrun: time-out after 300ms\n")
		}
		wants(t, run(t, cases, in(mode, "--timeout", "1m"), "exit", "7"), 7, "", "")
	})
}

// readStats runs a case with flags and --stats FILE.
func readStats(t *testing.T, flags []string, p *program, args ...string) (hv.Stats, outcome) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stats.json")
	got := run(t, p, append(flags, "--stats", file), args...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s hv.Stats
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s, got
}

func TestStats(t *testing.T) {
	t.Parallel()
	tests := []struct {
		p    *program
		args []string
		code int
	}{
		{hello, nil, 0},
		{cases, []string{"gc"}, 0},
		{cases, []string{"files"}, 0},
		{cases, []string{"time"}, 0},
		{cases, []string{"exit", "7"}, 7},
		{cases, []string{"panic"}, 2},
		{cases, []string{"kill", "term"}, 143},
		{syscalls, nil, 0},
	}
	for _, test := range tests {
		t.Run(strings.Join(append([]string{test.p.name}, test.args...), " "), func(t *testing.T) {
			eachMode(t, func(t *testing.T, mode string) {
				s, got := readStats(t, in(mode), test.p, test.args...)
				if got.code != test.code || s.ExitCode != test.code {
					t.Errorf("exit code: got %d, in stats %d, want %d", got.code, s.ExitCode, test.code)
				}
				checkStats(t, mode, s)
			})
		})
	}
}

// checkStats checks what is true of every run that reaches main.
func checkStats(t *testing.T, mode string, s hv.Stats) {
	t.Helper()
	sum := uint64(0)
	for _, n := range s.Exits.ByReason {
		sum += n
	}
	if sum != s.Exits.Total || sum == 0 {
		t.Errorf("exits: sum by reason %d, total %d", sum, s.Exits.Total)
	}
	own, engine := s.KVM, need.Engine(t)
	if engine == "proc" {
		own = s.Proc
	}
	if kernel := own["exits"]; len(kernel) != 1 || kernel[0] < s.Exits.Total {
		t.Errorf("exits: the kernel's %d, our %d", kernel, s.Exits.Total)
	}
	most := map[string]uint64{"pv": 40, "trap": 2000}[mode]
	if n := s.Exits.BeforeMain; n == 0 || n > most {
		t.Errorf("exits before main: %d, want 1 to %d", n, most)
	}
	if s.Mode != mode || s.Engine != engine || s.Backend == "" {
		t.Errorf("got mode %q, engine %q, back end %q", s.Mode, s.Engine, s.Backend)
	}
	tm := s.TimeNS
	if tm.Create <= 0 || tm.Load <= 0 || tm.ToMain <= 0 || tm.Run < tm.ToMain || tm.Total != tm.Create+tm.Load+tm.Run {
		t.Errorf("times: %+v", tm)
	}
	m := s.Memory
	if m.Guest != hv.DefaultMemory || m.GuestTouched <= 0 || m.GuestTouched > m.Guest || m.HostRSS <= 0 {
		t.Errorf("memory: %+v", m)
	}
}

var digits = regexp.MustCompile(` +\d[\d ]*`)

func TestStatsTable(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		got := run(t, hello, in(mode, "--stats", "-"))
		wants(t, got, 0, "hello from a unikernel\n", "exits.total")
		end := map[string]string{"pv": "hypercall.exit", "trap": "io.control.exit"}[mode]
		for _, row := range []string{"exits.before_main", "exits.by_reason." + end, need.Engine(t) + ".exits", "time_ns.to_main", "memory.host_rss_bytes", "exit_code"} {
			if !strings.Contains(got.stderr, "\n"+row+" ") {
				t.Errorf("no row %s in\n%s", row, digits.ReplaceAllString(got.stderr, " N"))
			}
		}
	})
}

// What sums up while the program only computes or sleeps must not be exits.
func TestNoExitsInside(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		s, _ := readStats(t, in(mode), cases, "goroutines")
		if s.Exits.Total > 2000 {
			t.Errorf("10000 messages between goroutines: %d exits: %v", s.Exits.Total, s.Exits.ByReason)
		}
	})
}

func TestTimeZones(t *testing.T) {
	t.Parallel()
	names := []string{"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "UTC"}
	args := append([]string{"zones"}, names...)
	native := nativeCommand(t, cases, args...)
	native.Env = append(native.Env, "ZONEINFO="+zoneArchive(t))
	want, tzdata := finish(t, native), define(programsDir, "cases", "", "-tags", "timetzdata")
	if !strings.Contains(want.stdout, "+0545") {
		t.Fatalf("native: got %+v", want)
	}
	eachMode(t, func(t *testing.T, mode string) {
		t.Run("root file system", func(t *testing.T) {
			flags := in(mode, "--rootfs", unpackZones(t, names))
			wants(t, run(t, cases, flags, args...), 0, want.stdout, "")
			local := run(t, cases, append(flags, "-e", "TZ=Asia/Kathmandu"), "local")
			wants(t, local, 0, "2023-11-15 03:58:20 +0545 +0545\n", "")
		})
		t.Run("embedded", func(t *testing.T) {
			wants(t, run(t, tzdata, in(mode), args...), 0, want.stdout, "")
		})
		t.Run("none", func(t *testing.T) {
			wants(t, run(t, cases, in(mode), args...), 1, "unknown time zone Europe/Berlin\n", "")
		})
	})
}

// zoneArchive is the archive of time zones that comes with Go.
func zoneArchive(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "lib/time/zoneinfo.zip")
}

// unpackZones makes a root file system with some time zones.
func unpackZones(t *testing.T, names []string) string {
	t.Helper()
	archive, err := zip.OpenReader(zoneArchive(t))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	files := map[string]string{}
	for _, name := range names {
		f, err := archive.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		files["usr/share/zoneinfo/"+name] = string(text)
	}
	return write(t, files)
}

// A sleeping machine leaves the host's CPU alone: what two seconds of sleep
// cost over none.
func TestSleepCostsNoCPU(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		used := func(d string) time.Duration {
			cmd := runCommand(t, cases, in(mode), "sleep", d)
			wants(t, finish(t, cmd), 0, "", "")
			return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		base := min(used("0s"), used("0s"))
		if d := used("2s") - base; d > 100*time.Millisecond {
			t.Errorf("2 s of sleep: %v of CPU time", d)
		}
	})
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for code := 0; code < 256; code += 5 {
		wants(t, run(t, cases, nil, "exit", fmt.Sprint(code)), code, "", "")
	}
	for code := 0; code < 256; code += 51 { // its own way out, the same bits
		wants(t, run(t, cases, in("trap"), "exit", fmt.Sprint(code)), code, "", "")
	}
}

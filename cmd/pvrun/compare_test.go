package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/compare"
)

// standIn runs no machine.
type standIn struct {
	command compare.Command
	run     func(context.Context, compare.Job) error
	jobs    *[]compare.Job
}

func (s standIn) Run(ctx context.Context, j compare.Job) (compare.Sample, error) {
	*s.jobs = append(*s.jobs, j)
	stats := hv.Stats{Mode: j.Mode, Engine: "kvm", Exits: hv.ExitStats{Total: 3, ByReason: map[string]uint64{"io": 3}}}
	stats.TimeNS.Total = 1000
	var err error
	if s.run != nil {
		err = s.run(ctx, j)
	}
	return compare.Sample{Stats: stats}, err
}

// withStandIn has `pvrun compare` run no machines.
func withStandIn(t *testing.T, run func(context.Context, compare.Job) error) (*[]compare.Job, *compare.Command) {
	t.Helper()
	old := newRunner
	t.Cleanup(func() { newRunner = old })
	var jobs []compare.Job
	var command compare.Command
	newRunner = func(c compare.Command) compare.Runner {
		command = c
		return standIn{c, run, &jobs}
	}
	return &jobs, &command
}

// someImage is a file that is there; nobody reads it.
func someImage(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "mine.img")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCompareImage(t *testing.T) {
	jobs, command := withStandIn(t, nil)
	image := someImage(t)
	code, stdout, stderr := pvrunCommand(t, "compare", "-o", "json", "--runs", "2", "-m", "96m", "--modes", "trap,pv,trap", image, "arg", "--", "-x")
	if code != 0 || !strings.HasPrefix(stderr, "[1/1] mine .... ") {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	var r compare.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Workloads) != 1 || r.Workloads[0].Name != "mine" || strings.Join(r.Modes, " ") != "pv trap" || len(r.Workloads[0].Modes[1].Runs) != 2 {
		t.Errorf("got %s", stdout)
	}
	if len(*jobs) != 4 || (*jobs)[1].Mode != "trap" || (*jobs)[0].Image != image || strings.Join((*jobs)[3].Args, " ") != "arg -x" {
		t.Errorf("got %+v", *jobs)
	}
	if flags := strings.Join(command.Flags, " "); flags != "--timeout 5m0s -m 98304k" {
		t.Errorf("flags of pvrun run: %s", flags)
	}
	if _, err := os.Stat(command.Dir); err == nil {
		t.Error("its folder is still there")
	}
}

// TestCompareFormats looks only whether each is what it is called.
func TestCompareFormats(t *testing.T) {
	withStandIn(t, nil)
	for format, want := range map[string]string{
		"table": "pvrun 0.", "json": "{\n", "bench": "goos: linux\n", "html": "<!DOCTYPE html>\n",
	} {
		code, stdout, _ := pvrunCommand(t, "compare", "-o", format, someImage(t))
		if code != 0 || !strings.HasPrefix(stdout, want) {
			t.Errorf("%s: exit code %d, %.60q", format, code, stdout)
		}
	}
}

func TestCompareFails(t *testing.T) {
	withStandIn(t, func(context.Context, compare.Job) error { return errors.New("exit code 126: guest fault") })
	code, stdout, stderr := pvrunCommand(t, "compare", someImage(t))
	if code != 1 || stdout != "" || !strings.HasSuffix(stderr, "\npvrun: compare mine: in pv: exit code 126: guest fault\n") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// A signal ends the comparison, and its folder goes.
func TestCompareSignal(t *testing.T) {
	_, command := withStandIn(t, func(ctx context.Context, _ compare.Job) error {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	code, stdout, stderr := pvrunCommand(t, "compare", someImage(t))
	if code != 128+int(syscall.SIGTERM) || stdout != "" || strings.Contains(stderr, "pvrun:") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if _, err := os.Stat(command.Dir); err == nil {
		t.Error("its folder is still there")
	}
}

func TestCompareUsage(t *testing.T) {
	jobs, _ := withStandIn(t, nil)
	const see = " (see 'pvrun compare --help')"
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"--runs 0", 2, "--runs 0: must be from 1 to 1000" + see},
		{"--runs -1", 2, "--runs -1: must be from 1 to 1000" + see},
		{"--runs x", 2, `invalid argument "x" for "--runs" flag: strconv.ParseInt: parsing "x": invalid syntax` + see},
		{"--timeout 0s", 2, "--timeout 0s: must be more than 0" + see},
		{"--modes frob", 2, `--modes: no mode "frob": there are pv and trap` + see},
		{"--modes pv,", 2, `--modes: no mode "": there are pv and trap` + see},
		{"--modes=", 2, `--modes: no mode "": there are pv and trap` + see},
		{"--workloads=", 2, `--workloads: no workload "": there are ` + strings.Join(compare.Names(), ", ") + see},
		{"--workloads clock,frob", 2, `--workloads: no workload "frob": there are ` + strings.Join(compare.Names(), ", ") + see},
		{"-o xml", 2, `invalid argument "xml" for "-o, --output" flag: must be table, json, bench or html` + see},
		{"--workloads clock x.img", 2, "--workloads and x.img: an image is a workload of its own, name one or the other" + see},
		{"--frob", 2, "unknown flag: --frob" + see},
		{"none.img", 1, "run none.img: no such file"},
		{"./none", 1, "build ./none: no such file or directory"},
	} {
		code, stdout, stderr := pvrunCommand(t, append([]string{"compare"}, strings.Fields(test.args)...)...)
		if code != test.code || stdout != "" || stderr != "pvrun: "+test.want+"\n" {
			t.Errorf("%s: exit code %d, %q, %q; want %d, %q", test.args, code, stdout, stderr, test.code, test.want)
		}
	}
	if len(*jobs) > 0 {
		t.Errorf("%d machines were run", len(*jobs))
	}
}

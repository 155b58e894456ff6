package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stand is a shell script in place of pvrun. It is called as
// run --stats FILE … IMAGE ARGS.
func stand(t *testing.T, script string) Command {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "pvrun")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Command{Pvrun: file, Flags: []string{"--timeout", "1m"}, Dir: dir}
}

const statsOK = `echo '{"mode":"pv","engine":"kvm","exits":{"total":7}}' > "$3"` + "\n"

func TestCommand(t *testing.T) {
	c := stand(t, statsOK+`echo "$@" > "$0.args"; echo noise; echo "ops=12 ns=3456"; exit 0`)
	s, err := c.Run(context.Background(), Job{Image: "x.img", Way: Way{Mode: PV}, Args: []string{"12"}, Counts: true})
	if err != nil || s.Ops != 12 || s.NS != 3456 || s.Stats.Exits.Total != 7 || s.HostCPU < 0 || s.GuestCPU != 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	args, err := os.ReadFile(c.Pvrun + ".args")
	want := "run --stats " + filepath.Join(c.Dir, "stats.json") + " --timeout 1m x.img 12\n"
	if err != nil || string(args) != want {
		t.Errorf("got %q, %v; want %q", args, err, want)
	}
}

// TestCommandDisk checks that a disk is made once, and given.
func TestCommandDisk(t *testing.T) {
	c := stand(t, statsOK+`echo "$@" > "$0.args"; echo "ops=1 ns=1"`)
	for range 2 {
		if _, err := c.Run(context.Background(), Job{Image: "x.img", Way: Way{Mode: PV}, Counts: true, Disk: 3 << 19}); err != nil {
			t.Fatal(err)
		}
	}
	args, _ := os.ReadFile(c.Pvrun + ".args")
	disk := filepath.Join(c.Dir, "disk.img")
	if !strings.Contains(string(args), " --disk "+disk+" x.img") {
		t.Errorf("got %q", args)
	}
	text, err := os.ReadFile(disk)
	if err != nil || len(text) != 3<<19 || strings.Count(string(text), "scratch ") != 3<<16 {
		t.Errorf("disk: %d bytes, %v", len(text), err)
	}
}

// TestCommandMode checks that a mode is asked for, and that the machine was in
// it.
func TestCommandMode(t *testing.T) {
	c := stand(t, statsOK+`echo "$@" > "$0.args"`)
	if _, err := c.Run(context.Background(), Job{Image: "x.img", Way: Way{Mode: Trap}}); err == nil || err.Error() != "the machine ran in mode pv" {
		t.Errorf("got %v", err)
	}
	if args, _ := os.ReadFile(c.Pvrun + ".args"); !strings.Contains(string(args), " --mode trap x.img") {
		t.Errorf("got %q", args)
	}
}

func TestCommandFails(t *testing.T) {
	for _, test := range []struct{ script, want string }{
		{`echo 'pvrun: unknown flag: --mode' >&2; exit 125`, "exit code 125: unknown flag: --mode"},
		{`echo 'panic: x' >&2; echo 'goroutine 1' >&2; exit 2`, "exit code 2: panic: x"},
		{`echo 'a trace' >&2; echo 'pvrun: guest fault' >&2; echo 'rip 0' >&2; exit 126`, "exit code 126: guest fault"},
		{`exit 3`, "exit code 3"},
		{`kill -9 $$`, "signal: killed"},
		{`echo '{' > "$3"`, "statistics: unexpected end of JSON input"},
		{statsOK, `the last line of the program's output is "", not ops=… ns=…`},
		{statsOK + `echo ops=1`, `the last line of the program's output is "ops=1", not ops=… ns=…`},
	} {
		_, err := stand(t, test.script).Run(context.Background(), Job{Image: "x.img", Way: Way{Mode: PV}, Counts: true})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.script, err, test.want)
		}
	}
	if _, err := (Command{Pvrun: "/none", Dir: t.TempDir()}).Run(context.Background(), Job{Way: Way{Mode: PV}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Whoever ends the comparison ends its machines.
func TestCommandCanceled(t *testing.T) {
	c := stand(t, `echo $$ > "$0.pid"; exec sleep 1000`)
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	go func() {
		for {
			if text, _ := os.ReadFile(c.Pvrun + ".pid"); strings.HasSuffix(string(text), "\n") {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel(reason)
	}()
	if _, err := c.Run(ctx, Job{Image: "x.img", Way: Way{Mode: PV}}); err != reason {
		t.Errorf("got %v", err)
	}
	pid, err := os.ReadFile(c.Pvrun + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Error("the machine's process is still there")
	}
}

func TestGuestTime(t *testing.T) {
	fields := make([]string, 50)
	for i := range fields {
		fields[i] = fmt.Sprint(i + 3)
	}
	fields[40] = "145" // field 43
	got, err := guestTime("12 (a) b) c) " + strings.Join(fields, " "))
	if err != nil || got != 1450*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "1 (x) " + strings.Repeat("x ", 50)} {
		if _, err := guestTime(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guestTime(string(self)); err != nil {
		t.Error(err)
	}
}

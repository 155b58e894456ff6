package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/build"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// pvrun runs a command line.
func pvrunCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, stdin, &out, &errs)
	return code, out.String(), errs.String()
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"help": {"--help"}, "help-build": {"build", "--help"}, "help-run": {"run", "--help"},
		"help-test": {"test", "--help"}, "help-exec": {"exec", "--help"}, "help-env": {"env", "--help"},
		"help-snapshot": {"snapshot", "--help"}, "help-invoke": {"invoke", "--help"},
		"help-compare": {"compare", "--help"},
		"help-inspect": {"inspect", "--help"}, "help-doctor": {"doctor", "--help"},
		"help-volume": {"volume", "--help"}, "help-volume-create": {"volume", "create", "--help"},
		"help-volume-cp": {"volume", "cp", "--help"}, "help-volume-fsck": {"volume", "fsck", "--help"},
	} {
		code, stdout, stderr := pvrunCommand(t, args...)
		if code != 0 || stderr != "" {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
		golden(t, name, stdout)
	}
}

// TestOutputFile checks what -o means.
func TestOutputFile(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ name, want string }{
		{"", "prog.img"}, {dir, dir + "/prog.img"}, {dir + "/new/", dir + "/new/prog.img"},
		{dir + "/x", dir + "/x"}, {os.DevNull, os.DevNull},
	} {
		if got, err := outputFile(test.name, []string{"./cmd/prog"}); got != test.want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	if _, err := os.Stat(dir + "/new"); err != nil {
		t.Error(err)
	}
}

// TestAccessHint checks the advice about a device that cannot be opened.
func TestAccessHint(t *testing.T) {
	device := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := accessHint(device); !strings.Contains(got, "chmod g+rw "+device) {
		t.Errorf("got %q", got)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, stdout, _ := pvrunCommand(t, "completion", shell); code != 0 || !strings.Contains(stdout, "pvrun") {
			t.Errorf("%s: exit code %d", shell, code)
		}
	}
}

func TestInspectTable(t *testing.T) {
	info := build.Info{
		Size: 2000000, Entry: "0x401000",
		Note: build.NoteInfo{ABI: 1, Required: []string{"console"}, Usable: []string{"console", "alias"}},
		Manifest: build.Manifest{Format: 1, Pvrun: "0.1.0", Go: "go1.26.8", Package: "example.com/x/cmd", Module: "example.com/x",
			RootFS: &build.RootFS{Files: 2, Bytes: 1024, SHA256: "abc"}},
		Segments: []build.Segment{{Addr: "0x400000", Perm: "r-x", MemSize: 1000, FileSize: 1000}, {Addr: "0x500000", Perm: "rw-", MemSize: 300000, FileSize: 20}},
		RootFS:   []build.File{{Name: "a\x1b[31m", Mode: "-rw-r--r--", Size: 7}, {Name: "link", Mode: "Lrwxrwxrwx", Size: 1, Link: "a"}},
		Go:       build.GoInfo{Version: "go1.26.8", Package: "example.com/x/cmd", Modules: []build.Module{{Path: "example.com/x", Version: "(devel)"}, {Path: "example.org/dep", Version: "v1.2.3", Replace: "../dep"}}},
		Syscalls: []build.Site{{Addr: "0x401234", Func: "main.getpid", File: "example.com/x/a.s", Line: 3, Kind: "instruction"}, {Addr: "0x401300", Kind: "bytes"}},
	}
	var out bytes.Buffer
	if err := writeInfo(&out, info); err != nil {
		t.Fatal(err)
	}
	golden(t, "inspect", out.String())
	if got := fileCount(1); got != "1 file" {
		t.Errorf("got %q", got)
	}
}

// TestDoctor cannot know what this machine has, but what a diagnosis looks like.
func TestDoctor(t *testing.T) {
	code, stdout, stderr := pvrunCommand(t, "doctor", "-o", "json")
	var d diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || stderr != "" {
		t.Fatalf("%v, %s", err, stderr)
	}
	ok := true
	for _, c := range d.Checks {
		ok = ok && (c.OK || !c.Required)
		if c.Name == "" || c.Detail == "" || !c.OK && c.Required && c.Hint == "" {
			t.Errorf("incomplete: %+v", c)
		}
	}
	if ok != d.OK || ok != (code == 0) || len(d.Checks) < 6 {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// TestDoctorNoGo has no go command to find.
func TestDoctorNoGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	code, stdout, _ := pvrunCommand(t, "doctor")
	if code != 1 || !strings.Contains(stdout, "go command       not ok  no go command") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

// TestUsage checks exit codes and that messages are one line.
func TestUsage(t *testing.T) {
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"frob"}, 2, `pvrun: unknown command "frob" for "pvrun" (see 'pvrun --help')`},
		{[]string{"--frob"}, 2, `pvrun: unknown flag: --frob (see 'pvrun --help')`},
		{[]string{"build", "--frob"}, 2, `pvrun: unknown flag: --frob (see 'pvrun build --help')`},
		{[]string{"inspect"}, 2, `pvrun: needs an image and nothing else (see 'pvrun inspect --help')`},
		{[]string{"inspect", "-o", "xml", "x"}, 2, `pvrun: invalid argument "xml" for "-o, --output" flag: must be table or json (see 'pvrun inspect --help')`},
		{[]string{"inspect", "none.img"}, 1, `pvrun: inspect none.img: no such file or directory`},
		{[]string{"doctor", "x"}, 2, `pvrun: unknown command "x" for "pvrun doctor" (see 'pvrun doctor --help')`},
		{[]string{"build", "./none"}, 1, `pvrun: build ./none: no such file or directory`},
		{[]string{"run"}, 125, `pvrun: needs an image or a package (see 'pvrun run --help')`},
		{[]string{"run", "--frob", "x"}, 125, `pvrun: unknown flag: --frob (see 'pvrun run --help')`},
		{[]string{"run", "-m", "12x", "x"}, 125, `pvrun: invalid argument "12x" for "-m, --memory" flag: must be a number with a unit such as 64m or 1g (see 'pvrun run --help')`},
		{[]string{"run", "-m", "64", "x"}, 125, `pvrun: invalid argument "64" for "-m, --memory" flag: 64 bytes are too few; give a unit, such as 64m (see 'pvrun run --help')`},
		{[]string{"run", "-m", "2t", "x"}, 125, `pvrun: invalid argument "2t" for "-m, --memory" flag: must be from 1m to 1t, in whole pages of 4k (see 'pvrun run --help')`},
		{[]string{"run", "--tags", "x", "x"}, 125, `pvrun: unknown flag: --tags: only 'pvrun build' has it, which makes an image to run (see 'pvrun run --help')`},
		{[]string{"run", "-ldflags=-s", "x"}, 125, `pvrun: unknown shorthand flag: 'l' in -ldflags=-s: only 'pvrun build' has it, which makes an image to run (see 'pvrun run --help')`},
		{[]string{"run", "--timeout", "-1s", "x"}, 125, `pvrun: --timeout -1s: must not be negative (see 'pvrun run --help')`},
		{[]string{"run", "-e", "=x", "x"}, 125, `pvrun: -e =x: must be NAME=VALUE or NAME (see 'pvrun run --help')`},
		{[]string{"run", "--env-file", "none", "x"}, 125, `pvrun: open none: no such file or directory`},
		{[]string{"run", "--rootfs", "none", "x"}, 125, `pvrun: root file system none: no such file or directory`},
		{[]string{"exec"}, 125, `pvrun: needs a program (see 'pvrun exec --help')`},
		{[]string{"exec", "--frob", "x"}, 125, `pvrun: unknown flag: --frob (see 'pvrun exec --help')`},
		{[]string{"snapshot"}, 125, `pvrun: needs an image or a package (see 'pvrun snapshot --help')`},
		{[]string{"snapshot", "--", "x"}, 125, `pvrun: needs an image or a package (see 'pvrun snapshot --help')`},
		{[]string{"snapshot", "x", "y"}, 125, `pvrun: "y": arguments of the program come after -- (see 'pvrun snapshot --help')`},
		{[]string{"snapshot", "x", "-v", "a:/b"}, 125, `pvrun: unknown shorthand flag: 'v' in -v: a machine that snapshots are made of can have no folders and disks, and is no bare PC (see 'pvrun snapshot --help')`},
		{[]string{"invoke", "x", "-p", "1:1"}, 125, `pvrun: unknown shorthand flag: 'p' in -p: there may be several machines, and none runs but while it answers (see 'pvrun invoke --help')`},
		{[]string{"snapshot", "x", "--frob"}, 125, `pvrun: unknown flag: --frob (see 'pvrun snapshot --help')`},
		{[]string{"snapshot", "x", "--ready", "soon"}, 125, `pvrun: invalid argument "soon" for "--ready" flag: "soon": must be message, listen:PORT, connect, connect:PORT or call, or several with commas (see 'pvrun snapshot --help')`},
		{[]string{"snapshot", "x", "-e", "=x"}, 125, `pvrun: -e =x: must be NAME=VALUE or NAME (see 'pvrun snapshot --help')`},
		{[]string{"snapshot", "x", "--timeout", "-1s"}, 125, `pvrun: --timeout -1s: must not be negative (see 'pvrun snapshot --help')`},
		{[]string{"snapshot", "none.img"}, 127, `pvrun: snapshot none.img: no such file`},
		{[]string{"snapshot", "./none"}, 127, `pvrun: build ./none: no such file or directory`},
		{[]string{"snapshot", "none.img", "-o", "main.go"}, 125, `pvrun: write main.go: it is there already (-f replaces it)`},
		{[]string{"snapshot", "none.img", "-f", "-o", "testdata"}, 125, `pvrun: write testdata: it is no regular file`},
		{[]string{"snapshot", "none.img", "-o", "none/x"}, 125, `pvrun: write none/x: folder none: no such file or directory`},
		{[]string{"snapshot", "none.img", "-o", "main.go/x"}, 125, `pvrun: write main.go/x: not a directory`},
		{[]string{"invoke"}, 125, `pvrun: needs an image, a snapshot or a package (see 'pvrun invoke --help')`},
		{[]string{"invoke", "x", "-n", "0"}, 125, `pvrun: -n 0: must be from 1 to 10000000 (see 'pvrun invoke --help')`},
		{[]string{"invoke", "x", "-c", "5000"}, 125, `pvrun: -c 5000: must be from 1 to 4096 (see 'pvrun invoke --help')`},
		{[]string{"invoke", "x", "--isolation", "none"}, 125, `pvrun: invalid argument "none" for "--isolation" flag: must be invocation or instance (see 'pvrun invoke --help')`},
		{[]string{"invoke", "x", "--fresh", "--isolation", "instance"}, 125, `pvrun: --fresh and --isolation instance: a new machine is no reused one (see 'pvrun invoke --help')`},
		{[]string{"invoke", "x", "-o", "html"}, 125, `pvrun: invalid argument "html" for "-o, --output" flag: must be table, json or bench (see 'pvrun invoke --help')`},
		{[]string{"invoke", "x", "--disk", "d"}, 125, `pvrun: unknown flag: --disk: a machine that snapshots are made of can have no folders and disks, and is no bare PC (see 'pvrun invoke --help')`},
		{[]string{"invoke", "x", "-d", "@none"}, 125, `pvrun: message none: no such file or directory`},
		{[]string{"invoke", "none.img", "-d", "x"}, 127, `pvrun: invoke none.img: no such file`},
		{[]string{"invoke", "./none"}, 127, `pvrun: build ./none: no such file or directory`},
		{[]string{"invoke", "none.snap"}, 127, `pvrun: invoke none.snap: no such file`},
		{[]string{"run", "none.snap"}, 127, `pvrun: run none.snap: no such file`},
		{[]string{"run", "none.img"}, 127, `pvrun: run none.img: no such file`},
		{[]string{"run", "./none"}, 127, `pvrun: build ./none: no such file or directory`},
		{[]string{"run", "none.go"}, 127, `pvrun: build none.go: no such file or directory`},
	}
	for _, test := range tests {
		code, stdout, stderr := pvrunCommand(t, test.args...)
		if code != test.code || stdout != "" || stderr != test.want+"\n" {
			t.Errorf("%v: exit code %d, %q, %q; want %d, %q", test.args, code, stdout, stderr, test.code, test.want)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/hv"
)

// TestRunDisks attaches disks in the order of the command line, volumes' after
// them, and closes all of them.
func TestRunDisks(t *testing.T) {
	m := &fakeMachine{ends: true}
	m.use(t)
	dir := t.TempDir()
	t.Chdir(dir)
	makeDisk(t, "a")
	makeDisk(t, "b")
	if code, _, stderr := pvrunCommand(t, "volume", "create", "./root", "--size", "1m"); code != 0 {
		t.Fatal(stderr)
	}
	code, _, stderr := pvrunCommand(t, "run", "--disk", "b:ro", "--rootfs-disk", "./root", "--disk", "a", imageFile(t))
	if code != 0 || len(m.cfg.Disks) != 3 {
		t.Fatalf("exit code %d, %s, %v", code, stderr, m.cfg.Disks)
	}
	var got []string
	for _, d := range m.cfg.Disks {
		got = append(got, describeDisk(d))
	}
	if want := []string{"ro", "rw", "/ ro"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if code, _, stderr := pvrunCommand(t, "run", "--disk", "a", "--disk", "b", imageFile(t)); code != 0 {
		t.Errorf("again: exit code %d, %s", code, stderr)
	}
}

func makeDisk(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
}

func describeDisk(d hv.Disk) string {
	how := "rw"
	if d.Backend.ReadOnly() {
		how = "ro"
	}
	return strings.TrimSpace(d.Path + " " + how)
}

// TestRunBadDisks refuses disks with one line, before there is a machine.
func TestRunBadDisks(t *testing.T) {
	(&fakeMachine{ends: true}).use(t)
	dir := t.TempDir()
	t.Chdir(dir)
	makeDisk(t, "a")
	if err := os.WriteFile("odd", []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--disk none":          "pvrun: disk none: no such file or directory; 'truncate -s 1G none' makes an empty disk\n",
		"--disk .":             "pvrun: disk .: it is a folder; -v shows a folder to the guest\n",
		"--disk odd":           "pvrun: disk odd: its size of 4 bytes is no multiple of 512; 'truncate -s %512 odd' makes it one\n",
		"--disk a --disk a":    "pvrun: disk a: another pvrun uses it\n",
		"--disk a --disk a:ro": "pvrun: disk a: another pvrun uses it\n",
		"--rootfs-disk ./a":    "pvrun: volume ./a: not a volume of pvrun\n",
		"-v none:/x":           "pvrun: volume none: there is none; 'pvrun volume create' makes one\n",
		"--disk :ro":           `pvrun: invalid argument ":ro" for "--disk" flag: must be FILE[:ro] (see 'pvrun run --help')` + "\n",
	} {
		code, _, stderr := pvrunCommand(t, append(append([]string{"run"}, strings.Fields(args)...), imageFile(t))...)
		if code != exitHost || stderr != want {
			t.Errorf("%s: exit code %d, %q, want %q", args, code, stderr, want)
		}
	}
	if f, err := filepath.Glob("*"); err != nil || len(f) != 2 {
		t.Errorf("left: %q", f)
	}
}

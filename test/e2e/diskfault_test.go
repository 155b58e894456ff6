package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/fs/vol"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// withFile is a disk with a volume that has a file.
func withFile(t *testing.T, name, text string) *disk.Memory {
	t.Helper()
	m := formatted(t, 4<<20)
	v, err := vol.Mount(device{m}, vol.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, _, e := v.Open(name, fs.O_RDWR|fs.O_CREAT, 0o644)
	if e != 0 {
		t.Fatal(e)
	}
	n, e := v.Write(h, []byte(text), 0)
	if n != len(text) || e != 0 || v.Close(h) != 0 || v.Commit() != nil {
		t.Fatal(n, e)
	}
	return m
}

// exchange is a line for a program, what it answers, and what happens before.
type exchange struct {
	before    func()
	say, hear string
}

// converse runs a case on a disk and talks with it to its end.
func converse(t *testing.T, mode hypercall.Mode, d hv.Disk, args []string, talk []exchange, want vmtest.Want) {
	t.Helper()
	in, toGuest, err1 := os.Pipe()
	fromGuest, out, err2 := os.Pipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	defer fromGuest.Close()
	g := vmtest.Guest{Args: args, Config: hv.Config{
		Image: built(t, cases.image), Mode: mode, Stdin: in, Stdout: out, Disks: []hv.Disk{d},
	}}
	g.During = func(*hv.VM) {
		defer toGuest.Close()
		fromGuest.SetReadDeadline(time.Now().Add(10 * time.Second)) // or a machine that has ended
		lines := bufio.NewScanner(fromGuest)
		for _, x := range talk {
			if x.before != nil {
				x.before()
			}
			if fmt.Fprintln(toGuest, x.say); !lines.Scan() || lines.Text() != x.hear {
				t.Errorf("%s: got %q, want %q", x.say, lines.Text(), x.hear)
			}
		}
	}
	defer in.Close()
	defer out.Close()
	vmtest.Expect(t, g, want)
}

// Errors of a volume's disk reach the program that asks. After a write or a flush
// that has failed nothing is written any more, whatever the disk says then, and what
// was there before is whole.
func TestVolumeErrors(t *testing.T) {
	for _, mode := range []hypercall.Mode{hypercall.ModePV, hypercall.ModeTrap} {
		for _, op := range []disk.Op{disk.Write, disk.Flush} {
			t.Run(fmt.Sprintf("mode %d, %v", mode, op), func(t *testing.T) { volumeErrors(t, mode, op) })
		}
	}
}

func volumeErrors(t *testing.T, mode hypercall.Mode, fails disk.Op) {
	m := withFile(t, "old", strings.Repeat("old text", 20_000))
	var failing atomic.Int32
	fail := func(op disk.Op) func() { return func() { failing.Store(int32(op) + 1) } }
	heal := func() { failing.Store(0) }
	d := disk.Inject(m, func(op disk.Op, off, n int64) error {
		if int32(op)+1 == failing.Load() {
			return fmt.Errorf("on purpose: %w", unix.EIO)
		}
		return nil
	})
	const eio = "input/output error"
	converse(t, mode, hv.Disk{Backend: d, Path: "/v"}, []string{"vol-errors", "/v"}, []exchange{
		{nil, "list", "list 1"}, // so it has started
		{fail(disk.Read), "read old", "read 0 read old: " + eio},
		{heal, "read old", "read 160000 <nil>"},
		{nil, "write kept", "write <nil>"},
		{nil, "sync kept", "sync <nil>"},
		{fail(fails), "write lost", "write <nil>"},
		{nil, "sync lost", "sync sync lost: " + eio},
		{heal, "sync lost", "sync sync lost: " + eio},
		{nil, "write more", "write open more: " + eio},
		{nil, "read kept", "read 100000 <nil>"},
		{nil, "list", "list 3"},
	}, vmtest.Want{Code: 3, Stderr: "a write or flush of the device has failed"})
	v, err := vol.Mount(device{m}, vol.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"old": 160_000, "kept": 100_000} {
		if text, e := readVolume(v, name); len(text) != want || e != 0 {
			t.Errorf("%s: %d bytes, errno %d", name, len(text), e)
		}
	}
	if r, err := vol.Check(device{m}, vol.CheckOptions{}); err != nil || r.Damage > 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// A file that is cut short under a machine is a disk with errors there.
func TestDiskCutShort(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		image := diskImage(t)
		k := newTalk(t, runCommand(t, cases, in(mode, "--disk", image), "disk-line", "/dev/vda"))
		k.ask("4096 <nil>", "read %d", 3<<20)
		k.ask("4096 <nil>", "write %d", 3<<20)
		if err := os.Truncate(image, 1<<20); err != nil {
			t.Fatal(err)
		}
		k.ask("0 read /dev/vda: input/output error", "read %d", 3<<20)
		k.ask("0 read /dev/vda: input/output error", "read %d", 1<<20)
		k.ask("4096 <nil>", "read %d", 1<<20-4096)
		k.ask("4096 <nil>", "write %d", 2<<20)
		k.ask("4096 <nil>", "read %d", 2<<20)
		k.ask("<nil>", "sync 0")
		k.in.Close()
		k.cmd.Wait()
		if code := shellCode(k.cmd.ProcessState); code != 4 {
			t.Errorf("exit code: got %d, want 4", code)
		}
	})
}

// smallFolder is a file system of 4 MiB, which takes root.
func smallFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system of a size of our own: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Where the host has no room behind a disk its writes say so, and go on when a discard
// has made some.
func TestHostFull(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		dir := smallFolder(t)
		image := filepath.Join(dir, "sparse")
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 64<<20); err != nil {
			t.Fatal(err)
		}
		// An ATA disk has one word for all errors, and cannot discard.
		want := map[string]string{"pv": "true true\ntrue\n<nil> <nil>\n", "trap": "true false\ntrue\nwrite /dev/vda: input/output error <nil>\n"}[mode]
		wants(t, run(t, cases, in(mode, "--disk", image), "disk-full", "/dev/vda"), 0, want, "")
	})
}

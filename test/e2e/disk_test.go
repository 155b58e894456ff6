package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// diskSize is enough for what the cases do.
const diskSize = 4 << 20

// diskImage is a file with something in it.
func diskImage(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, bytes.Repeat([]byte("as it was before"), diskSize/16), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// What programs do in a file they do on a disk, with the same bytes in the end.
func TestDisk(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"disk", "disk-crowd"} {
		t.Run(name, func(t *testing.T) {
			file := diskImage(t)
			want := finish(t, nativeCommand(t, cases, name, file))
			after, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			eachMode(t, func(t *testing.T, mode string) {
				image := diskImage(t)
				got := run(t, cases, in(mode, "--disk", image), name, "/dev/vda")
				wants(t, got, want.code, want.stdout, "")
				if b, err := os.ReadFile(image); err != nil || !bytes.Equal(b, after) {
					t.Errorf("the image has other bytes than the file, or %v", err)
				}
			})
		})
	}
}

// What only block devices do is as on Linux, but that an ATA disk cannot discard.
func TestDiskOwn(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		got := run(t, cases, in(mode, "--disk", diskImage(t), "--disk", diskImage(t)), "disk-own", "/dev/vdb")
		wants(t, got, 0, got.stdout, "")
		golden(t, "disk-own-"+mode, got.stdout)
	})
}

func TestDiskReadOnly(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		image := diskImage(t)
		want := "write /dev/vda: operation not permitted 97 <nil>\noperation not permitted\n1\n"
		wants(t, run(t, cases, in(mode, "--disk", image+":ro"), "disk-read-only", "/dev/vda"), 0, want, "")
	})
}

// A hole that a program punches is one in the host's file.
func TestDiskSpace(t *testing.T) {
	t.Parallel()
	image := diskImage(t)
	got := run(t, cases, in("pv", "--disk", image), "disk-own", "/dev/vda")
	if got.code != 0 {
		t.Fatal(got.stderr)
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if hole, err := unix.Seek(int(f.Fd()), 8192, unix.SEEK_HOLE); err != nil || hole != 8192 {
		t.Errorf("the first hole is at %d, %v", hole, err)
	}
}

// inProcess runs a case in a machine with a disk of the test's making.
func inProcess(t *testing.T, d disk.Backend, name, want string) {
	t.Helper()
	vmtest.Expect(t, vmtest.Guest{
		Args: []string{name, "/dev/vda"},
		Config: hv.Config{
			Image: built(t, cases.image), Mode: hypercall.ModePV, Disks: []hv.Disk{{Backend: d}},
		},
	}, vmtest.Want{Stdout: want})
}

// Other goroutines run, and the disk goes on, while one waits: the read of the first
// sectors ends when the last one has been written.
func TestDiskSlow(t *testing.T) {
	sign := make(chan struct{})
	d := disk.Inject(disk.NewMemory(1<<20), func(op disk.Op, off, n int64) error {
		if op == disk.Read && off == 0 {
			<-sign
		}
		if op == disk.Write && off == 1<<20-512 {
			close(sign)
		}
		return nil
	})
	inProcess(t, d, "disk-slow", "100\nanswered\n")
}

// A goroutine whose answer another one took hears of it, though nothing else happens.
func TestDiskPairs(t *testing.T) {
	inProcess(t, disk.NewMemory(diskSize), "disk-pairs", "all came back\n")
}

// Who computes for ever is made to let go, also after the whole machine has waited.
func TestDiskBusy(t *testing.T) {
	inProcess(t, disk.NewMemory(diskSize), "disk-busy", "had its turn\n")
}

// Errors of the disk are the program's; a flush that has failed fails for ever.
func TestDiskErrors(t *testing.T) {
	var flushes atomic.Int32
	d := disk.Inject(disk.NewMemory(1<<20), func(op disk.Op, off, n int64) error {
		switch {
		case op == disk.Flush:
			flushes.Add(1)
			return unix.EIO
		case off <= 2*4096 && off+n > 2*4096:
			return unix.EIO
		case op == disk.Write && off == 3*4096:
			return fmt.Errorf("the host's: %w", unix.ENOSPC)
		}
		return nil
	})
	const eio = "input/output error"
	inProcess(t, d, "disk-errors", "<nil> <nil>\n<nil> <nil>\n"+
		"read /dev/vda: "+eio+" write /dev/vda: "+eio+"\n<nil> write /dev/vda: no space left on device\n"+
		"write /dev/vda: "+eio+" sync /dev/vda: "+eio+" sync /dev/vda: "+eio+"\n")
	if flushes.Load() == 0 {
		t.Error("no flush reached the disk")
	}
}

package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// newFile makes a file of n bytes, each of which tells its sector.
func newFile(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i / minSector)
	}
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func mustOpen(t *testing.T, name string, readOnly bool) Backend {
	t.Helper()
	b, err := Open(name, readOnly)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// TestOpenErrors: each says in one line what is wrong, and what to do.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"empty": 0, "odd": 1000} {
		if err := os.WriteFile(at(name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		at("none"):  "truncate -s 1G",
		at("fifo"):  "neither a regular file nor a block device",
		dir:         "folder",
		at("empty"): "empty",
		at("odd"):   "truncate -s %512",
		"/dev/null": "neither",
	} {
		_, err := Open(path, false)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one with %q", path, err, want)
		}
	}
}

// TestLock: one writes, or many read.
func TestLock(t *testing.T) {
	name := newFile(t, 4096)
	w := mustOpen(t, name, false)
	for _, readOnly := range []bool{false, true} {
		if _, err := Open(name, readOnly); !errors.Is(err, ErrInUse) {
			t.Errorf("read-only %v beside a writer: %v", readOnly, err)
		}
	}
	w.Close()
	mustOpen(t, name, true)
	mustOpen(t, name, true)
	if _, err := Open(name, false); !errors.Is(err, ErrInUse) {
		t.Errorf("a writer beside readers: %v", err)
	}
}

// TestRemoved: who opens a file that is removed before it gets the lock has nothing.
func TestRemoved(t *testing.T) {
	name := newFile(t, 4096)
	f, err := open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(f, name, false); err == nil {
		t.Error("removed: no error")
	}
	if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(f, name, false); err == nil {
		t.Error("replaced: no error")
	}
}

// TestCloseUnderWay: a descriptor is the disk's as long as a call uses it, and after
// that nothing reaches the file that has its number now.
func TestCloseUnderWay(t *testing.T) {
	name := newFile(t, 4096)
	d := mustOpen(t, name, false).(*file)
	var before, after unix.Stat_t
	err := d.call(func(fd int) error {
		unix.Fstat(fd, &before)
		d.Close()
		if _, err := Open(name, true); !errors.Is(err, ErrInUse) {
			t.Errorf("beside a write that is under way: %v", err)
		}
		return unix.Fstat(fd, &after)
	})
	if err != nil || before.Ino != after.Ino {
		t.Errorf("%v; inode %d is %d", err, before.Ino, after.Ino)
	}
	mustOpen(t, name, false)
	b := [][]byte{make([]byte, 512)}
	for what, err := range map[string]error{
		"read": d.ReadAt(b, 0, false), "write": d.WriteAt(b, 0), "discard": d.Discard(0, 512),
		"zeroes": d.WriteZeroes(0, 512), "flush": d.Flush(),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s of a disk that is closed: %v", what, err)
		}
	}
}

// TestTransfers writes and reads through lists of pieces of many lengths.
func TestTransfers(t *testing.T) {
	d := mustOpen(t, newFile(t, 1<<20), false)
	want := make([]byte, 64<<10)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	if err := d.WriteAt(split(bytes.Clone(want), 1, 511, 3, 0, 4096), 4096); err != nil {
		t.Fatal(err)
	}
	for _, sizes := range [][]int{{1 << 20}, {1}, {4096, 1, 17}} {
		got := make([]byte, len(want))
		if err := d.ReadAt(split(got, sizes...), 4096, false); err != nil || !bytes.Equal(got, want) {
			t.Errorf("pieces of %v: %v", sizes, err)
		}
	}
	got := make([]byte, minSector)
	if err := d.ReadAt([][]byte{got}, 4096-minSector, true); err != nil && err != ErrWouldBlock || err == nil && got[9] != 7 {
		t.Errorf("nowait: %v, % x", err, got[:10])
	}
}

// split cuts b into pieces of the given sizes, over and over.
func split(b []byte, sizes ...int) (list [][]byte) {
	for i := 0; len(b) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(b))
		list = append(list, b[:n:n])
		b = b[n:]
	}
	return list
}

// TestShortTransfers: system calls that do a part of what they are asked for.
func TestShortTransfers(t *testing.T) {
	pieces := split(make([]byte, 5000), 700)
	at, interrupt := int64(100), true
	err := transfer(pieces, at, func(p [][]byte, off int64) (int, error) {
		if interrupt = !interrupt; interrupt {
			return -1, unix.EINTR
		}
		if off != at || length(p) != 5100-at {
			t.Fatalf("%d bytes at %d, want %d at %d", length(p), off, 5100-at, at)
		}
		n := min(int(length(p)), 333)
		at += int64(n)
		return n, nil
	})
	if err != nil || at != 5100 || len(pieces[0]) != 700 {
		t.Error(err, at, len(pieces[0]))
	}
	err = transfer(pieces, 0, func([][]byte, int64) (int, error) { return 0, nil })
	if !errors.Is(err, unix.EIO) {
		t.Errorf("nothing done: %v", err)
	}
}

// TestTruncated: a file that is cut short underneath is an error to read, with
// and without waiting, and never a fault.
func TestTruncated(t *testing.T) {
	name := newFile(t, 64<<10)
	d := mustOpen(t, name, false)
	if err := os.Truncate(name, 4096+100); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8192)
	if err := d.ReadAt([][]byte{b}, 0, false); !errors.Is(err, unix.EIO) {
		t.Errorf("read: %v, want EIO", err)
	}
	if err := d.ReadAt([][]byte{b}, 0, true); err != ErrWouldBlock {
		t.Errorf("read with nowait: %v", err)
	}
	if err := d.ReadAt([][]byte{b[:4096]}, 0, false); err != nil {
		t.Errorf("what is left: %v", err)
	}
}

func TestDiscardAndZeroes(t *testing.T) {
	name := newFile(t, 1<<20)
	d := mustOpen(t, name, false)
	blocks := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	zero := func(off, n int64) bool {
		b := make([]byte, n)
		if err := d.ReadAt([][]byte{b}, off, false); err != nil {
			t.Fatal(err)
		}
		return len(bytes.TrimLeft(b, "\x00")) == 0
	}
	if d.CanDiscard() {
		before := blocks()
		if err := d.Discard(128<<10, 256<<10); err != nil || blocks() >= before {
			t.Errorf("discard: %v, %d blocks before and %d after", err, before, blocks())
		}
	}
	for range 2 { // the second time without the file system's help
		if err := d.WriteZeroes(512<<10, 200<<10); err != nil || !zero(512<<10, 200<<10) || zero(712<<10, 512) || zero(511<<10, 1024) {
			t.Errorf("write zeroes: %v", err)
		}
		if err := d.WriteAt([][]byte{bytes.Repeat([]byte{1}, 200<<10)}, 512<<10); err != nil {
			t.Fatal(err)
		}
		d.(*file).noZero.Store(true)
	}
	if err := d.Flush(); err != nil {
		t.Error(err)
	}
}

func TestReadOnly(t *testing.T) {
	d := mustOpen(t, newFile(t, 4096), true)
	if !d.ReadOnly() || d.CanDiscard() || d.CanZero() || d.Flush() != nil {
		t.Error("it can be changed")
	}
	if err := d.WriteAt([][]byte{make([]byte, 512)}, 0); err == nil {
		t.Error("written")
	}
}

// TestFull: what the host cannot take is its error, and what was there before stays.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no file system to fill: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	name := filepath.Join(dir, "disk")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 1<<20); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, name, false)
	full := bytes.Repeat([]byte{1}, 256<<10)
	if err := d.WriteAt([][]byte{full[:4096]}, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteAt([][]byte{full}, 4096); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write: %v, want ENOSPC", err)
	}
	if err := d.WriteZeroes(512<<10, 512<<10); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write zeroes: %v, want ENOSPC", err)
	}
	b := make([]byte, 4096)
	if err := d.ReadAt([][]byte{b}, 0, false); err != nil || !bytes.Equal(b, full[:4096]) {
		t.Errorf("what was there: %v", err)
	}
}

// TestFlushFails: once is for ever, and for those beside it.
func TestFlushFails(t *testing.T) {
	var f flusher
	if err := f.do(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := f.do(func() error { return syscall.EIO }); err != syscall.EIO {
		t.Fatal(err)
	}
	if err := f.do(func() error { return nil }); err != syscall.EIO {
		t.Errorf("after a failure: %v", err)
	}
}

// TestFlushShared: a flush counts for those who asked before it began, and for
// nobody who came later.
func TestFlushShared(t *testing.T) {
	var f flusher
	begun, proceed := make(chan bool), make(chan bool)
	flush := func() error {
		begun <- true
		<-proceed
		return nil
	}
	var wait sync.WaitGroup
	ask := func() {
		wait.Go(func() {
			if err := f.do(flush); err != nil {
				t.Error(err)
			}
		})
	}
	ask()
	<-begun
	for range 5 {
		ask()
	}
	proceed <- true
	<-begun // a second one, for those that came while the first ran
	proceed <- true
	done := make(chan bool)
	go func() { wait.Wait(); close(done) }()
	for { // any that came too late for the second
		select {
		case <-begun:
			proceed <- true
			continue
		case <-done:
		}
		break
	}
	if f.started < 2 || f.started != f.ended {
		t.Errorf("%d flushes, %d ended", f.started, f.ended)
	}
}

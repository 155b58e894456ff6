package vol

import (
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
)

// guest is the guest's file system with volumes in it.
func guest(shares ...fs.Share) *fs.FS {
	return fs.New(fs.Host{
		Now: func() int64 { return time.Now().UnixNano() }, Hostname: func() string { return "box" },
		Generation: func() uint64 { return 0 }, Shares: shares,
	})
}

func put(t *testing.T, g *fs.FS, path, text string) fs.Errno {
	t.Helper()
	fd, e := g.Open(fs.AT_FDCWD, path, fs.O_RDWR|fs.O_CREAT, 0o644)
	if e != 0 {
		return e
	}
	defer g.Close(fd)
	_, e = g.Write(fd, []byte(text))
	if e == 0 {
		e = g.Fsync(fd, false)
	}
	if e == fs.EINVAL {
		e = 0 // devices have nothing to sync
	}
	return e
}

func take(g *fs.FS, path string) string {
	fd, e := g.Open(fs.AT_FDCWD, path, fs.O_RDONLY, 0)
	if e != 0 {
		return ""
	}
	defer g.Close(fd)
	b := make([]byte, 1<<16)
	n, _ := g.Read(fd, b)
	return string(b[:n])
}

// disk is a device as the guest's disks are.
type disk struct{ *memory }

func (d disk) ReadAt(b []byte, off int64) (int, fs.Errno) {
	if d.memory.ReadAt(b, off) != nil {
		return len(b) / 2, fs.EIO
	}
	return len(b), 0
}

func (d disk) WriteAt(b []byte, off int64) (int, fs.Errno) {
	if d.memory.WriteAt(b, off) != nil {
		return len(b) / 2, fs.ENOSPC
	}
	return len(b), 0
}

func (d disk) Flush() fs.Errno               { return 0 }
func (d disk) Discard(off, n int64) fs.Errno { return fs.ENOTSUP }

// TestOnDisk mounts what the guest has as a disk.
func TestOnDisk(t *testing.T) {
	_, m := fresh(t, 1<<20)
	s, v, err := Share(OnDisk(disk{m}), "/data", Options{})
	if err != nil || s.Path != "/data" || !s.Writable {
		t.Fatal(s, err)
	}
	want(t, "write", put(t, guest(s), "/data/f", "text"), 0)
	m.failAt = m.calls + 1
	want(t, "write to a broken disk", put(t, guest(s), "/data/f", "more"), fs.EIO)
	if v.Commit() == nil {
		t.Error("a broken disk was committed to")
	}
	m.data[0], m.data[BlockSize] = 0, 0
	if _, _, err := Share(OnDisk(disk{m}), "/data", Options{}); err == nil || err.Error() != "/data: mount the volume: not a volume of pvrun" {
		t.Error(err)
	}
}

// TestShare uses a volume as a program does, and mounts it again.
func TestShare(t *testing.T) {
	v, m := fresh(t, 4<<20)
	g := guest(fs.Share{Path: "/data", Writable: true, Files: v})
	want(t, "mkdir", g.Mkdir(fs.AT_FDCWD, "/data/d", 0o755), 0)
	want(t, "write", put(t, g, "/data/d/f", "text"), 0)
	want(t, "rename", g.Rename(fs.AT_FDCWD, "/data/d/f", fs.AT_FDCWD, "/data/g", 0), 0)
	want(t, "symlink", g.Symlink("/data/g", fs.AT_FDCWD, "/data/d/link"), 0)
	want(t, "other device", g.Rename(fs.AT_FDCWD, "/data/g", fs.AT_FDCWD, "/tmp/g", 0), fs.EXDEV)
	want(t, "not empty", g.Unlink(fs.AT_FDCWD, "/data/d", fs.AT_REMOVEDIR), fs.ENOTEMPTY)
	want(t, "sync", syncAll(v), 0)
	g = guest(fs.Share{Path: "/data", Files: mount(t, m, true)})
	if got := take(g, "/data/d/link"); got != "text" {
		t.Errorf("%q", got)
	}
	want(t, "read-only", put(t, g, "/data/new", ""), fs.EROFS)
	clean(t, m)
}

// TestRoot has the root file system on a volume, with what must be there over it.
func TestRoot(t *testing.T) {
	v, m := fresh(t, 4<<20)
	for _, dir := range []string{"etc", "tmp", "dev", "sub"} {
		v.Mkdir(dir, 0o755)
	}
	writeFile(v, "etc/hosts", "own", 0, fs.O_CREAT)
	writeFile(v, "tmp/hidden", "x", 0, fs.O_CREAT)
	writeFile(v, "sub/f", "text", 0, fs.O_CREAT)
	want(t, "sync", syncAll(v), 0)
	inner, _ := fresh(t, 4<<20)
	for _, readOnly := range []bool{true, false} {
		g := guest(fs.Share{Path: "/sub/inner", Writable: true, Files: inner},
			fs.Share{Path: "/", Writable: !readOnly, Files: mount(t, m, readOnly)})
		for path, text := range map[string]string{"/etc/hosts": "own", "/sub/f": "text", "/tmp/hidden": "", "/sub/../sub/f": "text", "/../sub/f": "text"} {
			if got := take(g, path); got != text {
				t.Errorf("%s: %q, want %q", path, got, text)
			}
		}
		for _, path := range []string{"/etc/passwd", "/proc/self/mounts"} {
			if take(g, path) == "" {
				t.Errorf("%s is not there", path)
			}
		}
		for _, path := range []string{"/dev/null", "/tmp/new", "/sub/inner/new"} {
			want(t, path, put(t, g, path, ""), 0)
		}
		e := fs.Errno(0)
		if readOnly {
			e = fs.EROFS
		}
		want(t, "write at the root", put(t, g, "/new", "text"), e)
		if e == 0 {
			e = fs.EBUSY
		}
		want(t, "remove a mount", g.Unlink(fs.AT_FDCWD, "/tmp", fs.AT_REMOVEDIR), e)
		want(t, "into a mount", g.Rename(fs.AT_FDCWD, "/sub/f", fs.AT_FDCWD, "/tmp/f", 0), fs.EXDEV)
		want(t, "chdir", g.Chdir("/sub/inner"), 0)
		if dir, e := g.Getcwd(); dir != "/sub/inner" || e != 0 {
			t.Errorf("%q, errno %d", dir, e)
		}
	}
	if !strings.Contains(dump(mount(t, m, true)), "\nnew 0") {
		t.Error("what was written at the root is not on the volume")
	}
	clean(t, m)
}

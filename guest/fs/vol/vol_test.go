package vol

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

func TestEmpty(t *testing.T) {
	v, m := fresh(t, 1<<20)
	clean(t, m)
	want(t, "sync", syncAll(v), 0)
	if r := clean(t, m); r.Folders != 1 || r.Files != 0 {
		t.Errorf("%+v", r)
	}
}

func TestFiles(t *testing.T) {
	v, m := fresh(t, 4<<20)
	long := strings.Repeat("a long text ", 10000)
	want(t, "mkdir", v.Mkdir("d", 0o755), 0)
	want(t, "mkdir", v.Mkdir("d/e", 0o700), 0)
	want(t, "write", writeFile(v, "d/e/f", long, 0, fs.O_CREAT), 0)
	want(t, "write", writeFile(v, "g", "g", 1<<24, fs.O_CREAT), 0)
	want(t, "symlink", v.Symlink("short", "s"), 0)
	want(t, "symlink", v.Symlink(strings.Repeat("x", 4000), "l"), 0)
	want(t, "link", v.Link("d/e/f", "h"), 0)
	want(t, "write", writeFile(v, "h", "A", 3, 0), 0)
	want(t, "commit", syncAll(v), 0)
	before := dump(v)
	clean(t, m)
	for _, readOnly := range []bool{true, false} {
		if got := dump(mount(t, m, readOnly)); got != before {
			t.Errorf("got\n%s\nwant\n%s", got, before)
		}
	}
	if got, _ := readFile(v, "d/e/f"); got != "a lAng"+long[6:] {
		t.Error("the file has changed")
	}
	for _, path := range []string{"d/e/f", "d/e", "d", "g", "s", "l", "h"} {
		want(t, "remove "+path, v.Remove(path), 0)
	}
	want(t, "commit", syncAll(v), 0)
	if r := clean(t, m); r.Blocks != dataStart(256)+1 {
		t.Errorf("%d blocks are used", r.Blocks)
	}
}

func TestErrors(t *testing.T) {
	v, _ := fresh(t, 1<<20)
	v.Mkdir("d", 0o755)
	v.Mkdir("d/e", 0o755)
	writeFile(v, "f", "text", 0, fs.O_CREAT)
	v.Symlink("f", "s")
	open := func(path string, flags int) fs.Errno {
		h, _, e := v.Open(path, flags, 0o644)
		if e == 0 {
			v.Close(h)
		}
		return e
	}
	name := strings.Repeat("n", 256)
	for _, test := range []struct {
		what      string
		got, want fs.Errno
	}{
		{"open nothing", open("x", 0), fs.ENOENT},
		{"open below nothing", open("x/y", fs.O_CREAT), fs.ENOENT},
		{"open below a file", open("f/y", fs.O_CREAT), fs.ENOTDIR},
		{"open a link", open("s", 0), fs.ELOOP},
		{"open a link, exclusive", open("s", fs.O_CREAT|fs.O_EXCL), fs.EEXIST},
		{"open a folder to write", open("d", fs.O_RDWR), fs.EISDIR},
		{"create a folder", open("d", fs.O_CREAT), fs.EISDIR},
		{"open a file as a folder", open("f", fs.O_DIRECTORY), fs.ENOTDIR},
		{"open exclusive", open("f", fs.O_CREAT|fs.O_EXCL), fs.EEXIST},
		{"long name", open(name, fs.O_CREAT), fs.ENAMETOOLONG},
		{"longest name", open(name[1:], fs.O_CREAT), 0},
		{"mkdir there", v.Mkdir("f", 0), fs.EEXIST},
		{"mkdir root", v.Mkdir(".", 0), fs.EEXIST},
		{"remove nothing", v.Remove("x"), fs.ENOENT},
		{"remove root", v.Remove("."), fs.EBUSY},
		{"remove full", v.Remove("d"), fs.ENOTEMPTY},
		{"rename nothing", v.Rename("x", "y"), fs.ENOENT},
		{"rename into itself", v.Rename("d", "d/e/f"), fs.EINVAL},
		{"rename to itself", v.Rename("f", "f"), 0},
		{"rename a file over a folder", v.Rename("f", "d/e"), fs.EISDIR},
		{"rename a folder over a file", v.Rename("d", "f"), fs.ENOTDIR},
		{"rename over its parent", v.Rename("d/e", "d"), fs.ENOTEMPTY},
		{"link a folder", v.Link("d", "y"), fs.EPERM},
		{"link over", v.Link("f", "s"), fs.EEXIST},
		{"symlink there", v.Symlink("y", "f"), fs.EEXIST},
		{"empty symlink", v.Symlink("", "y"), fs.ENOENT},
		{"read no link", func() fs.Errno { _, e := v.Readlink("f"); return e }(), fs.EINVAL},
		{"read-only", func() fs.Errno { h, _, _ := v.Open("f", 0, 0); _, e := v.Write(h, []byte("x"), 0); return e }(), fs.EBADF},
		{"bad handle", v.Close(999), fs.EBADF},
	} {
		if test.got != test.want {
			t.Errorf("%s: errno %d, want %d", test.what, test.got, test.want)
		}
	}
}

// renameOnHost does on the host what TestRenames does on a volume.
func renameOnHost(t *testing.T, from, to string) fs.Errno {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	os.WriteFile(at("file"), nil, 0o644)
	os.WriteFile(at("other"), nil, 0o644)
	os.Link(at("file"), at("hard"))
	os.Mkdir(at("empty"), 0o755)
	os.MkdirAll(at("full/in"), 0o755)
	os.Symlink("target", at("link"))
	e, _ := syscall.Rename(at(from), at(to)).(syscall.Errno)
	return fs.Errno(e)
}

// TestRenames renames everything over everything.
func TestRenames(t *testing.T) {
	kinds := []string{"file", "other", "hard", "empty", "full", "link", "none", "full/in"}
	for _, from := range kinds {
		for _, to := range kinds {
			v, m := fresh(t, 1<<20)
			writeFile(v, "file", "1", 0, fs.O_CREAT)
			writeFile(v, "other", "22", 0, fs.O_CREAT)
			v.Link("file", "hard")
			v.Mkdir("empty", 0o755)
			v.Mkdir("full", 0o755)
			v.Mkdir("full/in", 0o755)
			v.Symlink("target", "link")
			a, _ := v.Stat(fs.TreeRef{Path: from})
			e := v.Rename(from, to)
			if host := renameOnHost(t, from, to); e != host {
				t.Errorf("%s to %s: errno %d, and %d on the host", from, to, e, host)
			}
			if b, _ := v.Stat(fs.TreeRef{Path: to}); e == 0 && b.Ino != a.Ino {
				t.Errorf("%s to %s: is inode %d, want %d", from, to, b.Ino, a.Ino)
			}
			want(t, "sync", syncAll(v), 0)
			clean(t, m)
		}
	}
}

func TestManyEntries(t *testing.T) {
	const n = 100_000
	v, m := fresh(t, 128<<20)
	want(t, "mkdir", v.Mkdir("d", 0o755), 0)
	for i := range n {
		h, _, e := v.Open(fmt.Sprintf("d/a-name-of-usual-length-%d", i), fs.O_CREAT|fs.O_WRONLY|fs.O_EXCL, 0o644)
		want(t, "create", e, 0)
		v.Close(h)
	}
	want(t, "sync", syncAll(v), 0)
	v = mount(t, m, false)
	h, _, e := v.Open("d", fs.O_DIRECTORY, 0)
	want(t, "open", e, 0)
	if list, e := v.List(h); len(list) != n || e != 0 {
		t.Fatalf("%d entries, errno %d", len(list), e)
	}
	v.Close(h)
	if r := clean(t, m); r.Files != n {
		t.Errorf("%+v", r)
	}
	for i := range n {
		want(t, "remove", v.Remove(fmt.Sprintf("d/a-name-of-usual-length-%d", i)), 0)
	}
	want(t, "rmdir", v.Remove("d"), 0)
	want(t, "sync", syncAll(v), 0)
	clean(t, m)
}

func TestSparse(t *testing.T) {
	v, m := fresh(t, 4<<20)
	h, _, _ := v.Open("f", fs.O_CREAT|fs.O_RDWR, 0o644)
	const far = 1 << 40
	for _, off := range []int64{0, 5 << 20, far} {
		_, e := v.Write(h, []byte("data"), off)
		want(t, "write", e, 0)
	}
	for _, test := range []struct {
		off  int64
		hole bool
		want int64
		e    fs.Errno
	}{
		{0, false, 0, 0}, {0, true, 4096, 0}, {4096, false, 5 << 20, 0}, {5<<20 + 1, true, 5<<20 + 4096, 0},
		{6 << 20, false, far, 0}, {far, true, far + 4, 0}, {far + 4, false, 0, fs.ENXIO},
	} {
		if got, e := v.Seek(h, test.off, test.hole); got != test.want || e != test.e {
			t.Errorf("seek %d %v: %d, errno %d, want %d", test.off, test.hole, got, e, test.want)
		}
	}
	want(t, "punch", v.Allocate(h, fs.FALLOC_FL_PUNCH_HOLE|fs.FALLOC_FL_KEEP_SIZE, 1, far), 0)
	b := make([]byte, 8)
	if n, _ := v.Read(h, b, far); string(b[:n]) != "\x00ata" {
		t.Errorf("%q", b[:n])
	}
	want(t, "sync", v.Sync(h, false), 0)
	clean(t, m)
	want(t, "truncate", v.Truncate(h, 1), 0)
	want(t, "truncate", v.Truncate(h, 10), 0)
	if n, _ := v.Read(h, b, 0); string(b[:n]) != "d\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q", b[:n])
	}
	want(t, "too big", v.Truncate(h, 1<<62), fs.EFBIG)
	v.Close(h)
}

// TestOrphans unlinks an open file, and loses power.
func TestOrphans(t *testing.T) {
	v, m := fresh(t, 1<<20)
	h, _, _ := v.Open("f", fs.O_CREAT|fs.O_RDWR, 0o644)
	v.Write(h, make([]byte, 100_000), 0)
	want(t, "remove", v.Remove("f"), 0)
	want(t, "sync", syncAll(v), 0)
	if b := make([]byte, 4); v.broken {
		t.Error("broken")
	} else if n, e := v.Read(h, b, 99_999); n != 1 || e != 0 {
		t.Errorf("%d, errno %d", n, e)
	}
	if r := clean(t, m); r.Orphans != 1 {
		t.Errorf("%+v", r)
	}
	again := mount(t, m, false)
	want(t, "sync", syncAll(again), 0)
	if r := clean(t, m); r.Orphans != 0 || r.Blocks != dataStart(256)+1 {
		t.Errorf("%+v", r)
	}
}

// TestReadOnly: nothing is written, though there is an orphan.
func TestReadOnly(t *testing.T) {
	v, m := fresh(t, 1<<20)
	h, _, _ := v.Open("f", fs.O_CREAT|fs.O_RDWR, 0o644)
	v.Remove("f")
	writeFile(v, "g", "text", 0, fs.O_CREAT)
	want(t, "sync", v.Sync(h, false), 0)
	o := &overlay{base: m.data, sectors: map[int64][]byte{}}
	v = mount(t, o, true)
	for what, e := range map[string]fs.Errno{
		"mkdir": v.Mkdir("d", 0), "remove": v.Remove("g"), "create": writeFile(v, "x", "", 0, fs.O_CREAT),
		"write": writeFile(v, "g", "x", 0, 0), "chmod": v.Chmod(fs.TreeRef{Path: "g"}, 0), "link": v.Link("g", "h"),
		"rename": v.Rename("g", "h"), "symlink": v.Symlink("g", "h"),
	} {
		want(t, what, e, fs.EROFS)
	}
	want(t, "sync", syncAll(v), 0)
	if text, e := readFile(v, "g"); text != "text" || e != 0 || o.writes != 0 {
		t.Errorf("%q, errno %d, %d writes", text, e, o.writes)
	}
}

func TestMountErrors(t *testing.T) {
	_, m := fresh(t, 1<<20)
	for _, test := range []struct {
		change func(b []byte)
		want   string
	}{
		{func(b []byte) { clear(b[:8192]) }, "mount the volume: not a volume of pvrun"},
		{func(b []byte) { b[superVersion], b[BlockSize+superVersion] = 9, 9 },
			"mount the volume: version 9 of the format, and this program knows version 1"},
		{func(b []byte) { b[100]++; b[BlockSize+100]++ }, "mount the volume: both superblocks: the checksum is wrong (fsck can repair it)"},
		{func(b []byte) { b[100]++ }, "mount the volume: superblock 0: the checksum is wrong (fsck can repair it)"},
	} {
		data := append([]byte(nil), m.data...)
		test.change(data)
		if _, err := Mount(&memory{data: data}, Options{}); fmt.Sprint(err) != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if err := Format(newMemory(1<<20-1), FormatOptions{}); err == nil {
		t.Error("formatted what is too small")
	}
	if _, err := Mount(newMemory(0), Options{}); err == nil {
		t.Error("mounted nothing")
	}
}

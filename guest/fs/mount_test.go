package fs

import (
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// shareTest is a file system with a writable share at /s and a read-only one
// below it, at /s/made/for/ro.
type shareTest struct {
	*FS
	t      *testing.T
	rw, ro *folder
}

func newShareTest(t *testing.T) *shareTest {
	t.Helper()
	syscall.Umask(0o022)
	s := &shareTest{t: t, rw: newFolder(t, t.TempDir()), ro: newFolder(t, t.TempDir())}
	for _, h := range []*folder{s.rw, s.ro} {
		for _, d := range []string{"d/e", "other"} {
			if err := os.MkdirAll(h.at(d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s.host(h, "f", "file")
		s.host(h, "d/e/g", "deep")
	}
	s.FS = newShares(t, Share{Path: "/s/made/for/ro", Files: s.ro}, Share{Path: "/s", Writable: true, Files: s.rw})
	t.Cleanup(func() {
		for _, h := range []*folder{s.rw, s.ro} {
			if n := len(h.fds); n != 0 {
				t.Errorf("%d handles are left", n)
			}
		}
	})
	return s
}

// host writes a file of the host's by its own hand.
func (s *shareTest) host(h *folder, name, text string) {
	s.t.Helper()
	if err := os.WriteFile(h.at(name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shareTest) stat(path string) Stat {
	s.t.Helper()
	st, e := s.Fstatat(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)
	if e != 0 {
		s.t.Fatalf("stat %s: errno %d", path, e)
	}
	return st
}

func (s *shareTest) open(path string, flags int) int {
	s.t.Helper()
	fd, e := s.Open(AT_FDCWD, path, flags, 0o644)
	if e != 0 {
		s.t.Fatalf("open %s: errno %d", path, e)
	}
	return fd
}

func (s *shareTest) names(path string) string {
	s.t.Helper()
	return strings.Join(slices.Sorted(maps.Keys(list(s.t, s.FS, path))), " ")
}

// TestShareCost: what is asked of the host, since each question costs an exit.
func TestShareCost(t *testing.T) {
	s := newShareTest(t)
	b := make([]byte, 100)
	for _, test := range []struct {
		what string
		do   func()
		want string
	}{
		{"first stat of a deep path", func() { s.stat("/s/d/e/g") }, "stat 3"},
		{"stat of it again", func() { s.stat("/s/d/e/g") }, "stat 1"},
		{"by way of ..", func() { s.stat("/s/d/e/../e/g") }, "stat 1"},
		{"stat of nothing", func() { s.Fstatat(AT_FDCWD, "/s/d/e/none", 0) }, "stat 1"},
		{"a whole file", func() {
			fd := s.open("/s/d/e/g", O_RDONLY)
			s.Fstat(fd)
			s.Read(fd, b)
			s.Read(fd, b)
			s.Close(fd)
		}, "close 1 open 1 read 2 stat 1"},
		{"a new file", func() {
			fd := s.open("/s/d/new", O_CREAT|O_EXCL|O_WRONLY)
			s.Write(fd, b)
			s.Close(fd)
		}, "close 1 open 1 write 1"},
		{"a folder", func() { s.names("/s/d/e") }, "close 1 list 1 open 1"},
		{"chmod", func() { s.Chmod(AT_FDCWD, "/s/d/e/g", 0o600, 0) }, "chmod 1 stat 1"},
		{"mkdir", func() { s.Mkdir(AT_FDCWD, "/s/d/e/dir", 0o755) }, "mkdir 1 stat 1"},
		{"rmdir", func() { s.Unlink(AT_FDCWD, "/s/d/e/dir", AT_REMOVEDIR) }, "remove 1 stat 1"},
		{"in memory", func() { s.stat("/etc/passwd"); s.names("/proc") }, ""},
	} {
		s.stat("/s")
		s.rw.asked()
		test.do()
		var got []string
		calls := s.rw.asked()
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			got = append(got, name+" "+decimal(uint64(calls[name])))
		}
		if g := strings.Join(got, " "); g != test.want {
			t.Errorf("%s: asked %s, want %s", test.what, g, test.want)
		}
	}
}

// TestShareMounts: shares in the tree, one in the other, with parents that
// nobody made.
func TestShareMounts(t *testing.T) {
	s := newShareTest(t)
	if got := s.names("/s"); got != "d f made other" {
		t.Errorf("/s has %s", got)
	}
	if got := s.names("/s/made/for/ro"); got != "d f other" {
		t.Errorf("the inner share has %s", got)
	}
	if _, err := os.Stat(s.rw.at("made")); err == nil {
		t.Error("a parent was made on the host")
	}
	if got := get(t, s.FS, "/s/made/for/ro/../../../d/e/g"); got != "deep" {
		t.Errorf("got %q", got)
	}
	outer, inner, root := s.stat("/s"), s.stat("/s/made/for/ro"), s.stat("/")
	if outer.Dev == inner.Dev || outer.Dev == root.Dev || s.stat("/s/f").Dev != outer.Dev {
		t.Errorf("st_dev %#x, %#x, %#x", outer.Dev, inner.Dev, root.Dev)
	}
	ok(t, s.Chdir("/s/made/for/ro/d"))
	if dir, _ := s.Getcwd(); dir != "/s/made/for/ro/d" {
		t.Errorf("getcwd: %s", dir)
	}
	if got := get(t, s.FS, "e/g"); got != "deep" {
		t.Errorf("got %q", got)
	}
	for _, path := range []string{"/s", "/s/made", "/s/made/for/ro"} {
		want(t, "rmdir "+path, s.Unlink(AT_FDCWD, path, AT_REMOVEDIR), EBUSY)
		want(t, "rename "+path, s.Rename(AT_FDCWD, path, AT_FDCWD, path+"x", 0), EBUSY)
	}
	want(t, "rename over a mount", s.Rename(AT_FDCWD, "/s/d", AT_FDCWD, "/s/made", 0), EBUSY)
	want(t, "rename out of a share", s.Rename(AT_FDCWD, "/s/f", AT_FDCWD, "/f", 0), EXDEV)
	want(t, "rename between shares", s.Rename(AT_FDCWD, "/s/f", AT_FDCWD, "/s/made/for/ro/x", 0), EXDEV)
	want(t, "link between shares", s.Link(AT_FDCWD, "/s/made/for/ro/f", AT_FDCWD, "/s/x", 0), EXDEV)
	mounts := get(t, s.FS, "/proc/self/mounts")
	if !strings.Contains(mounts, "\nshare /s 9p rw 0 0\nshare /s/made/for/ro 9p ro 0 0\n") {
		t.Errorf("mounts: %s", mounts)
	}
	if fs, _ := s.StatfsAt("/s/made/for/ro"); fs.Type != v9fsMagic || fs.Flags&1 == 0 {
		t.Errorf("statfs: %+v", fs)
	}
}

// TestShareOverFile: a share's parents stand where the archive has a file, and
// the share over a folder of the archive.
func TestShareOverFile(t *testing.T) {
	h := newFolder(t, t.TempDir())
	fs := newShares(t, Share{Path: "/etc/passwd/x", Files: h}, Share{Path: "/tmp", Files: h})
	if st, e := fs.Fstatat(AT_FDCWD, "/etc/passwd/x", 0); e != 0 || st.Mode&S_IFMT != S_IFDIR {
		t.Errorf("errno %d, mode %o", e, st.Mode)
	}
	want(t, "file in a read-only share", second(fs.Open(AT_FDCWD, "/tmp/x", O_CREAT|O_WRONLY, 0o644)), EROFS)
}

func second(_ int, e Errno) Errno { return e }

// TestShareReadOnly: what changes a read-only share is EROFS, after the errors
// that Linux finds first.
func TestShareReadOnly(t *testing.T) {
	s := newShareTest(t)
	before := tree(t, s.ro.top)
	const top = "/s/made/for/ro/"
	f := s.open(top+"f", O_RDONLY|O_CREAT) // is there already
	defer s.Close(f)
	times := &[2]Timespec{}
	for what, e := range map[string]Errno{
		"open to write":     second(s.Open(AT_FDCWD, top+"f", O_WRONLY, 0)),
		"open to truncate":  second(s.Open(AT_FDCWD, top+"f", O_RDONLY|O_TRUNC, 0)),
		"create":            second(s.Open(AT_FDCWD, top+"d/new", O_CREAT, 0o644)),
		"mkdir":             s.Mkdir(AT_FDCWD, top+"new", 0o755),
		"mknod":             s.Mknod(AT_FDCWD, top+"new", S_IFREG|0o644, 0),
		"symlink":           s.Symlink("x", AT_FDCWD, top+"new"),
		"link":              s.Link(AT_FDCWD, top+"f", AT_FDCWD, top+"new", 0),
		"unlink":            s.Unlink(AT_FDCWD, top+"f", 0),
		"unlink of nothing": s.Unlink(AT_FDCWD, top+"none", 0),
		"rmdir":             s.Unlink(AT_FDCWD, top+"other", AT_REMOVEDIR),
		"rename":            s.Rename(AT_FDCWD, top+"f", AT_FDCWD, top+"new", 0),
		"truncate":          s.Truncate(top+"f", 0),
		"chmod":             s.Chmod(AT_FDCWD, top+"f", 0o777, 0),
		"fchmod":            s.Fchmod(f, 0o777),
		"chown":             s.Chown(AT_FDCWD, top+"f", 0, 0, 0),
		"utimes":            s.Utimens(AT_FDCWD, top+"f", times, 0, false),
		"futimens":          s.Utimens(f, "", times, 0, true),
		"access":            s.Access(AT_FDCWD, top+"f", 2, 0),
	} {
		want(t, what, e, EROFS)
	}
	want(t, "mkdir of what is there", s.Mkdir(AT_FDCWD, top+"d", 0o755), EEXIST)
	want(t, "exclusive", second(s.Open(AT_FDCWD, top+"f", O_CREAT|O_EXCL, 0)), EEXIST)
	want(t, "folder to write", second(s.Open(AT_FDCWD, top+"d", O_RDWR, 0)), EISDIR)
	want(t, "ftruncate", s.Ftruncate(f, 0), EINVAL)
	want(t, "write", second(s.Write(f, []byte("x"))), EBADF)
	want(t, "access", s.Access(AT_FDCWD, top+"f", 4, 0), 0)
	if after := tree(t, s.ro.top); after != before {
		t.Errorf("the folder has changed:\n%s\n%s", before, after)
	}
}

// TestShareHostChanges: a fresh look sees what the host does meanwhile.
func TestShareHostChanges(t *testing.T) {
	s := newShareTest(t)
	open := s.open("/s/f", O_RDONLY)
	defer s.Close(open)
	get(t, s.FS, "/s/d/e/g")
	s.host(s.rw, "f", "longer than it was")
	if st, _ := s.Fstat(open); st.Size != 18 || s.stat("/s/f").Size != 18 || get(t, s.FS, "/s/f") != "longer than it was" {
		t.Errorf("size %d", st.Size)
	}
	s.host(s.rw, "d/e/new", "new")
	if got := s.names("/s/d/e"); got != "g new" {
		t.Errorf("names: %s", got)
	}
	os.Remove(s.rw.at("d/e/g"))
	want(t, "open of what was removed", second(s.Open(AT_FDCWD, "/s/d/e/g", O_RDONLY, 0)), ENOENT)
	// Another folder takes the place of one that is known, then a file does.
	ino := s.stat("/s/d/e").Ino
	os.Rename(s.rw.at("d/e"), s.rw.at("kept"))
	os.Mkdir(s.rw.at("d/e"), 0o700)
	s.host(s.rw, "d/e/g", "of another")
	if got := get(t, s.FS, "/s/d/e/g"); got != "of another" {
		t.Errorf("got %q", got)
	}
	if st := s.stat("/s/d/e"); st.Ino == ino || st.Mode != S_IFDIR|0o700 {
		t.Errorf("inode %d, then %d, mode %o", ino, st.Ino, st.Mode)
	}
	os.RemoveAll(s.rw.at("d/e"))
	s.host(s.rw, "d/e", "a file")
	want(t, "below a file", second(s.Open(AT_FDCWD, "/s/d/e/g", O_RDONLY, 0)), ENOTDIR)
	if got := get(t, s.FS, "/s/d/e"); got != "a file" {
		t.Errorf("got %q", got)
	}
	ok(t, s.Chdir("/s/d"))
	os.RemoveAll(s.rw.at("d"))
	want(t, "file in a folder that is gone", second(s.Open(AT_FDCWD, "x", O_CREAT, 0o644)), ENOENT)
	if st, e := s.Fstatat(AT_FDCWD, ".", 0); e != 0 || st.Nlink != 0 {
		t.Errorf("a folder that is gone: errno %d, %d links", e, st.Nlink)
	}
}

// TestShareForgottenAbove: the working directory and open folders follow a
// rename of a folder above them, however many folders were met meanwhile.
func TestShareForgottenAbove(t *testing.T) {
	defer func(n int) { maxKnown = n }(maxKnown)
	maxKnown = 0
	s := newShareTest(t)
	for _, dir := range []string{"/s/a", "/s/a/b", "/s/a/b/c", "/s/a/o"} {
		want(t, dir, s.Mkdir(AT_FDCWD, dir, 0o755), 0)
	}
	fd := s.open("/s/a/o", O_DIRECTORY)
	want(t, "chdir", s.Chdir("/s/a/b/c"), 0)
	want(t, "a folder met meanwhile", s.Mkdir(AT_FDCWD, "/s/other/x", 0o755), 0)
	s.Fstatat(AT_FDCWD, "/s/other/x", 0)
	want(t, "rename", s.Rename(AT_FDCWD, "/s/a", AT_FDCWD, "/s/z", 0), 0)
	if dir, e := s.Getcwd(); dir != "/s/z/b/c" || e != 0 {
		t.Errorf("getcwd: %s, %v", dir, e)
	}
	want(t, "mkdir in the working directory", s.Mkdir(AT_FDCWD, "new", 0o755), 0)
	want(t, "mkdir in an open folder", s.Mkdir(fd, "new", 0o755), 0)
	s.Close(fd)
}

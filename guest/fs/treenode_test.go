package fs

import (
	"math/rand"
	"os"
	"sync"
	"syscall"
	"testing"
)

// TestShareLinks: links lead where they do in the guest's own tree, and never
// to the host's.
func TestShareLinks(t *testing.T) {
	s := newShareTest(t)
	put(t, s.FS, "/etc/here", "the guest's")
	s.host(s.ro, "f", "inner")
	for name, target := range map[string]string{
		"absolute": "/etc/here", "host": s.rw.at("f"), "up": "../etc/here", "inner": "/s/made/for/ro/f", "loop": "loop", "dir": "d",
	} {
		if err := os.Symlink(target, s.rw.at(name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{
		"/s/absolute": "the guest's", "/s/up": "the guest's", "/s/inner": "inner", "/s/dir/e/g": "deep",
	} {
		if got := get(t, s.FS, path); got != text {
			t.Errorf("%s: %q, want %q", path, got, text)
		}
	}
	want(t, "the host's path", second(s.Open(AT_FDCWD, "/s/host", O_RDONLY, 0)), ENOENT)
	want(t, "loop", second(s.Open(AT_FDCWD, "/s/loop", O_RDONLY, 0)), ELOOP)
	want(t, "O_NOFOLLOW", second(s.Open(AT_FDCWD, "/s/absolute", O_NOFOLLOW, 0)), ELOOP)
	want(t, "exclusive", second(s.Open(AT_FDCWD, "/s/absolute", O_CREAT|O_EXCL, 0)), EEXIST)
	if st := s.stat("/s/up"); st.Mode != S_IFLNK|0o777 || st.Size != 11 {
		t.Errorf("mode %o, size %d", st.Mode, st.Size)
	}
	times := &[2]Timespec{{Sec: 1000}, {Sec: 2000, Nsec: 5}}
	want(t, "times of a link", s.Utimens(AT_FDCWD, "/s/up", times, AT_SYMLINK_NOFOLLOW, false), 0)
	if st := s.stat("/s/up"); st.Atim != times[0] || st.Mtim != times[1] {
		t.Errorf("times of a link: %v, %v", st.Atim, st.Mtim)
	}
	want(t, "beneath", second(s.Open2(s.dirfd("/s"), "absolute", How{Resolve: RESOLVE_BENEATH})), EXDEV)
	want(t, "no xdev", second(s.Open2(s.dirfd("/s"), "made/for/ro/f", How{Resolve: RESOLVE_NO_XDEV})), EXDEV)
}

func (s *shareTest) dirfd(path string) int {
	fd := s.open(path, O_DIRECTORY)
	s.t.Cleanup(func() { s.Close(fd) })
	return fd
}

// TestShareOddities: what a share cannot do says so.
func TestShareOddities(t *testing.T) {
	s := newShareTest(t)
	if err := syscall.Mkfifo(s.rw.at("fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	fd := s.open("/s/f", O_RDWR)
	defer s.Close(fd)
	for what, test := range map[string]struct{ got, want Errno }{
		"FIFO of the host's":  {second(s.Open(AT_FDCWD, "/s/fifo", O_RDONLY, 0)), EACCES},
		"O_TMPFILE":           {second(s.Open(AT_FDCWD, "/s", O_TMPFILE|O_RDWR, 0o600)), ENOTSUP},
		"mknod":               {s.Mknod(AT_FDCWD, "/s/new", S_IFIFO|0o644, 0), EPERM},
		"chown":               {s.Chown(AT_FDCWD, "/s/f", 4242, 4242, 0), EPERM},
		"chown to the same":   {s.Chown(AT_FDCWD, "/s/f", s.stat("/s/f").UID, ^uint32(0), 0), 0},
		"exchange":            {s.Rename(AT_FDCWD, "/s/f", AT_FDCWD, "/s/d", RENAME_EXCHANGE), EINVAL},
		"do not replace":      {s.Rename(AT_FDCWD, "/s/f", AT_FDCWD, "/s/d", RENAME_NOREPLACE), EEXIST},
		"punch":               {s.Fallocate(fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0, 1), 0},
		"collapse":            {s.Fallocate(fd, 8, 0, pageSize), ENOTSUP},
		"remove by the wrong": {s.Unlink(AT_FDCWD, "/s/d", 0), EISDIR},
		"remove not empty":    {s.Unlink(AT_FDCWD, "/s/d", AT_REMOVEDIR), ENOTEMPTY},
		"shared mapping":      {s.Map(fd, 1<<30, pageSize, 0, protRead), ENODEV},
		"private mapping":     {s.MayMap(fd), 0},
		"sync":                {s.Fsync(fd, false), 0},
		"sync of a folder":    {s.Fsync(s.dirfd("/s/d"), true), 0},
	} {
		want(t, what, test.got, test.want)
	}
	ro := s.open("/s/f", O_RDONLY)
	defer s.Close(ro)
	if s.CopyMapped(fd, protRead) || s.CopyMapped(ro, protRead|protWrite) || !s.CopyMapped(ro, protRead) {
		t.Error("only what cannot be written may be a copy")
	}
	for _, test := range []struct {
		off    int64
		whence int
		want   int64
		e      Errno
	}{{1, SEEK_DATA, 1, 0}, {1, SEEK_HOLE, 4, 0}, {4, SEEK_DATA, 0, ENXIO}, {-1, SEEK_END, 3, 0}} {
		if got, e := s.Seek(fd, test.off, test.whence); got != test.want || e != test.e {
			t.Errorf("%+v: %d, errno %d", test, got, e)
		}
	}
	path := s.open("/s/f", O_PATH)
	defer s.Close(path)
	if st, e := s.Fstat(path); e != 0 || st.Size != 4 {
		t.Errorf("O_PATH: errno %d, size %d", e, st.Size)
	}
}

// TestShareAppend: O_APPEND set at open and later, beside another writer.
func TestShareAppend(t *testing.T) {
	s := newShareTest(t)
	a, b := s.open("/s/f", O_WRONLY|O_APPEND), s.open("/s/f", O_RDWR)
	defer s.Close(a)
	defer s.Close(b)
	s.Write(a, []byte("+1"))
	s.host(s.rw, "f", "all new")
	s.Write(a, []byte("+2"))
	if off, _ := s.Seek(a, 0, SEEK_CUR); off != 9 {
		t.Errorf("offset %d", off)
	}
	s.Fcntl(b, F_SETFL, O_APPEND)
	s.Write(b, []byte("+3"))
	if got := get(t, s.FS, "/s/f"); got != "all new+2+3" {
		t.Errorf("got %q", got)
	}
}

// TestShareSame: one file is one file however it is opened, for its locks and
// its inode number.
func TestShareSame(t *testing.T) {
	s := newShareTest(t)
	ok(t, s.Link(AT_FDCWD, "/s/f", AT_FDCWD, "/s/d/hard", 0))
	a, b := s.open("/s/f", O_RDWR), s.open("/s/d/hard", O_RDWR)
	if x, y := s.stat("/s/f"), s.stat("/s/d/hard"); x.Ino != y.Ino || x.Dev != y.Dev || x.Nlink != 2 {
		t.Errorf("%+v and %+v", x, y)
	}
	ok(t, s.Flock(a, LOCK_EX))
	want(t, "flock", s.Flock(b, LOCK_EX|LOCK_NB), EAGAIN)
	lock := Flock{Type: F_WRLCK}
	ok(t, s.Lock(a, F_OFD_SETLK, &lock))
	want(t, "record lock", s.Lock(b, F_OFD_SETLK, &lock), EAGAIN)
	ok(t, s.Unlink(AT_FDCWD, "/s/f", 0))
	put(t, s.FS, "/s/f", "another file")
	c := s.open("/s/f", O_RDWR)
	ok(t, s.Flock(c, LOCK_EX|LOCK_NB))
	if st, _ := s.Fstat(a); st.Nlink != 1 || st.Size != 4 {
		t.Errorf("%+v", st)
	}
	ok(t, s.Chmod(AT_FDCWD, "/s/d/hard", 0o600, 0))
	if st, _ := s.Fstat(b); st.Mode != S_IFREG|0o600 {
		t.Errorf("mode %o", st.Mode)
	}
	ok(t, s.Close(a))
	ok(t, s.Flock(b, LOCK_EX|LOCK_NB))
	s.Close(b)
	s.Close(c)
	for _, m := range s.mounts {
		if len(m.open) != 0 {
			t.Errorf("%d files count as open", len(m.open))
		}
	}
}

// TestShareGone: a directory that was removed is not another of its name.
func TestShareGone(t *testing.T) {
	s := newShareTest(t)
	ok(t, s.Chdir("/s/other"))
	fd := s.open("/s/other", O_PATH)
	defer s.Close(fd)
	ok(t, s.Unlink(AT_FDCWD, "/s/other", AT_REMOVEDIR))
	ok(t, s.Mkdir(AT_FDCWD, "/s/other", 0o755))
	want(t, "new file", second(s.Open(AT_FDCWD, "x", O_CREAT, 0o644)), ENOENT)
	want(t, "new folder", s.Mkdir(fd, "x", 0o755), ENOENT)
	want(t, "getcwd", func() Errno { _, e := s.Getcwd(); return e }(), ENOENT)
	if got := s.names("/s/other"); got != "" {
		t.Errorf("the new folder has %s", got)
	}
}

// TestShareHandles: a handle lives as long as the description, and a lack of
// them is told as a lack of descriptors.
func TestShareHandles(t *testing.T) {
	s := newShareTest(t)
	fd := s.open("/s/f", O_RDONLY)
	dup, e := s.Dup(fd)
	ok(t, e)
	s.Close(fd)
	if got := drain(t, s.FS, dup); got != "file" {
		t.Errorf("got %q", got)
	}
	s.rw.room = 2
	again := s.open("/s/f", O_RDONLY)
	want(t, "one more", second(s.Open(AT_FDCWD, "/s/f", O_RDONLY, 0)), EMFILE)
	want(t, "folder", second(s.Open(AT_FDCWD, "/s/d", O_RDONLY, 0)), EMFILE)
	s.Close(dup)
	s.Close(again)
}

// TestShareAtOnce: many goroutines on the same few names, for the race detector
// and for what is left afterwards.
func TestShareAtOnce(t *testing.T) {
	defer func(n int) { maxKnown = n }(maxKnown)
	maxKnown = 3
	s := newShareTest(t)
	var done sync.WaitGroup
	for g := range 6 {
		done.Go(func() {
			rnd := rand.New(rand.NewSource(int64(g)))
			b := make([]byte, 500)
			path := func() string {
				p := "/s"
				for range 1 + rnd.Intn(3) {
					p += "/" + string(rune('a'+rnd.Intn(4)))
				}
				return p
			}
			for range 400 {
				switch p := path(); rnd.Intn(8) {
				case 0:
					s.Mkdir(AT_FDCWD, p, 0o755)
				case 1:
					s.Unlink(AT_FDCWD, p, AT_REMOVEDIR)
				case 2:
					s.Rename(AT_FDCWD, p, AT_FDCWD, path(), 0)
				case 3:
					s.Fstatat(AT_FDCWD, p, 0)
				case 4:
					s.Unlink(AT_FDCWD, p, 0)
				case 5:
					s.Link(AT_FDCWD, p, AT_FDCWD, path(), 0)
				default:
					fd, e := s.Open(AT_FDCWD, p, []int{O_RDONLY, O_RDWR | O_CREAT, O_DIRECTORY}[rnd.Intn(3)], 0o644)
					if e != 0 {
						break
					}
					s.Write(fd, b)
					s.Pread(fd, b, 0)
					s.Getdents(fd, b, false)
					s.Fstat(fd)
					s.Flock(fd, LOCK_SH|LOCK_NB)
					s.Fchmod(fd, 0o755)
					s.Close(fd)
				}
			}
		})
	}
	done.Wait()
	for _, m := range s.mounts {
		if len(m.open) != 0 {
			t.Errorf("%d files count as open", len(m.open))
		}
	}
}

// TestShareDirCookies: a directory is read through small buffers, from where
// one was left, and anew.
func TestShareDirCookies(t *testing.T) {
	s := newShareTest(t)
	for i := range 100 {
		s.host(s.rw, "d/e/name"+decimal(uint64(i)), "")
	}
	fd := s.open("/s/d/e", O_DIRECTORY)
	defer s.Close(fd)
	var offs []int64
	var names []string
	b := make([]byte, 40)
	for {
		off, _ := s.Seek(fd, 0, SEEK_CUR)
		n, e := s.Getdents(fd, b, false)
		ok(t, e)
		if n == 0 {
			break
		}
		offs, names = append(offs, off), append(names, string(b[19:n]))
	}
	if len(names) != 103 {
		t.Fatalf("%d names", len(names))
	}
	for _, i := range []int{50, 7, 102, 2} {
		s.Seek(fd, offs[i], SEEK_SET)
		if n, _ := s.Getdents(fd, b, false); string(b[19:n]) != names[i] {
			t.Errorf("at %d: %q, want %q", offs[i], b[19:n], names[i])
		}
	}
	s.host(s.rw, "d/e/more", "")
	s.Seek(fd, 0, SEEK_SET)
	if got := len(list(t, s.FS, "/s/d/e")); got != 102 {
		t.Errorf("%d names", got)
	}
}

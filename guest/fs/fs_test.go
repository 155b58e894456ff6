package fs

import (
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestConsole(t *testing.T) {
	fs, h := newTest(t)
	h.in = []byte("typed")
	b := make([]byte, 100)
	n, e := fs.Read(0, b)
	ok(t, e)
	if string(b[:n]) != "typed" {
		t.Errorf("read %q", b[:n])
	}
	fs.Write(1, []byte("out "))
	fs.Write(2, []byte("err"))
	if string(h.out) != "out err" {
		t.Errorf("wrote %q", h.out)
	}
	if fs.root != nil {
		t.Error("the console alone built the tree")
	}
	_, e = fs.Write(0, b)
	want(t, "write to stdin", e, EBADF)
	_, e = fs.Seek(0, 0, SEEK_SET)
	want(t, "seek", e, ESPIPE)
}

// TestConsoleNonblock follows a program that polls its standard input.
func TestConsoleNonblock(t *testing.T) {
	fs, h := newTest(t)
	if h.known[0] {
		t.Error("a blocking console is registered")
	}
	_, e := fs.Fcntl(0, F_SETFL, O_NONBLOCK)
	ok(t, e)
	if !h.known[0] {
		t.Error("a non-blocking console is not registered")
	}
	b := make([]byte, 10)
	_, e = fs.Read(0, b)
	want(t, "nothing typed", e, EAGAIN)
	h.in = []byte("x")
	fs.ConsoleChanged()
	if h.take(0)&EPOLLIN == 0 {
		t.Error("not told of input")
	}
	if n, e := fs.Read(0, b); n != 1 || e != 0 {
		t.Errorf("read %d, errno %d", n, e)
	}
}

func TestDescriptors(t *testing.T) {
	fs, _ := newTest(t)
	put(t, fs, "/f", "hello")
	fd, _ := fs.Open(AT_FDCWD, "/f", O_RDWR|O_CLOEXEC, 0)
	if fd != 3 {
		t.Errorf("first descriptor %d", fd)
	}
	if n, _ := fs.Fcntl(fd, F_GETFD, 0); n != FD_CLOEXEC {
		t.Error("no close-on-exec")
	}
	d, e := fs.Fcntl(fd, F_DUPFD_CLOEXEC, 10)
	if d != 10 || e != 0 {
		t.Errorf("dup: %d, errno %d", d, e)
	}
	fs.Read(fd, make([]byte, 2))
	if s := drain(t, fs, d); s != "llo" {
		t.Errorf("the offset is not shared: %q", s)
	}
	_, e = fs.Dup3(fd, fd, 0)
	want(t, "dup3 of itself", e, EINVAL)
	if n, e := fs.Dup2(fd, 10); n != 10 || e != 0 {
		t.Errorf("dup2: %d, errno %d", n, e)
	}
	fs.Fcntl(fd, F_SETFL, O_APPEND|O_WRONLY)
	if n, _ := fs.Fcntl(10, F_GETFL, 0); n&O_APPEND == 0 || n&O_ACCMODE != O_RDWR {
		t.Errorf("flags %#x", n)
	}
	ok(t, fs.CloseRange(3, 1000, 0))
	_, e = fs.Fstat(10)
	want(t, "after close_range", e, EBADF)
	want(t, "close", fs.Close(10), EBADF)
	_, e = fs.Dup2(1, MaxFDs)
	want(t, "beyond the limit", e, EBADF)
}

func TestTableFull(t *testing.T) {
	fs, _ := newTest(t)
	last := 0
	for {
		fd, e := fs.Dup(1)
		if e != 0 {
			want(t, "full", e, EMFILE)
			break
		}
		last = fd
	}
	if last != MaxFDs-1 {
		t.Errorf("last descriptor %d", last)
	}
	fs.Close(77)
	if fd, _ := fs.Dup(1); fd != 77 {
		t.Errorf("not the lowest: %d", fd)
	}
}

// TestUnlinked checks that the data of a file without a name lives as long as
// somebody uses it, and no longer.
func TestUnlinked(t *testing.T) {
	fs, _ := newTest(t)
	put(t, fs, "/f", strings.Repeat("x", 10000))
	fd, _ := fs.Open(AT_FDCWD, "/f", O_RDONLY, 0)
	ok(t, fs.Unlink(AT_FDCWD, "/f", 0))
	if s := drain(t, fs, fd); len(s) != 10000 {
		t.Errorf("%d bytes left", len(s))
	}
	if st, _ := fs.Fstat(fd); st.Nlink != 0 {
		t.Errorf("nlink %d", st.Nlink)
	}
	fs.Close(fd)
	if n := fs.space.pages.Load(); n != 0 {
		t.Errorf("%d pages leaked", n)
	}
}

func TestTmpfile(t *testing.T) {
	fs, _ := newTest(t)
	fd, e := fs.Open(AT_FDCWD, "/tmp", O_TMPFILE|O_RDWR, 0o600)
	ok(t, e)
	fs.Write(fd, []byte("tmp"))
	ok(t, fs.Link(AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), AT_FDCWD, "/tmp/named", AT_SYMLINK_FOLLOW))
	if s := get(t, fs, "/tmp/named"); s != "tmp" {
		t.Errorf("%q", s)
	}
	fd, _ = fs.Open(AT_FDCWD, "/tmp", O_TMPFILE|O_RDWR|O_EXCL, 0o600)
	want(t, "link of O_EXCL", fs.Link(fd, "", AT_FDCWD, "/tmp/x", AT_EMPTY_PATH), ENOENT)
	_, e = fs.Open(AT_FDCWD, "/tmp", O_TMPFILE, 0)
	want(t, "read-only", e, EINVAL)
}

func TestSparse(t *testing.T) {
	fs, _ := newTest(t)
	fd, _ := fs.Open(AT_FDCWD, "/f", O_CREAT|O_RDWR, 0o644)
	ok(t, fs.Ftruncate(fd, MaxFile))
	fs.Pwrite(fd, []byte("a"), 1<<40)
	fs.Pwrite(fd, []byte("b"), 3<<30)
	for _, c := range []struct {
		from   int64
		whence int
		to     int64
	}{
		{0, SEEK_DATA, 3 << 30}, {3 << 30, SEEK_HOLE, 3<<30 + pageSize}, {3<<30 + pageSize, SEEK_DATA, 1 << 40},
		{1<<40 + pageSize, SEEK_HOLE, 1<<40 + pageSize}, {5, SEEK_HOLE, 5},
	} {
		if to, e := fs.Seek(fd, c.from, c.whence); to != c.to || e != 0 {
			t.Errorf("seek(%#x, %d) = %#x, errno %d, want %#x", c.from, c.whence, to, e, c.to)
		}
	}
	_, e := fs.Seek(fd, 1<<40+pageSize, SEEK_DATA)
	want(t, "no more data", e, ENXIO)
	ok(t, fs.Fallocate(fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0, MaxFile))
	if n := fs.space.pages.Load(); n != 0 {
		t.Errorf("%d pages after punching all", n)
	}
	want(t, "too large", fs.Ftruncate(fd, MaxFile+1), EFBIG)
	_, e = fs.Pwrite(fd, []byte("x"), MaxFile)
	want(t, "write at the limit", e, EFBIG)
}

func TestNoSpace(t *testing.T) {
	fs, _ := newTest(t)
	fs.space.limit = 10 * pageSize
	fd, _ := fs.Open(AT_FDCWD, "/f", O_CREAT|O_RDWR, 0o644)
	n, e := fs.Write(fd, make([]byte, 20*pageSize))
	if n != 10*pageSize || e != 0 {
		t.Errorf("wrote %d, errno %d", n, e)
	}
	_, e = fs.Write(fd, []byte("x"))
	want(t, "full", e, ENOSPC)
	ok(t, fs.Ftruncate(fd, 0))
	_, e = fs.Pwrite(fd, []byte("x"), 0)
	want(t, "space again", e, 0)
}

// TestReaddirCursor removes and adds names while a directory is read.
func TestReaddirCursor(t *testing.T) {
	fs, _ := newTest(t)
	ok(t, fs.Mkdir(AT_FDCWD, "/d", 0o755))
	for i := range 200 {
		put(t, fs, fmt.Sprintf("/d/f%03d", i), "")
	}
	fd, _ := fs.Open(AT_FDCWD, "/d", O_DIRECTORY, 0)
	b := make([]byte, 200)
	seen := map[string]bool{}
	for i := 0; ; i++ {
		n, e := fs.Getdents(fd, b, false)
		ok(t, e)
		if n == 0 {
			break
		}
		for r := b[:n]; len(r) > 0; r = r[getUint(r[16:18]):] {
			name := string(r[19:23])
			if seen[name] {
				t.Errorf("%s twice", name)
			}
			seen[name] = true
		}
		fs.Unlink(AT_FDCWD, fmt.Sprintf("/d/f%03d", 2*i), 0)
	}
	for i := 1; i < 200; i += 2 {
		if !seen[fmt.Sprintf("f%03d", i)] {
			t.Errorf("f%03d is missing", i)
		}
	}
	fs.Seek(fd, 0, SEEK_SET)
	if n, _ := fs.Getdents(fd, b, false); n == 0 {
		t.Error("nothing after rewinding")
	}
	_, e := fs.Getdents(fd, b[:10], false)
	want(t, "no room", e, EINVAL)
}

// TestRoot does what os.Root does, component by component.
func TestRoot(t *testing.T) {
	fs, _ := newTest(t)
	ok(t, fs.Mkdir(AT_FDCWD, "/r", 0o755))
	ok(t, fs.Symlink("/etc", AT_FDCWD, "/r/out"))
	ok(t, fs.Symlink("in", AT_FDCWD, "/r/l"))
	put(t, fs, "/r/in", "inside")
	root, e := fs.Open(AT_FDCWD, "/r", O_CLOEXEC|O_DIRECTORY, 0)
	ok(t, e)
	const careful = O_NOFOLLOW | O_CLOEXEC
	_, e = fs.Open(root, "out", careful|O_DIRECTORY, 0)
	want(t, "link as a directory", e, ENOTDIR)
	_, e = fs.Open(root, "l", careful, 0)
	want(t, "link as a file", e, ELOOP)
	b := make([]byte, 128)
	if n, e := fs.Readlink(root, "l", b); string(b[:n]) != "in" || e != 0 {
		t.Errorf("readlink %q, errno %d", b[:n], e)
	}
	_, e = fs.Open(root, "in", careful|O_CREAT|O_EXCL, 0o600)
	want(t, "exclusive", e, EEXIST)
	_, e = fs.Open(root, "l", careful|O_CREAT|O_EXCL, 0o600)
	want(t, "exclusive link", e, EEXIST)
}

func TestOpenat2(t *testing.T) {
	fs, _ := newTest(t)
	ok(t, fs.Mkdir(AT_FDCWD, "/r", 0o755))
	ok(t, fs.Mkdir(AT_FDCWD, "/r/d", 0o755))
	ok(t, fs.Symlink("/etc/passwd", AT_FDCWD, "/r/abs"))
	ok(t, fs.Symlink("../../etc/passwd", AT_FDCWD, "/r/d/up"))
	ok(t, fs.Symlink("../f", AT_FDCWD, "/r/d/fine"))
	put(t, fs, "/r/f", "f")
	root, _ := fs.Open(AT_FDCWD, "/r", O_PATH, 0)
	for _, c := range []struct {
		path    string
		resolve uint64
		errno   Errno
	}{
		{"f", RESOLVE_BENEATH, 0},
		{"d/fine", RESOLVE_BENEATH, 0},
		{"/r/f", RESOLVE_BENEATH, EXDEV},
		{"abs", RESOLVE_BENEATH, EXDEV},
		{"d/up", RESOLVE_BENEATH, EXDEV},
		{"..", RESOLVE_BENEATH, EXDEV},
		{"d/..", RESOLVE_BENEATH, 0},
		{"abs", RESOLVE_IN_ROOT, ENOENT},
		{"/f", RESOLVE_IN_ROOT, 0},
		{"../../f", RESOLVE_IN_ROOT, 0},
		{"d/fine", RESOLVE_NO_SYMLINKS, ELOOP},
		{"/proc/self/fd/0", RESOLVE_NO_MAGICLINKS, ELOOP},
		{"/proc", RESOLVE_NO_XDEV, EXDEV},
		{"f", 1 << 20, EINVAL},
	} {
		fd, e := fs.Open2(root, c.path, How{Resolve: c.resolve})
		want(t, fmt.Sprintf("%s %#x", c.path, c.resolve), e, c.errno)
		if e == 0 {
			fs.Close(fd)
		}
	}
}

func TestProc(t *testing.T) {
	fs, _ := newTest(t)
	put(t, fs, "/tmp/x", "x")
	fd, _ := fs.Open(AT_FDCWD, "/tmp/x", O_RDONLY, 0)
	for path, part := range map[string]string{
		"/proc/self/cmdline": "/bin/prog\x00-x\x00", "/proc/self/environ": "A=b\x00",
		"/proc/self/cgroup": "0::/\n", "/proc/1/status": "Pid:\t1\n", "/proc/self/stat": "1 (prog) R",
		"/proc/mounts": "rootfs / tmpfs", "/proc/cpuinfo": "processor\t: 1", "/proc/meminfo": "MemTotal:        1048576 kB",
		"/proc/sys/kernel/hostname": "box\n", "/proc/sys/net/core/somaxconn": "4096\n",
		"/etc/hosts": "box", "/etc/passwd": "root:x:0:0", "/proc/version": Release,
		"/proc/sys/kernel/random/boot_id": "-4", "/proc/uptime": "0.", "/proc/stat": "btime ",
		fmt.Sprintf("/proc/self/fd/%d", fd): "x", fmt.Sprintf("/dev/fd/%d", fd): "x",
		"/proc/thread-self/comm": "prog\n", "/proc/self/cwd/tmp/x": "x",
	} {
		if s := get(t, fs, path); !strings.Contains(s, part) {
			t.Errorf("%s: %q lacks %q", path, s, part)
		}
	}
	b := make([]byte, 100)
	for path, target := range map[string]string{
		"/proc/self": "1", "/proc/self/exe": "/bin/prog", fmt.Sprintf("/proc/self/fd/%d", fd): "/tmp/x",
	} {
		if n, e := fs.Readlink(AT_FDCWD, path, b); string(b[:n]) != target || e != 0 {
			t.Errorf("readlink %s: %q, errno %d", path, b[:n], e)
		}
	}
	fs.Unlink(AT_FDCWD, "/tmp/x", 0)
	if n, _ := fs.Readlink(AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), b); string(b[:n]) != "/tmp/x (deleted)" {
		t.Errorf("readlink of a removed file: %q", b[:n])
	}
	if _, listed := list(t, fs, "/proc/self/fd")["0"]; !listed {
		t.Error("descriptor 0 is not listed")
	}
	_, e := fs.Open(AT_FDCWD, "/proc/cpuinfo", O_RDWR, 0)
	want(t, "write", e, EACCES)
	_, e = fs.Open(AT_FDCWD, "/proc/new", O_CREAT|O_RDWR, 0o644)
	want(t, "create", e, ENOENT)
	want(t, "remove", fs.Unlink(AT_FDCWD, "/proc/cpuinfo", 0), EPERM)
	want(t, "remove a mount", fs.Unlink(AT_FDCWD, "/proc", AT_REMOVEDIR), EBUSY)
	want(t, "across mounts", fs.Rename(AT_FDCWD, "/etc/hosts", AT_FDCWD, "/dev/hosts", 0), EXDEV)
}

func TestDevices(t *testing.T) {
	fs, _ := newTest(t)
	b := []byte("12345678")
	for path, c := range map[string]struct {
		read  int
		write Errno
	}{
		"/dev/null": {0, 0}, "/dev/zero": {8, 0}, "/dev/full": {8, ENOSPC},
		"/dev/random": {8, 0}, "/dev/urandom": {8, 0},
	} {
		fd, e := fs.Open(AT_FDCWD, path, O_RDWR, 0)
		ok(t, e)
		n, e := fs.Read(fd, b)
		if n != c.read || e != 0 {
			t.Errorf("%s: read %d, errno %d", path, n, e)
		}
		_, e = fs.Write(fd, b)
		want(t, path+" write", e, c.write)
		if off, e := fs.Seek(fd, 100, SEEK_SET); off != 0 || e != 0 {
			t.Errorf("%s: seek %d, errno %d", path, off, e)
		}
	}
	_, e := fs.Open(AT_FDCWD, "/dev/tty", O_RDWR, 0)
	want(t, "no terminal", e, ENXIO)
	fd, e := fs.Open(AT_FDCWD, "/dev/stdout", O_WRONLY, 0)
	ok(t, e)
	fs.Write(fd, []byte("x"))
}

func TestRecordLocks(t *testing.T) {
	fs, _ := newTest(t)
	put(t, fs, "/f", "0123456789")
	a, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	b, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	ok(t, fs.Lock(a, F_SETLK, &Flock{Type: F_WRLCK}))
	ok(t, fs.Lock(b, F_SETLK, &Flock{Type: F_WRLCK, Start: 3, Len: 2})) // the same process
	want(t, "against a POSIX lock", fs.Lock(b, F_OFD_SETLK, &Flock{Type: F_RDLCK}), EAGAIN)
	fs.Close(a) // drops the process's locks, whoever set them
	ok(t, fs.Lock(b, F_OFD_SETLK, &Flock{Type: F_WRLCK, Start: 2, Len: 4}))
	ok(t, fs.Lock(b, F_OFD_SETLK, &Flock{Type: F_UNLCK, Start: 3, Len: 1}))
	c, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	ok(t, fs.Lock(c, F_OFD_SETLK, &Flock{Type: F_WRLCK, Start: 3, Len: 1}))
	fl := Flock{Type: F_WRLCK, Start: 4}
	ok(t, fs.Lock(c, F_OFD_GETLK, &fl))
	if fl.Type != F_WRLCK || fl.Start != 4 || fl.Len != 2 || fl.PID != -1 {
		t.Errorf("in the way: %+v", fl)
	}
	got := make(chan Errno)
	go func() { got <- fs.Lock(c, F_OFD_SETLKW, &Flock{Type: F_WRLCK}) }()
	select {
	case <-got:
		t.Error("did not wait")
	case <-time.After(5 * time.Millisecond):
	}
	fs.Close(b)
	want(t, "wait", <-got, 0)
}

func TestFlock(t *testing.T) {
	fs, _ := newTest(t)
	put(t, fs, "/f", "")
	a, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	b, _ := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	ok(t, fs.Flock(a, LOCK_SH))
	ok(t, fs.Flock(b, LOCK_SH))
	want(t, "upgrade", fs.Flock(a, LOCK_EX|LOCK_NB), EAGAIN)
	got := make(chan Errno)
	go func() { got <- fs.Flock(a, LOCK_EX) }()
	time.Sleep(time.Millisecond)
	ok(t, fs.Flock(b, LOCK_UN))
	want(t, "wait", <-got, 0)
	want(t, "shared", fs.Flock(b, LOCK_SH|LOCK_NB), EAGAIN)
	fs.Close(a)
	ok(t, fs.Flock(b, LOCK_EX|LOCK_NB))
}

// TestStress has goroutines change one small tree at once.
func TestStress(t *testing.T) {
	fs, _ := newTest(t)
	var done sync.WaitGroup
	for g := range 8 {
		done.Add(1)
		go func() {
			defer done.Done()
			rnd := rand.New(rand.NewSource(int64(g)))
			name := func() string { return fmt.Sprintf("/tmp/%c/%c", 'a'+rnd.Intn(3), 'a'+rnd.Intn(3)) }
			b := make([]byte, 5000)
			for range 1500 {
				switch p := name(); rnd.Intn(8) {
				case 0:
					fs.Mkdir(AT_FDCWD, p[:6], 0o755)
				case 1:
					fs.Unlink(AT_FDCWD, p, 0)
				case 2:
					fs.Rename(AT_FDCWD, p, AT_FDCWD, name(), 0)
				case 3:
					fs.Rename(AT_FDCWD, p[:6], AT_FDCWD, name()[:6], RENAME_EXCHANGE)
				case 4:
					fs.Link(AT_FDCWD, p, AT_FDCWD, name(), 0)
				case 5:
					if fd, e := fs.Open(AT_FDCWD, p[:6], O_DIRECTORY, 0); e == 0 {
						fs.Getdents(fd, b, false)
						fs.Close(fd)
					}
				default:
					if fd, e := fs.Open(AT_FDCWD, p, O_CREAT|O_RDWR, 0o644); e == 0 {
						fs.Pwrite(fd, b, int64(rnd.Intn(20000)))
						fs.Read(fd, b)
						fs.Ftruncate(fd, int64(rnd.Intn(20000)))
						fs.Close(fd)
					}
				}
			}
		}()
	}
	done.Wait()
	checkTree(t, fs)
}

// BenchmarkNew is what a program pays that uses the console only.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		newTest(b)
	}
}

// BenchmarkBuild is what the first path costs.
func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		fs, _ := newTest(b)
		fs.built.Do(fs.build)
	}
}

// BenchmarkGrow appends 100 MiB.
func BenchmarkGrow(b *testing.B) {
	chunk := make([]byte, 32<<10)
	for b.Loop() {
		fs, _ := newTest(b)
		fd, _ := fs.Open(AT_FDCWD, "/f", O_CREAT|O_RDWR, 0o644)
		for range 100 << 20 / len(chunk) {
			fs.Write(fd, chunk)
		}
	}
	b.SetBytes(100 << 20)
}

package fs

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// model runs the same random calls on this file system and on Linux's own and
// compares results, error numbers and content.
type model struct {
	t    *testing.T
	rnd  *rand.Rand
	fs   *FS
	top  string   // the directory on Linux
	fds  [][2]int // open descriptors: ours, Linux's
	log  []string
	fail bool
	host *folder // behind modelTop, when that is a share
}

const modelTop = "/p/q/w"

// ops are the calls and how often each is made.
var ops = []struct {
	weight int
	run    func(m *model)
}{
	{12, (*model).open}, {6, (*model).close}, {8, (*model).read}, {10, (*model).write},
	{4, (*model).seek}, {4, (*model).truncate}, {8, (*model).mkdir}, {5, (*model).rmdir},
	{8, (*model).unlink}, {12, (*model).rename}, {6, (*model).link}, {7, (*model).symlink},
	{3, (*model).readlink}, {8, (*model).stat}, {4, (*model).readdir}, {3, (*model).chmod},
	{2, (*model).access}, {3, (*model).content}, {2, (*model).copyRange}, {2, (*model).fallocate},
	{2, (*model).dup}, {1, (*model).getcwd},
}

func TestModel(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	syscall.Umask(0o022)
	for seed := range rounds {
		newModel(t, int64(seed)).run(t, seed)
	}
}

func (m *model) run(t *testing.T, seed int) {
	for i := 0; i < 800 && !m.fail; i++ {
		m.step()
	}
	m.finish()
	if m.fail {
		t.Fatalf("seed %d:\n%s", seed, strings.Join(m.log[max(0, len(m.log)-40):], "\n"))
	}
}

func newModel(t *testing.T, seed int64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewSource(seed)), top: t.TempDir() + modelTop}
	m.fs, _ = newTest(t)
	if err := os.MkdirAll(m.top, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"/p", "/p/q", "/p/q/w"} {
		ok(t, m.fs.Mkdir(AT_FDCWD, d, 0o755))
	}
	return m
}

func (m *model) step() {
	total := 0
	for _, o := range ops {
		total += o.weight
	}
	k := m.rnd.Intn(total)
	for _, o := range ops {
		if k -= o.weight; k < 0 {
			o.run(m)
			return
		}
	}
}

func (m *model) finish() {
	for _, p := range m.fds {
		syscall.Close(p[1])
		m.fs.Close(p[0])
	}
	checkTree(m.t, m.fs)
	if got, held := m.fs.space.pages.Load(), m.pages(); got != held {
		m.t.Errorf("%d pages booked, %d held", got, held)
	}
	syscall.Chmod(m.top, 0o755)
}

// pages counts what all files with a name hold.
func (m *model) pages() (total int64) {
	seen := map[*inode]bool{}
	var walk func(n *inode)
	walk = func(n *inode) {
		for _, e := range n.dir.byName {
			if e.node.isDir() {
				walk(e.node)
			} else if !seen[e.node] {
				seen[e.node] = true
				total += e.node.data.pages
			}
		}
	}
	walk(m.fs.root)
	return total
}

// path is a random path below the top.
func (m *model) path() string {
	parts := []string{"a", "b", "c", "d"}
	odd := []string{".", "..", "", strings.Repeat("n", 255), strings.Repeat("n", 256)}
	n := 1 + m.rnd.Intn(3)
	var s []string
	for range n {
		if m.rnd.Intn(12) == 0 {
			s = append(s, odd[m.rnd.Intn(len(odd))])
		} else {
			s = append(s, parts[m.rnd.Intn(len(parts))])
		}
	}
	p := strings.Join(s, "/")
	if m.rnd.Intn(10) == 0 {
		p += "/"
	}
	return p
}

// inside is a path for a symbolic link: relative and without "..", since
// chains of links that go up would lead the test out of its directory.
func (m *model) inside() string {
	for {
		if p := m.path(); p != "" && p[0] != '/' && !strings.Contains(p, "..") {
			return p
		}
	}
}

// both is a path on either side.
func (m *model) both() (string, string) {
	p := m.path()
	return modelTop + "/" + p, m.top + "/" + p
}

// check compares one result.
func (m *model) check(what string, ours any, e Errno, theirs any, err error) bool {
	num, _ := err.(syscall.Errno)
	line := fmt.Sprintf("%s: got %v errno %d; Linux %v errno %d", what, ours, e, theirs, num)
	line = strings.ReplaceAll(line, m.top, modelTop)
	m.log = append(m.log, strings.ReplaceAll(line, strings.Repeat("n", 255), "NNN"))
	if Errno(num) != e || e == 0 && fmt.Sprint(ours) != fmt.Sprint(theirs) {
		m.fail = true
		m.t.Error(m.log[len(m.log)-1])
		return false
	}
	return e == 0
}

func (m *model) fd() (int, int, bool) {
	if len(m.fds) == 0 {
		return 0, 0, false
	}
	p := m.fds[m.rnd.Intn(len(m.fds))]
	return p[0], p[1], true
}

func (m *model) keep(a, b int) {
	m.fds = append(m.fds, [2]int{a, b})
}

func (m *model) open() {
	flags := []int{O_RDONLY, O_WRONLY, O_RDWR}[m.rnd.Intn(3)]
	for _, f := range []int{O_CREAT, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH} {
		if m.rnd.Intn(4) == 0 {
			flags |= f
		}
	}
	if m.host != nil {
		flags &^= O_PATH // does not keep what it led to, in a share
	}
	if flags&(O_CREAT|O_DIRECTORY) == O_CREAT|O_DIRECTORY {
		return // Linux changed its mind in 6.4
	}
	p, q := m.both()
	a, e := m.fs.Open(AT_FDCWD, p, flags, 0o666)
	b, err := syscall.Open(q, flags, 0o666)
	if m.check(fmt.Sprintf("open %s %#x", p, flags), 0, e, 0, err) {
		m.keep(a, b)
	}
}

func (m *model) close() {
	if len(m.fds) == 0 {
		return
	}
	i := m.rnd.Intn(len(m.fds))
	p := m.fds[i]
	m.fds = append(m.fds[:i], m.fds[i+1:]...)
	m.check("close", 0, m.fs.Close(p[0]), 0, syscall.Close(p[1]))
}

func (m *model) size() int { return []int{0, 1, 10, 4095, 4096, 5000, 70000}[m.rnd.Intn(7)] }

func (m *model) read() {
	a, b, ok := m.fd()
	if !ok {
		return
	}
	x, y := make([]byte, m.size()), []byte(nil)
	y = make([]byte, len(x))
	var n, k int
	var e Errno
	var err error
	if off := int64(m.rnd.Intn(100000) - 10); m.rnd.Intn(2) == 0 {
		n, e = m.fs.Pread(a, x, off)
		k, err = syscall.Pread(b, y, off)
	} else {
		n, e = m.fs.Read(a, x)
		k, err = syscall.Read(b, y)
	}
	if len(x) == 0 && e == EINVAL {
		return
	}
	if m.check(fmt.Sprintf("read %d %d", a, len(x)), n, e, k, err) && !bytes.Equal(x, y) {
		m.check("read content", "ours", 0, "theirs", nil)
	}
}

func (m *model) write() {
	a, b, ok := m.fd()
	if !ok {
		return
	}
	x := make([]byte, m.size())
	m.rnd.Read(x)
	if m.rnd.Intn(2) == 0 {
		off := int64(m.rnd.Intn(200000) - 10)
		n, e := m.fs.Pwrite(a, x, off)
		k, err := syscall.Pwrite(b, x, off)
		m.check(fmt.Sprintf("pwrite %d %d at %d", a, len(x), off), n, e, k, err)
		return
	}
	n, e := m.fs.Write(a, x)
	k, err := syscall.Write(b, x)
	m.check(fmt.Sprintf("write %d %d", a, len(x)), n, e, k, err)
}

func (m *model) seek() {
	a, b, ok := m.fd()
	if !ok {
		return
	}
	off, whence := int64(m.rnd.Intn(100000)-20), m.rnd.Intn(3)
	if st, _ := m.fs.Fstat(a); st.Mode&S_IFMT == S_IFDIR {
		off, whence = 0, SEEK_SET // positions in a directory mean nothing to others
	}
	n, e := m.fs.Seek(a, off, whence)
	k, err := syscall.Seek(b, off, whence)
	m.check(fmt.Sprintf("seek %d %d %d", a, off, whence), n, e, k, err)
}

func (m *model) truncate() {
	size := int64(m.rnd.Intn(100000) - 20)
	if m.rnd.Intn(2) == 0 {
		p, q := m.both()
		m.check(fmt.Sprintf("truncate %s %d", p, size), 0, m.fs.Truncate(p, size), 0, syscall.Truncate(q, size))
		return
	}
	if a, b, ok := m.fd(); ok {
		m.check(fmt.Sprintf("ftruncate %d %d", a, size), 0, m.fs.Ftruncate(a, size), 0, syscall.Ftruncate(b, size))
	}
}

func (m *model) mkdir() {
	p, q := m.both()
	m.check("mkdir "+p, 0, m.fs.Mkdir(AT_FDCWD, p, 0o777), 0, syscall.Mkdir(q, 0o777))
}

func (m *model) rmdir() {
	p, q := m.both()
	m.check("rmdir "+p, 0, m.fs.Unlink(AT_FDCWD, p, AT_REMOVEDIR), 0, syscall.Rmdir(q))
}

func (m *model) unlink() {
	p, q := m.both()
	m.check("unlink "+p, 0, m.fs.Unlink(AT_FDCWD, p, 0), 0, syscall.Unlink(q))
}

func (m *model) rename() {
	p, q := m.both()
	r, s := m.both()
	flags := []int{0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE}[m.rnd.Intn(5)]
	if m.host != nil && flags == RENAME_EXCHANGE {
		return // a share cannot
	}
	e := m.fs.Rename(AT_FDCWD, p, AT_FDCWD, r, flags)
	m.check(fmt.Sprintf("rename %s %s %d", p, r, flags), 0, e, 0, renameat2(q, s, flags))
}

func renameat2(old, new string, flags int) error {
	p, _ := syscall.BytePtrFromString(old)
	q, _ := syscall.BytePtrFromString(new)
	at := AT_FDCWD
	_, _, e := syscall.Syscall6(316, uintptr(at), uintptr(unsafe.Pointer(p)), uintptr(at), uintptr(unsafe.Pointer(q)), uintptr(flags), 0)
	if e != 0 {
		return e
	}
	return nil
}

func (m *model) link() {
	p, q := m.both()
	r, s := m.both()
	m.check("link "+p+" "+r, 0, m.fs.Link(AT_FDCWD, p, AT_FDCWD, r, 0), 0, syscall.Link(q, s))
}

func (m *model) symlink() {
	p, q := m.both()
	target := m.inside()
	m.check("symlink "+target+" "+p, 0, m.fs.Symlink(target, AT_FDCWD, p), 0, syscall.Symlink(target, q))
}

func (m *model) readlink() {
	p, q := m.both()
	x, y := make([]byte, 600), make([]byte, 600)
	n, e := m.fs.Readlink(AT_FDCWD, p, x)
	k, err := syscall.Readlink(q, y)
	m.check("readlink "+p, string(x[:n]), e, string(y[:max(k, 0)]), err)
}

// facts is what both sides agree on about a file.
func facts(mode, nlink uint32, size int64) string {
	if mode&S_IFMT == S_IFDIR {
		nlink, size = 0, 0
	}
	return fmt.Sprintf("%o nlink %d size %d", mode, nlink, size)
}

func (m *model) stat() {
	p, q := m.both()
	var st syscall.Stat_t
	var our Stat
	var e Errno
	var err error
	what := "lstat " + p
	switch a, b, ok := m.fd(); {
	case ok && m.rnd.Intn(3) == 0:
		what = fmt.Sprintf("fstat %d", a)
		our, e = m.fs.Fstat(a)
		err = syscall.Fstat(b, &st)
	case m.rnd.Intn(2) == 0:
		our, e = m.fs.Fstatat(AT_FDCWD, p, AT_SYMLINK_NOFOLLOW)
		err = syscall.Lstat(q, &st)
	default:
		what = "stat " + p
		our, e = m.fs.Fstatat(AT_FDCWD, p, 0)
		err = syscall.Stat(q, &st)
	}
	m.check(what, facts(our.Mode, uint32(our.Nlink), our.Size), e, facts(st.Mode, uint32(st.Nlink), st.Size), err)
}

func (m *model) readdir() {
	p, q := m.both()
	a, e := m.fs.Open(AT_FDCWD, p, O_DIRECTORY, 0)
	b, err := syscall.Open(q, O_DIRECTORY, 0)
	if !m.check("opendir "+p, 0, e, 0, err) {
		return
	}
	m.fs.Close(a)
	defer syscall.Close(b)
	var ours []string
	for name := range list(m.t, m.fs, p) {
		ours = append(ours, name)
	}
	sort.Strings(ours)
	f, err := os.Open(q)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	theirs, err := f.Readdirnames(-1)
	if err != nil {
		m.t.Fatal(err)
	}
	sort.Strings(theirs)
	m.check("readdir "+p, ours, 0, theirs, nil)
}

func (m *model) chmod() {
	p, q := m.both()
	mode := uint32(0o700 | m.rnd.Intn(0o100))
	m.check(fmt.Sprintf("chmod %s %o", p, mode), 0, m.fs.Chmod(AT_FDCWD, p, mode, 0), 0, syscall.Chmod(q, mode))
}

func (m *model) access() {
	p, q := m.both()
	m.check("access "+p, 0, m.fs.Access(AT_FDCWD, p, 4, 0), 0, syscall.Access(q, 4))
}

func (m *model) content() {
	p, q := m.both()
	a, e := m.fs.Open(AT_FDCWD, p, O_RDONLY, 0)
	b, err := syscall.Open(q, O_RDONLY, 0)
	if !m.check("open "+p, 0, e, 0, err) {
		return
	}
	defer m.fs.Close(a)
	defer syscall.Close(b)
	if st, _ := m.fs.Fstat(a); st.Mode&S_IFMT != S_IFREG {
		return
	}
	theirs, err := os.ReadFile(q)
	if err != nil {
		m.t.Fatal(err)
	}
	if ours := drain(m.t, m.fs, a); ours != string(theirs) {
		m.check("content "+p, len(ours), 0, fmt.Sprint(len(theirs), " other bytes"), nil)
	}
}

func (m *model) copyRange() {
	a, b, ok := m.fd()
	c, d, _ := m.fd()
	if !ok {
		return
	}
	from, to, n := int64(m.rnd.Intn(50000)), int64(m.rnd.Intn(50000)), m.size()
	if n == 0 {
		return
	}
	f, g := from, to
	k, e := m.fs.CopyRange(a, &f, c, &g, n)
	r, _, num := syscall.Syscall6(326, uintptr(b), uintptr(unsafe.Pointer(&from)), uintptr(d), uintptr(unsafe.Pointer(&to)), uintptr(n), 0)
	var err error
	if num != 0 {
		err = num
	}
	m.check(fmt.Sprintf("copy_file_range %d %d %d", a, c, n), k, e, int(r), err)
}

func (m *model) fallocate() {
	a, b, ok := m.fd()
	if !ok {
		return
	}
	mode := []int{0, 1, 3, 0x10, 0x11}[m.rnd.Intn(5)]
	if m.host != nil {
		mode &= 1 // a share can grow a file and no more
	}
	off, n := int64(m.rnd.Intn(50000)), int64(m.rnd.Intn(50000))
	e := m.fs.Fallocate(a, mode, off, n)
	err := syscall.Fallocate(b, uint32(mode), off, n)
	m.check(fmt.Sprintf("fallocate %d %#x %d %d", a, mode, off, n), 0, e, 0, err)
}

func (m *model) dup() {
	a, b, ok := m.fd()
	if !ok {
		return
	}
	c, e := m.fs.Dup(a)
	d, err := syscall.Dup(b)
	if m.check("dup", 0, e, 0, err) {
		m.keep(c, d)
	}
}

func (m *model) getcwd() {
	s, e := m.fs.Getcwd()
	m.check("getcwd", s, e, "/", nil)
}

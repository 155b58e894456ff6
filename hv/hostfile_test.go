package hv

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// share is a machine with a folder, and a file and a folder outside it.
type share struct {
	*VM
	t        *testing.T
	dir, out string
}

func newShare(t *testing.T, writable bool) *share {
	t.Helper()
	top := t.TempDir()
	s := &share{t: t, dir: filepath.Join(top, "share"), out: filepath.Join(top, "secret")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(s.dir, 0o755))
	must(os.WriteFile(s.out, []byte("secret"), 0o644))
	must(os.Mkdir(filepath.Join(top, "outside"), 0o755))
	must(os.WriteFile(filepath.Join(s.dir, "f"), []byte("contents"), 0o644))
	must(os.Mkdir(filepath.Join(s.dir, "d"), 0o755))
	must(os.Symlink("../secret", filepath.Join(s.dir, "relative")))
	must(os.Symlink(s.out, filepath.Join(s.dir, "absolute")))
	must(os.Symlink("../outside", filepath.Join(s.dir, "folder")))
	must(os.Symlink("f", filepath.Join(s.dir, "inside")))
	must(os.Symlink("loop", filepath.Join(s.dir, "loop")))
	must(syscall.Mkfifo(filepath.Join(s.dir, "fifo"), 0o644))
	root, err := os.OpenRoot(s.dir)
	must(err)
	s.VM, _ = newConsoleVM(t, Config{})
	second, err := os.OpenRoot(filepath.Join(s.dir, "d"))
	must(err)
	s.cfg.Shares = []Share{{Root: root, Guest: "/share", Writable: writable}, {Root: second, Guest: "/second"}}
	t.Cleanup(func() { s.files.close(); root.Close(); second.Close() })
	return s
}

// Where the tests put a call's parts.
const (
	argsAt = scratch
	pathAt = scratch + pageSize
	bufAt  = scratch + 4*pageSize
	bufLen = 12 * pageSize
)

// do makes the call with path copied in; Buf is bufAt when BufLen is given.
func (s *share) do(a hypercall.HostFileArgs, path string) int64 {
	s.t.Helper()
	if path != "" {
		a.Path, a.PathLen = pathAt, uint64(len(path))
		if st := s.space.copyOut(pathAt, []byte(path)); st != 0 {
			s.t.Fatal(st)
		}
	}
	if a.BufLen != 0 && a.Buf == 0 {
		a.Buf = bufAt
	}
	s.space.copyOut(argsAt, bytesOf(&a))
	return s.dispatch(hypercall.CallHostFile, callArgs{argsAt})
}

func (s *share) open(path string, flags uint32) int64 {
	s.t.Helper()
	return s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Flags: flags, Mode: 0o644}, path)
}

func (s *share) buf(n int64) string {
	b := make([]byte, n)
	s.space.copyIn(b, bufAt)
	return string(b)
}

func (s *share) errno(what string, got int64, want hypercall.Status) {
	s.t.Helper()
	if got != -int64(want) {
		s.t.Errorf("%s: %d, want %d", what, got, -int64(want))
	}
}

// TestHostFileEscape: no path leads out of the folder.
func TestHostFileEscape(t *testing.T) {
	s := newShare(t, true)
	before, _ := os.ReadDir(filepath.Dir(s.dir))
	for _, path := range []string{"relative", "absolute", "folder/x", "folder", "./relative", "d/../relative", "/absolute"} {
		for _, flags := range []uint32{hypercall.HostFileRDONLY, hypercall.HostFileRDWR, hypercall.HostFileRDWR | hypercall.HostFileCREATE | hypercall.HostFileTRUNC} {
			if h := s.open(path, flags); h >= 0 {
				t.Errorf("open %q with flags %#x: handle %d", path, flags, h)
			}
		}
	}
	// ".." stays at the top, as it does in a root folder.
	for _, path := range []string{"../secret", "../../../../etc/passwd", "d/../../secret", "/../secret"} {
		s.errno("open "+path, s.open(path, 0), hypercall.ENOENT)
	}
	s.errno("open a loop", s.open("loop", 0), hypercall.ELOOP)
	for op, want := range map[hypercall.HostFileOp]bool{hypercall.HostFileMkdir: true, hypercall.HostFileRemove: true} {
		if got := s.do(hypercall.HostFileArgs{Op: op, Mode: 0o755}, "folder/new"); (got < 0) != want {
			t.Errorf("operation %d outside: %d", op, got)
		}
	}
	s.space.copyOut(bufAt, []byte("folder/f"))
	if got := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileRename, BufLen: 8}, "f"); got >= 0 {
		t.Errorf("rename to the outside: %d", got)
	}
	if b, _ := os.ReadFile(s.out); string(b) != "secret" {
		t.Errorf("the file outside holds %q", b)
	}
	if after, _ := os.ReadDir(filepath.Dir(s.dir)); len(after) != len(before) {
		t.Errorf("outside are now %v", after)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "f")); err != nil {
		t.Error(err)
	}
}

// TestHostFileSpecial: what is neither file nor folder is not opened, and does
// not hold the machine up.
func TestHostFileSpecial(t *testing.T) {
	s := newShare(t, true)
	s.errno("FIFO to read", s.open("fifo", hypercall.HostFileRDONLY), hypercall.EACCES)
	if h := s.open("fifo", hypercall.HostFileWRONLY); h >= 0 {
		t.Errorf("FIFO to write: %d", h)
	}
	s.errno("FIFO to read and write", s.open("fifo", hypercall.HostFileRDWR), hypercall.EACCES)
	s.errno("folder to write", s.open("d", hypercall.HostFileRDWR), hypercall.EISDIR)
	if n := len(s.files.open); n != 0 {
		t.Errorf("%d handles", n)
	}
	s.errno("symlink without following", s.open("inside", hypercall.HostFileNOFOLLOW), hypercall.ELOOP)
}

func TestHostFileReadOnly(t *testing.T) {
	s := newShare(t, false)
	for _, flags := range []uint32{hypercall.HostFileWRONLY, hypercall.HostFileRDWR, hypercall.HostFileCREATE, hypercall.HostFileTRUNC, hypercall.HostFileCREATE | hypercall.HostFileEXCL} {
		s.errno(fmt.Sprintf("open with %#x", flags), s.open("f", flags), hypercall.EROFS)
	}
	h := s.open("f", hypercall.HostFileRDONLY)
	if h <= 0 {
		t.Fatalf("open: %d", h)
	}
	for _, op := range []hypercall.HostFileOp{hypercall.HostFileWrite, hypercall.HostFileTruncate} {
		s.errno("write", s.do(hypercall.HostFileArgs{Op: op, Handle: uint64(h), BufLen: 1}, ""), hypercall.EROFS)
	}
	for _, op := range []hypercall.HostFileOp{hypercall.HostFileMkdir, hypercall.HostFileRemove, hypercall.HostFileRename} {
		s.errno("change", s.do(hypercall.HostFileArgs{Op: op, BufLen: 1}, "f"), hypercall.EROFS)
	}
	if b, _ := os.ReadFile(filepath.Join(s.dir, "f")); string(b) != "contents" {
		t.Errorf("the file holds %q", b)
	}
}

func TestHostFileData(t *testing.T) {
	s := newShare(t, true)
	h := uint64(s.open("new", hypercall.HostFileRDWR|hypercall.HostFileCREATE|hypercall.HostFileEXCL))
	s.errno("again", s.open("new", hypercall.HostFileRDWR|hypercall.HostFileCREATE|hypercall.HostFileEXCL), hypercall.EEXIST)
	s.space.copyOut(bufAt, []byte(strings.Repeat("x", 3*pageSize)))
	for _, test := range []struct {
		op   hypercall.HostFileOp
		n    uint64
		off  int64
		want int64
	}{
		{hypercall.HostFileWrite, 3 * pageSize, 100, 3 * pageSize},
		{hypercall.HostFileRead, 4 * pageSize, 0, 3*pageSize + 100},
		{hypercall.HostFileRead, 10, 3*pageSize + 95, 5},
		{hypercall.HostFileRead, 10, 3*pageSize + 100, 0},
		{hypercall.HostFileRead, 10, 1 << 60, 0},
		{hypercall.HostFileRead, 0, 0, 0},
		{hypercall.HostFileTruncate, 0, 7, 0},
		{hypercall.HostFileRead, 100, 0, 7},
		{hypercall.HostFileSync, 0, 0, 0},
		{hypercall.HostFileRead, hypercall.MaxConsole + 1, 0, -int64(hypercall.EINVAL)},
		{hypercall.HostFileRead, 100, -1, -int64(hypercall.EINVAL)},
		{hypercall.HostFileRead, bufLen + 1, 0, -int64(hypercall.EFAULT)},
		{hypercall.HostFileReaddir, 100, 0, -int64(hypercall.ENOTDIR)},
		{0, 0, 0, -int64(hypercall.EINVAL)},
		{hypercall.HostFileEnd, 0, 0, -int64(hypercall.EINVAL)},
		{1 << 31, 0, 0, -int64(hypercall.EINVAL)},
		{hypercall.HostFileWrite, 16, 1<<63 - 8, -int64(hypercall.EINVAL)},
	} {
		got := s.do(hypercall.HostFileArgs{Op: test.op, Handle: h, BufLen: test.n, Offset: test.off}, "")
		if got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
	s.errno("close", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileClose, Handle: h}, ""), 0)
	s.errno("close again", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileClose, Handle: h}, ""), hypercall.EBADF)
	s.errno("no handle", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: 1 << 63}, ""), hypercall.EBADF)
	s.errno("no share", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileSync, Handle: h, Share: 2}, ""), hypercall.EINVAL)
	a := uint64(s.open("f", hypercall.HostFileWRONLY|hypercall.HostFileAPPEND))
	s.space.copyOut(bufAt, []byte("+more"))
	if n := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileWrite, Handle: a, BufLen: 5}, ""); n != 5 {
		t.Errorf("append: %d", n)
	}
	if b, _ := os.ReadFile(filepath.Join(s.dir, "f")); string(b) != "contents+more" {
		t.Errorf("the file holds %q", b)
	}
}

func TestHostFilePaths(t *testing.T) {
	s := newShare(t, true)
	s.errno("flags", s.open("f", 1<<30), hypercall.EINVAL)
	s.errno("access mode", s.open("f", 3), hypercall.EINVAL)
	s.errno("NUL", s.open("f\x00g", 0), hypercall.EINVAL)
	s.errno("empty", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Path: pathAt}, ""), hypercall.ENAMETOOLONG)
	s.errno("long", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Path: pathAt, PathLen: hypercall.MaxPath + 1}, ""), hypercall.ENAMETOOLONG)
	s.errno("endless", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Path: pathAt, PathLen: 1<<64 - 1}, ""), hypercall.ENAMETOOLONG)
	s.errno("nowhere", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Path: 8, PathLen: 8}, ""), hypercall.EFAULT)
	s.errno("long name", s.open(strings.Repeat("n", 300), 0), hypercall.ENAMETOOLONG)
	s.errno("arguments nowhere", s.dispatch(hypercall.CallHostFile, callArgs{scratch + 16*pageSize - 63}), hypercall.EFAULT)
	if n := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileReadlink, BufLen: 4}, "inside"); n != 1 || s.buf(1) != "f" {
		t.Errorf("readlink: %d", n)
	}
	s.errno("readlink of a file", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileReadlink, BufLen: 4}, "f"), hypercall.EINVAL)
	if n := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileStat, BufLen: 80}, "absolute"); n != 80 || binary.LittleEndian.Uint32([]byte(s.buf(80))[64:])&syscall.S_IFMT != syscall.S_IFLNK {
		t.Errorf("stat of a symlink: %d", n)
	}
	if n := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileStat, BufLen: 7}, "f"); n != 7 {
		t.Errorf("stat into a short buffer: %d", n)
	}
	for _, path := range []string{".", "/", "..", "d/.."} {
		if r := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileRemove}, path); r >= 0 {
			t.Errorf("remove %q: %d", path, r)
		}
	}
	s.cfg.Shares = nil
	s.errno("nothing shared", s.open("f", 0), hypercall.ENOSYS)
}

// TestHostFileReaddir lists a folder through buffers of every size, and one
// with more entries than are held at once.
func TestHostFileReaddir(t *testing.T) {
	s := newShare(t, true)
	many := filepath.Join(s.dir, "many")
	os.Mkdir(many, 0o755)
	for i := range 700 {
		os.WriteFile(filepath.Join(many, fmt.Sprintf("file%0*d", 1+i%40, i)), nil, 0o644)
	}
	for _, size := range []uint64{64, 65, 100, 1000, bufLen} {
		h := uint64(s.open("many", 0))
		seen := map[string]bool{}
		for {
			n := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileReaddir, Handle: h, BufLen: size}, "")
			if n <= 0 {
				s.errno(fmt.Sprintf("end, buffer of %d", size), n, 0)
				break
			}
			for b := []byte(s.buf(n)); len(b) > 0; {
				k := int(binary.LittleEndian.Uint32(b[12:]))
				if typ := binary.LittleEndian.Uint32(b[8:]); typ != syscall.S_IFREG || binary.LittleEndian.Uint64(b) == 0 {
					t.Fatalf("type %#o, inode %d", typ, binary.LittleEndian.Uint64(b))
				}
				seen[string(b[16:16+k])] = true
				b = b[(16+k+7)&^7:]
			}
			if held := len(s.files.open[h].entries); held > readdirStep {
				t.Fatalf("%d entries are held", held)
			}
		}
		if len(seen) != 700 {
			t.Errorf("buffer of %d: %d names", size, len(seen))
		}
	}
	h := uint64(s.open("many", 0))
	s.errno("tiny buffer", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileReaddir, Handle: h, BufLen: 16}, ""), hypercall.EINVAL)
}

func TestHostFileTooMany(t *testing.T) {
	s := newShare(t, true)
	for i := range maxHostFiles {
		if h := s.open("f", 0); h <= 0 {
			t.Fatalf("handle %d: %d", i, h)
		}
	}
	s.errno("one more", s.open("f", 0), hypercall.EMFILE)
	s.do(hypercall.HostFileArgs{Op: hypercall.HostFileClose, Handle: 5}, "")
	if h := s.open("f", 0); h <= 0 {
		t.Errorf("after a close: %d", h)
	}
	if err := s.files.close(); err != nil {
		t.Error(err)
	}
}

func TestRetried(t *testing.T) {
	n := 0
	err := retried(func() error {
		if n++; n < 4 {
			return unix.EINTR
		}
		return unix.EIO
	})
	if n != 4 || err != unix.EIO {
		t.Errorf("%d calls, %v", n, err)
	}
}

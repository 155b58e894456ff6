package hv

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// named does an operation with a second name in the buffer.
func (s *share) named(op hypercall.HostFileOp, path, second string) int64 {
	s.t.Helper()
	s.space.copyOut(bufAt, []byte(second))
	return s.do(hypercall.HostFileArgs{Op: op, BufLen: uint64(len(second))}, path)
}

func (s *share) attr(path string) (a hypercall.HostFileAttr) {
	s.t.Helper()
	if n := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileStat, BufLen: 80}, path); n != 80 {
		s.t.Fatalf("stat %s: %d", path, n)
	}
	s.space.copyIn(bytesOf(&a), bufAt)
	return a
}

// TestHostFileReadOnlyChanges: every operation that is not known to leave a
// folder alone is refused in one that is shared read-only.
func TestHostFileReadOnlyChanges(t *testing.T) {
	s := newShare(t, false)
	h := uint64(s.open("f", hypercall.HostFileRDONLY))
	before := s.attr("f")
	reads := map[hypercall.HostFileOp]bool{
		hypercall.HostFileOpen: true, hypercall.HostFileClose: true, hypercall.HostFileRead: true,
		hypercall.HostFileStat: true, hypercall.HostFileReaddir: true, hypercall.HostFileSync: true,
		hypercall.HostFileReadlink: true, hypercall.HostFileStatfs: true, hypercall.HostFileSeek: true,
		hypercall.HostFileLock: true, hypercall.HostFileMap: true,
	}
	for op := hypercall.HostFileOp(1); op < hypercall.HostFileEnd; op++ {
		if reads[op] {
			continue
		}
		s.space.copyOut(bufAt, make([]byte, 16))
		s.errno("by path", s.do(hypercall.HostFileArgs{Op: op, Handle: h, BufLen: 16}, "f"), hypercall.EROFS)
		s.errno("by handle", s.do(hypercall.HostFileArgs{Op: op, Handle: h, BufLen: 16}, ""), hypercall.EROFS)
	}
	if after := s.attr("f"); after != before {
		t.Errorf("%+v, then %+v", before, after)
	}
}

// TestHostFileShares: a handle opens no other share's rights, and a number that
// is none is refused.
func TestHostFileShares(t *testing.T) {
	s := newShare(t, true)
	os.WriteFile(filepath.Join(s.dir, "d", "inner"), []byte("inner"), 0o644)
	s.errno("file of the first in the second", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Share: 1}, "f"), hypercall.ENOENT)
	s.errno("up from the second", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Share: 1}, "../f"), hypercall.ENOENT)
	s.errno("write in the second", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Share: 1, Flags: hypercall.HostFileRDWR}, "inner"), hypercall.EROFS)
	h := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Share: 1}, "inner")
	if h <= 0 {
		t.Fatal(h)
	}
	for _, op := range []hypercall.HostFileOp{hypercall.HostFileRead, hypercall.HostFileChmod, hypercall.HostFileSetTimes, hypercall.HostFileTruncate, hypercall.HostFileClose} {
		s.errno("handle of the second in the first", s.do(hypercall.HostFileArgs{Op: op, Handle: uint64(h), BufLen: 16, Mode: 0o777}, ""), hypercall.EBADF)
	}
	for _, share := range []uint32{2, 1 << 31, 1<<32 - 1} {
		s.errno("no such share", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Share: share}, "f"), hypercall.EINVAL)
	}
	if st, _ := os.Stat(filepath.Join(s.dir, "d", "inner")); st.Mode().Perm() != 0o644 {
		t.Error(st.Mode())
	}
}

// TestHostFileNames: links are made and never lead the host out.
func TestHostFileNames(t *testing.T) {
	s := newShare(t, true)
	s.errno("link", s.named(hypercall.HostFileLink, "f", "d/hard"), 0)
	if a, b := s.attr("f"), s.attr("d/hard"); a.Ino != b.Ino || a.NLink != 2 {
		t.Errorf("%+v and %+v", a, b)
	}
	s.errno("link again", s.named(hypercall.HostFileLink, "f", "d/hard"), hypercall.EEXIST)
	s.errno("link of a folder", s.named(hypercall.HostFileLink, "d", "e"), hypercall.EPERM)
	for _, target := range []string{"../secret", s.out, "/etc/passwd", "f"} {
		s.errno("symlink", s.named(hypercall.HostFileSymlink, "new", target), 0)
		if got, _ := os.Readlink(filepath.Join(s.dir, "new")); got != target {
			t.Errorf("the link says %q, want %q", got, target)
		}
		h := s.open("new", hypercall.HostFileRDWR)
		if inside := target == "f"; inside != (h > 0) {
			t.Errorf("open through a link to %s: %d", target, h)
		}
		for _, op := range []hypercall.HostFileOp{hypercall.HostFileChmod, hypercall.HostFileSetTimes} {
			s.space.copyOut(bufAt, make([]byte, 16))
			if got := s.do(hypercall.HostFileArgs{Op: op, Mode: 0o700, BufLen: 16}, "new"); (target == "f") != (got == 0) {
				t.Errorf("operation %d through a link to %s: %d", op, target, got)
			}
		}
		s.errno("remove", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileRemove}, "new"), 0)
	}
	if st, _ := os.Stat(s.out); st.Mode().Perm() != 0o644 || st.ModTime().Unix() == 0 {
		t.Errorf("the file outside: %v %v", st.Mode(), st.ModTime())
	}
	for _, op := range []hypercall.HostFileOp{hypercall.HostFileLink, hypercall.HostFileRename} {
		if r := s.named(op, "absolute", "taken"); r < 0 {
			t.Errorf("operation %d of a link itself: %d", op, r)
		}
		os.Remove(filepath.Join(s.dir, "taken"))
		os.Symlink(s.out, filepath.Join(s.dir, "absolute"))
		if r := s.named(op, "f", "folder/taken"); r >= 0 {
			t.Errorf("operation %d to the outside: %d", op, r)
		}
		if r := s.named(op, "folder/x", "taken"); r >= 0 {
			t.Errorf("operation %d from the outside: %d", op, r)
		}
	}
	s.errno("empty target", s.named(hypercall.HostFileSymlink, "new", ""), hypercall.ENAMETOOLONG)
	s.errno("NUL in the target", s.named(hypercall.HostFileSymlink, "new", "a\x00b"), hypercall.EINVAL)
}

// TestHostFileRename: what renames do is what rename(2) does, and they stay in
// the share.
func TestHostFileRename(t *testing.T) {
	s := newShare(t, true)
	for _, dir := range []string{"full/sub", "empty", "other"} {
		os.MkdirAll(filepath.Join(s.dir, dir), 0o755)
	}
	os.Symlink(filepath.Dir(s.out), filepath.Join(s.dir, "away"))
	for _, test := range []struct {
		from, to string
		want     hypercall.Status
	}{
		{"empty", "full", hypercall.ENOTEMPTY},
		{"full", "empty", 0},
		{"full", "x", hypercall.ENOENT},
		{"f", "empty", hypercall.EISDIR},
		{"empty", "f", hypercall.ENOTDIR},
		{"empty", "empty/sub/x", hypercall.EINVAL},
		{".", "x", hypercall.Status(syscall.EBUSY)},
		{"f", ".", hypercall.Status(syscall.EBUSY)},
		{"f", "away/f", hypercall.EACCES},
		{"away/" + filepath.Base(s.out), "x", hypercall.EACCES},
		{"f", "../../f2", 0},
	} {
		s.errno("rename "+test.from+" to "+test.to, s.named(hypercall.HostFileRename, test.from, test.to), test.want)
	}
	for _, name := range []string{"empty/sub", "f2"} {
		if _, err := os.Lstat(filepath.Join(s.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestHostFilePermissions: the mask of the host's process has no say, and
// set-id bits are refused.
func TestHostFilePermissions(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	s := newShare(t, true)
	h := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Flags: hypercall.HostFileCREATE | hypercall.HostFileRDWR, Mode: 0o666, BufLen: 80}, "new")
	var a hypercall.HostFileAttr
	s.space.copyIn(bytesOf(&a), bufAt)
	if h <= 0 || a.Mode != syscall.S_IFREG|0o666 || a != s.attr("new") {
		t.Errorf("handle %d, %+v, then %+v", h, a, s.attr("new"))
	}
	s.errno("mkdir", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileMkdir, Mode: 0o777}, "sub"), 0)
	if a := s.attr("sub"); a.Mode != syscall.S_IFDIR|0o777 {
		t.Errorf("%o", a.Mode)
	}
	for mode, want := range map[uint32]hypercall.Status{
		0: 0, 0o640: 0, 0o1777: 0, 0o4755: hypercall.EPERM, 0o2755: hypercall.EPERM, 0o6755: hypercall.EPERM,
		0o10000: hypercall.EINVAL, syscall.S_IFREG | 0o644: hypercall.EINVAL, 1 << 31: hypercall.EINVAL,
	} {
		before := s.attr("sub").Mode
		s.errno("chmod", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileChmod, Mode: mode}, "sub"), want)
		if want == 0 {
			before = syscall.S_IFDIR | mode
		}
		if got := s.attr("sub").Mode; got != before {
			t.Errorf("chmod %o: %o, want %o", mode, got, before)
		}
	}
	s.errno("chmod by handle", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileChmod, Handle: uint64(h), Mode: 0o600}, ""), 0)
	if a := s.attr("new"); a.Mode&0o7777 != 0o600 {
		t.Errorf("%o", a.Mode)
	}
}

func TestHostFileTimes(t *testing.T) {
	s := newShare(t, true)
	h := uint64(s.open("f", hypercall.HostFileRDONLY))
	set := func(a, m int64, path string, handle uint64) {
		t.Helper()
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:], uint64(a))
		binary.LittleEndian.PutUint64(b[8:], uint64(m))
		s.space.copyOut(bufAt, b[:])
		s.errno("set times", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileSetTimes, Handle: handle, BufLen: 16}, path), 0)
	}
	for i, by := range []string{"f", ""} {
		at := int64(time.Hour) * int64(i+1)
		set(at+1, at+2, by, h)
		if a := s.attr("f"); a.ATime != at+1 || a.MTime != at+2 {
			t.Errorf("%d: %+v", i, a)
		}
		set(hypercall.HostFileOmit, -5, by, h)
		if a := s.attr("f"); a.ATime != at+1 || a.MTime != -5 {
			t.Errorf("%d: %+v", i, a)
		}
		set(7, hypercall.HostFileOmit, by, h)
		if a := s.attr("f"); a.ATime != 7 || a.MTime != -5 {
			t.Errorf("%d: %+v", i, a)
		}
	}
	for _, n := range []uint64{0, 8, 15, 17, 100} {
		s.errno("length", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileSetTimes, BufLen: n}, "f"), hypercall.EINVAL)
	}
}

// meanwhile does f again and again until stop, which waits for its end.
func meanwhile(f func()) (stop func()) {
	enough, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-enough:
				return
			default:
				f()
			}
		}
	}()
	return func() { close(enough); <-done }
}

// TestHostFileSwap: a folder, or a file, that turns into a link to the outside
// and back while calls go through it never leads there.
func TestHostFileSwap(t *testing.T) {
	s := newShare(t, true)
	way, kept := filepath.Join(s.dir, "way"), filepath.Join(s.dir, "kept")
	outside := filepath.Join(filepath.Dir(s.dir), "outside")
	os.Mkdir(way, 0o755)
	os.WriteFile(filepath.Join(way, "x"), []byte("inside"), 0o644)
	os.WriteFile(filepath.Join(outside, "x"), []byte("secret"), 0o600)
	last, keptLast := filepath.Join(s.dir, "last"), filepath.Join(s.dir, "keptLast")
	os.WriteFile(last, []byte("inside"), 0o644)
	stop := meanwhile(func() {
		os.Rename(way, kept)
		os.Symlink("../outside", way)
		os.Remove(way)
		os.Rename(kept, way)
		os.Rename(last, keptLast)
		os.Symlink("../outside/x", last)
		os.Rename(keptLast, last)
	})
	seen, modes := 0, map[bool]int{}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		h := s.open("way/x", hypercall.HostFileRDONLY)
		if h > 0 {
			n := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileRead, Handle: uint64(h), BufLen: 10}, "")
			if got := s.buf(n); got != "inside" {
				t.Fatalf("read %q", got)
			}
			s.do(hypercall.HostFileArgs{Op: hypercall.HostFileClose, Handle: uint64(h)}, "")
			seen++
		}
		s.do(hypercall.HostFileArgs{Op: hypercall.HostFileChmod, Mode: 0o644}, "way/x")
		for range 5 {
			modes[s.do(hypercall.HostFileArgs{Op: hypercall.HostFileChmod, Mode: 0o644}, "last") == 0]++
		}
		s.do(hypercall.HostFileArgs{Op: hypercall.HostFileMkdir, Mode: 0o755}, "way/made")
		times := hypercall.HostFileTimes{ATime: 1e18, MTime: 1e18}
		s.space.copyOut(bufAt, bytesOf(&times))
		for _, name := range []string{"way/x", "last"} {
			s.do(hypercall.HostFileArgs{Op: hypercall.HostFileSetTimes, Flags: hypercall.HostFileNOFOLLOW, BufLen: 16}, name)
			s.do(hypercall.HostFileArgs{Op: hypercall.HostFileStatfs, BufLen: 56}, name)
		}
	}
	stop()
	if list, _ := os.ReadDir(outside); len(list) != 1 {
		t.Errorf("outside are now %v", list)
	}
	if st, _ := os.Stat(filepath.Join(outside, "x")); st.Mode().Perm() != 0o600 || seen == 0 || st.ModTime().UnixNano() == 1e18 {
		t.Errorf("outside: %v, %v; inside was seen %d times", st.Mode(), st.ModTime(), seen)
	}
	if modes[true] == 0 || modes[false] == 0 {
		t.Logf("chmod of the last name: done %d times, refused %d times", modes[true], modes[false])
	}
}

// TestHostFileMkdirSwap: a program that takes the place of a new folder, which
// another machine can do, does not get the folder's set-group-id bit.
func TestHostFileMkdirSwap(t *testing.T) {
	s := newShare(t, true)
	defer syscall.Umask(syscall.Umask(0o022))
	group, program := filepath.Join(s.dir, "group"), filepath.Join(s.dir, "program")
	made := filepath.Join(group, "made")
	os.Mkdir(group, 0o755)
	os.Chmod(group, 0o755|os.ModeSetgid)
	os.WriteFile(program, nil, 0o755)
	stop := meanwhile(func() {
		if syscall.Rmdir(made) == nil && os.Link(program, made) == nil {
			os.Remove(made)
		}
	})
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		s.do(hypercall.HostFileArgs{Op: hypercall.HostFileMkdir, Mode: 0o777}, "group/made")
	}
	stop()
	if st, err := os.Stat(program); err != nil || st.Mode()&os.ModeSetgid != 0 {
		t.Errorf("the program is now %v (%v)", st.Mode(), err)
	}
	os.Remove(made)
	s.errno("mkdir", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileMkdir, Mode: 0o070}, "group/made"), 0)
	if a := s.attr("group/made"); a.Mode&0o7777 != 0o2070 {
		t.Errorf("%o", a.Mode)
	}
}

// TestShareConfig: what the guest is told, and what is no share.
func TestShareConfig(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	vm := newTestVM(t, 200)
	vm.cfg.Shares = []Share{{Root: root, Guest: "/src//a/", Writable: true}, {Root: root, Guest: "/lib"}}
	vm.start = startInfo{}
	if err := vm.describeShares(); err != nil {
		t.Fatal(err)
	}
	info, blob := &vm.start.info, vm.start.blob
	at := func(a hypercall.GVA) []byte {
		return blob[uint64(a)-uint64(hypercall.StartInfoGVA)-uint64(len(bytesOf(info))):]
	}
	if info.ShareCount != 2 || info.Shares.Len != 48 || info.Shares.Addr%8 != 0 {
		t.Fatalf("%+v", info)
	}
	for i, want := range []struct {
		path  string
		flags uint64
	}{{"/src/a", hypercall.ShareWritable}, {"/lib", 0}} {
		var r hypercall.Share
		copy(bytesOf(&r), at(info.Shares.Addr)[24*i:])
		if got := string(at(r.Path.Addr)[:r.Path.Len]); got != want.path || r.Flags != want.flags {
			t.Errorf("share %d: %q, %d", i, got, r.Flags)
		}
	}
	for _, bad := range []Share{{Guest: "/a"}, {Root: root, Guest: ""}, {Root: root, Guest: "a"}, {Root: root, Guest: "/"},
		{Root: root, Guest: "/a/.."}, {Root: root, Guest: "/a\x00"}, {Root: root, Guest: "/src/./a"}} {
		vm.cfg.Shares = []Share{{Root: root, Guest: "/src/a"}, bad}
		var host *HostError
		if err := vm.describeShares(); !errors.As(err, &host) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// FuzzHostFile makes calls of random parts on a writable and a read-only share.
func FuzzHostFile(f *testing.F) {
	for op := range byte(hypercall.HostFileEnd) {
		f.Add([]byte{1, 0, 2, 0, 0, op, 0, 2, 1, 7, op, 1, 1, 9, 3})
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		s := newShare(t, true)
		paths := []string{"", "f", "d", "d/x", "folder/f", "../secret", "absolute", "loop", "new", ".", "fifo", "inside", "relative", "a/../..", "new/f", s.out}
		for ; len(program) >= 5; program = program[5:] {
			p := program
			s.space.copyOut(bufAt, []byte(paths[p[3]%16]))
			a := hypercall.HostFileArgs{Op: hypercall.HostFileOp(p[0] % byte(hypercall.HostFileEnd+1)), Share: uint32(p[1] % 3), Handle: uint64(p[2] >> 4),
				BufLen: uint64(len(paths[p[3]%16])), Flags: 1 << (p[4] % 20) &^ 1, Mode: uint32(p[4]) << 2, Offset: int64(p[3]) << 12, Length: uint64(p[4]) << (p[3] % 64)}
			if p[1]&0x80 != 0 {
				a.Flags |= hypercall.HostFileCREATE | hypercall.HostFileRDWR
			}
			s.do(a, paths[p[2]%16])
		}
		if b, err := os.ReadFile(s.out); string(b) != "secret" || err != nil {
			t.Errorf("the file outside holds %q, %v", b, err)
		}
		if list, _ := os.ReadDir(filepath.Join(filepath.Dir(s.dir), "outside")); len(list) != 0 {
			t.Errorf("outside are %v", list)
		}
		if st, err := os.Stat(s.out); err != nil || st.Mode().Perm() != 0o644 || st.Sys().(*syscall.Stat_t).Nlink != 1 {
			t.Errorf("the file outside: %v", st)
		}
	})
}

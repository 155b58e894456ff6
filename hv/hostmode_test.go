package hv

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

// TestHostFileSetID: what a guest has open for writing is no set-id program,
// also when the host is root, whose writes keep those bits.
func TestHostFileSetID(t *testing.T) {
	s := newShare(t, true)
	program := filepath.Join(s.dir, "program")
	for _, c := range []struct {
		flags uint32
		drops bool
	}{
		{hypercall.HostFileRDONLY, false}, {hypercall.HostFileDIRECTORY, false},
		{hypercall.HostFileWRONLY, true}, {hypercall.HostFileRDWR, true}, {hypercall.HostFileRDONLY | hypercall.HostFileTRUNC, true},
		{hypercall.HostFileRDWR | hypercall.HostFileTRUNC, true}, {hypercall.HostFileWRONLY | hypercall.HostFileAPPEND, true},
		{hypercall.HostFileRDWR | hypercall.HostFileCREATE, true}, {hypercall.HostFileRDWR | hypercall.HostFileNOFOLLOW, true},
	} {
		for _, bits := range []uint32{syscall.S_ISUID, syscall.S_ISGID, syscall.S_ISUID | syscall.S_ISGID} {
			os.Remove(program)
			os.WriteFile(program, []byte("program"), 0o755)
			if err := syscall.Chmod(program, bits|0o751); err != nil {
				t.Fatal(err)
			}
			h := s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Flags: c.flags, Mode: 0o751, BufLen: 80}, "program")
			if h <= 0 {
				if c.flags != hypercall.HostFileDIRECTORY {
					t.Errorf("open with %#x: %d", c.flags, h)
				}
				continue
			}
			var told hypercall.HostFileAttr
			s.space.copyIn(bytesOf(&told), bufAt)
			want := bits | 0o751
			if c.drops {
				want = 0o751
			}
			if got := s.attr("program").Mode & 0o7777; got != want || told.Mode&0o7777 != want {
				t.Errorf("flags %#x: mode %o, told %o, want %o", c.flags, got, told.Mode&0o7777, want)
			}
			s.errno("close", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileClose, Handle: uint64(h)}, ""), 0)
		}
	}
}

// TestHostFileNewModes: what a new file or folder cannot have is refused, and
// nothing is made.
func TestHostFileNewModes(t *testing.T) {
	s := newShare(t, true)
	for mode, want := range map[uint32]hypercall.Status{
		0o4755: hypercall.EPERM, 0o2755: hypercall.EPERM, 0o6000: hypercall.EPERM,
		0o1755: hypercall.EINVAL, 0o10755: hypercall.EINVAL, syscall.S_IFREG | 0o644: hypercall.EINVAL, 1 << 31: hypercall.EINVAL,
	} {
		s.errno("mkdir", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileMkdir, Mode: mode}, "new"), want)
		s.errno("open", s.do(hypercall.HostFileArgs{Op: hypercall.HostFileOpen, Flags: hypercall.HostFileCREATE, Mode: mode}, "new"), want)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "new")); !os.IsNotExist(err) {
		t.Error("something was made:", err)
	}
}

// TestHostFileChmodPaths: a mode is set at the end of links, whatever is there
// and whoever may read it, and neither outside nor nowhere.
func TestHostFileChmodPaths(t *testing.T) {
	s := newShare(t, true)
	os.Symlink("../inside", filepath.Join(s.dir, "d", "up"))
	os.Symlink("d", filepath.Join(s.dir, "way"))
	os.Symlink("/f", filepath.Join(s.dir, "root"))
	os.Symlink("d/", filepath.Join(s.dir, "slash"))
	os.Symlink("gone", filepath.Join(s.dir, "dangling"))
	for _, c := range []struct {
		path, file string
		want       hypercall.Status
	}{
		{"f", "f", 0}, {"inside", "f", 0}, {"d/up", "f", 0}, {"way/up", "f", 0}, {"way", "d", 0}, {"slash", "d", 0}, {"fifo", "fifo", 0},
		{"root", "", hypercall.EACCES}, {"relative", "", hypercall.EACCES}, {"absolute", "", hypercall.EACCES}, {"folder", "", hypercall.EACCES},
		{"dangling", "", hypercall.ENOENT}, {"loop", "", hypercall.ELOOP}, {"f/x", "", hypercall.ENOTDIR},
	} {
		for _, mode := range []uint32{0, 0o001, 0o1755} {
			s.errno("chmod "+c.path, s.do(hypercall.HostFileArgs{Op: hypercall.HostFileChmod, Mode: mode}, c.path), c.want)
			if c.want == 0 && s.attr(c.file).Mode&0o7777 != mode {
				t.Errorf("%s: %o, want %o", c.path, s.attr(c.file).Mode, mode)
			}
		}
	}
}

// TestNewModeRefused: where permissions cannot be set, what was made stays.
func TestNewModeRefused(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Chmod(0o600); err == nil {
		t.Fatal("this file system has permissions")
	}
	if err := setNewMode(f, 0o600); err != nil {
		t.Error(err)
	}
	f.Close()
	if err := setNewMode(f, 0o600); err == nil {
		t.Error("a closed file got permissions")
	}
}

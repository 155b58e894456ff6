package guests

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// Where a guest keeps the parts of a host_file call.
const (
	fileArgs = asm.Data + 0x8000
	filePath = asm.Data + 0x8100
	fileName = asm.Data + 0x8200
	fileBuf  = asm.Data + 0x9000
)

// text stores a string of at most 64 bytes.
func (s *steps) text(at uint64, text string) uint64 {
	var b [64]byte
	copy(b[:], text)
	for i := 0; i < len(b); i += 8 {
		s.code.Store(at+uint64(i), binary.LittleEndian.Uint64(b[i:]))
	}
	return uint64(len(text))
}

// file makes a host_file call; second goes where the operation wants it.
func (s *steps) file(name string, result int64, a hypercall.HostFileArgs, path, second string) {
	for i, v := range []uint64{
		uint64(a.Op) | uint64(a.Flags)<<32, a.Handle, filePath, s.text(filePath, path),
		fileName, s.text(fileName, second), uint64(a.Offset), uint64(a.Mode) | uint64(a.Share)<<32,
	} {
		s.code.Store(fileArgs+8*uint64(i), v)
	}
	s.call(name, result, uint64(hypercall.CallHostFile), fileArgs)
}

// TestHostileShares: a guest that asks the host itself, with no file system of
// its own in the way, cannot change what is shared read-only, use one share's
// handle in another, or get out of either.
func TestHostileShares(t *testing.T) {
	const erofs, ebadf, enoent = -int64(hypercall.EROFS), -int64(hypercall.EBADF), -int64(hypercall.ENOENT)
	top := t.TempDir()
	secret := filepath.Join(top, "secret")
	files := map[string]string{"ro/f": "kept", "rw/f": "to be lost", "secret": "secret"}
	for name, text := range files {
		name = filepath.Join(top, name)
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var cfg hv.Config
	for _, name := range []string{"ro", "rw"} {
		root, err := os.OpenRoot(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		cfg.Shares = append(cfg.Shares, hv.Share{Root: root, Guest: "/" + name, Writable: name == "rw"})
	}
	s := newSteps()
	op := func(op hypercall.HostFileOp, share uint32, handle uint64) hypercall.HostFileArgs {
		return hypercall.HostFileArgs{Op: op, Share: share, Handle: handle, Mode: 0o777}
	}
	open := op(hypercall.HostFileOpen, 0, 0)
	s.file("open", 1, open, "f", "")
	for _, flags := range []uint32{hypercall.HostFileWRONLY, hypercall.HostFileRDWR, hypercall.HostFileTRUNC, hypercall.HostFileCREATE, hypercall.HostFileAPPEND | hypercall.HostFileWRONLY} {
		open.Flags = flags
		s.file("open to change", erofs, open, "f", "")
	}
	for _, o := range []hypercall.HostFileOp{
		hypercall.HostFileWrite, hypercall.HostFileTruncate, hypercall.HostFileMkdir, hypercall.HostFileRemove, hypercall.HostFileRename,
		hypercall.HostFileSymlink, hypercall.HostFileLink, hypercall.HostFileChmod, hypercall.HostFileSetTimes,
	} {
		s.file("change by path", erofs, op(o, 0, 1), "f", "0123456789abcdef")
		s.file("change by handle", erofs, op(o, 0, 1), "", "0123456789abcdef")
	}
	// The first share's handle is none of the second's, which may be written.
	for _, o := range []hypercall.HostFileOp{hypercall.HostFileWrite, hypercall.HostFileTruncate, hypercall.HostFileChmod, hypercall.HostFileSetTimes, hypercall.HostFileClose} {
		s.file("handle of another share", ebadf, op(o, 1, 1), "", "0123456789abcdef")
	}
	// A link that the guest makes itself leads nowhere.
	for _, target := range []string{"../ro/f", "../secret", "/etc/passwd"} {
		s.file("symlink", 0, op(hypercall.HostFileSymlink, 1, 0), "way", target)
		rw := op(hypercall.HostFileOpen, 1, 0)
		rw.Flags = hypercall.HostFileRDWR
		s.file("open through a link", -int64(hypercall.EACCES), rw, "way", "")
		s.file("chmod through a link", -int64(hypercall.EACCES), op(hypercall.HostFileChmod, 1, 0), "way", "")
		s.file("link through a link", -int64(hypercall.EACCES), op(hypercall.HostFileLink, 1, 0), "f", "way/y")
		s.file("remove", 0, op(hypercall.HostFileRemove, 1, 0), "way", "")
	}
	s.file("up", enoent, op(hypercall.HostFileStat, 1, 0), "../secret", "")
	s.file("rename up", 0, op(hypercall.HostFileRename, 1, 0), "f", "../secret")
	s.run(t, cfg)
	for name, text := range map[string]string{"ro/f": "kept", "rw/secret": "to be lost", "secret": "secret"} {
		if b, err := os.ReadFile(filepath.Join(top, name)); string(b) != text || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, name := range []string{secret, filepath.Join(top, "ro", "f")} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v", name, st)
		}
	}
}

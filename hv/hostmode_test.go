package hv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

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

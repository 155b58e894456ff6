package volume

import (
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// TestWriteErrors: an error of the volume's is told as it is.
func TestWriteErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	if err := Create(path, 1<<20, ""); err != nil {
		t.Fatal(err)
	}
	v, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if e := v.writeSparse(12345, []byte{1}, 0); e != fs.EBADF {
		t.Errorf("a handle that is none: %v, want %v", e, fs.EBADF)
	}
	h, _, e := v.FS.Open("f", fs.O_WRONLY|fs.O_CREAT, 0o600)
	if e != 0 {
		t.Fatal(e)
	}
	b := make([]byte, 2<<20)
	for i := range b {
		b[i] = byte(i) | 1
	}
	if e := v.writeSparse(h, b, 0); e != fs.ENOSPC {
		t.Errorf("more than there is room for: %v, want %v", e, fs.ENOSPC)
	}
}

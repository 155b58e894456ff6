package beside

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if got, err := Find("pvrun-x"); err != ErrNone {
		t.Errorf("got %q, %v", got, err)
	}
	onPath := filepath.Join(dir, "pvrun-x")
	if err := os.WriteFile(onPath, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Find("pvrun-x"); got != onPath || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	own := filepath.Join(filepath.Dir(self), "pvrun-x")
	for _, mode := range []os.FileMode{0o644, 0o755} {
		if err := os.WriteFile(own, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(own, mode); err != nil {
			t.Fatal(err)
		}
		want := own
		if mode&0o111 == 0 {
			want = onPath
		}
		if got, err := Find("pvrun-x"); got != want || err != nil {
			t.Errorf("mode %v: got %q, %v, want %q", mode, got, err, want)
		}
	}
	os.Remove(own)
}

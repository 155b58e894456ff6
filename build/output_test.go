package build

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestOutputInRootFS builds twice to a file of the root file system itself.
func TestOutputInRootFS(t *testing.T) {
	cfg := testConfig(t, writeFiles(t, hello(nil)))
	cfg.RootFS = writeFiles(t, map[string]string{"etc/motd": "welcome\n"})
	cfg.Output = filepath.Join(cfg.RootFS, "out.img")
	var images [2][]byte
	for i := range images {
		if n := mustBuild(t, cfg).Manifest.RootFS.Files; n != 2 {
			t.Errorf("build %d: %d files in the archive, want 2", i, n)
		}
		images[i], _ = os.ReadFile(cfg.Output)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the images differ")
	}
}

// TestRootFSLink packs a folder by a link to it.
func TestRootFSLink(t *testing.T) {
	dir := writeFiles(t, map[string]string{"root/motd": "welcome\n", "link->": "root"})
	a, err1 := PackRootFS(filepath.Join(dir, "root"))
	b, err2 := PackRootFS(filepath.Join(dir, "link"))
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("the archives differ: %v, %v", err1, err2)
	}
}

// TestOutputNull builds and discards.
func TestOutputNull(t *testing.T) {
	cfg := testConfig(t, writeFiles(t, hello(nil)))
	cfg.Output = os.DevNull
	mustBuild(t, cfg)
}

// TestLeftovers finds a tree that a killed pvrun left.
func TestLeftovers(t *testing.T) {
	mustBuild(t, testConfig(t, writeFiles(t, hello(nil))))
	left := filepath.Join(testCache, "goroot", "tmp-1")
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	mustBuild(t, testConfig(t, writeFiles(t, hello(nil))))
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
}

// TestLockCanceled waits for a lock in vain.
func TestLockCanceled(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lock(ctx, name); err == nil {
		t.Error("no error")
	}
}

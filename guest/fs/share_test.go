package fs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestModelShare is TestModel with the folder in question a share: what Linux
// does in one folder, a guest does in another, with the same results.
func TestModelShare(t *testing.T) {
	rounds := 24
	if testing.Short() {
		rounds = 6
	}
	syscall.Umask(0o022)
	defer func(n int) { maxKnown = n }(maxKnown)
	for seed := range rounds {
		maxKnown = []int{8192, 2, 0}[seed%3]
		m := newModel(t, int64(seed))
		m.host = newFolder(t, t.TempDir())
		// The share begins above, so that ".." does not leave it.
		m.fs = newShares(t, Share{Path: "/p", Writable: true, Files: m.host})
		if err := os.MkdirAll(m.host.at("q/w"), 0o755); err != nil {
			t.Fatal(err)
		}
		m.run(t, seed)
		os.Chmod(m.host.at("q/w"), 0o755) // as m.finish does on the other side
		if ours, theirs := tree(t, m.host.top), tree(t, strings.TrimSuffix(m.top, "/q/w")); ours != theirs {
			t.Fatalf("seed %d: the folders differ:\n%s\nLinux:\n%s", seed, ours, theirs)
		}
		if len(m.host.fds) != 0 {
			t.Fatalf("seed %d: %d handles are left", seed, len(m.host.fds))
		}
	}
}

// tree is all names below a folder with what they are.
func tree(t *testing.T, top string) string {
	t.Helper()
	var b strings.Builder
	filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		info, err := d.Info()
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(top, path)
		if rel == "." {
			return nil // made by other hands
		}
		fmt.Fprint(&b, rel, " ", info.Mode())
		switch {
		case info.Mode().IsRegular():
			text, _ := os.ReadFile(path)
			fmt.Fprintf(&b, " %d %x", info.Sys().(*syscall.Stat_t).Nlink, hash(text))
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			b.WriteString(" " + target)
		}
		b.WriteString("\n")
		return nil
	})
	return b.String()
}

func hash(b []byte) (h uint64) {
	for _, c := range b {
		h = h*1099511628211 ^ uint64(c)
	}
	return h
}

// newShares makes a file system with shares.
func newShares(t testing.TB, shares ...Share) *FS {
	t.Helper()
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	host := h.host()
	host.Shares = shares
	return New(host)
}

package fs

import (
	"slices"
	"testing"
)

// syncs is a tree that notes which syncs were for data only.
type syncs struct {
	*folder
	dataOnly []bool
}

func (s *syncs) Sync(handle uint64, dataOnly bool) Errno {
	s.dataOnly = append(s.dataOnly, dataOnly)
	return s.folder.Sync(handle, dataOnly)
}

// TestSyncKinds: the other file system hears which of the two was asked for.
func TestSyncKinds(t *testing.T) {
	tree := &syncs{folder: newFolder(t, t.TempDir())}
	fs := newShares(t, Share{Path: "/s", Writable: true, Files: tree})
	fd, e := fs.Open(AT_FDCWD, "/s/f", O_CREAT|O_RDWR, 0o644)
	want(t, "open", e, 0)
	defer fs.Close(fd)
	want(t, "fdatasync", fs.Fsync(fd, true), 0)
	want(t, "fsync", fs.Fsync(fd, false), 0)
	if want := []bool{true, false}; !slices.Equal(tree.dataOnly, want) {
		t.Errorf("data only: got %v, want %v", tree.dataOnly, want)
	}
	want(t, "of nothing", fs.Fsync(99, true), EBADF)
}

// TestSyncOnWrite: a file that was opened so is synced by every write.
func TestSyncOnWrite(t *testing.T) {
	tree := &syncs{folder: newFolder(t, t.TempDir())}
	fs := newShares(t, Share{Path: "/s", Writable: true, Files: tree})
	for _, flags := range []int{0, O_DSYNC, O_SYNC} {
		fd, e := fs.Open(AT_FDCWD, "/s/f", O_CREAT|O_RDWR|flags, 0o644)
		want(t, "open", e, 0)
		fs.Write(fd, []byte("text"))
		fs.Pwrite(fd, []byte("more"), 4)
		fs.Write(fd, nil)
		fs.Close(fd)
	}
	if want := []bool{true, true, false, false}; !slices.Equal(tree.dataOnly, want) {
		t.Errorf("data only: got %v, want %v", tree.dataOnly, want)
	}
}

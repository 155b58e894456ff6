package fs

import (
	"bytes"
	"fmt"
	"testing"
)

// newc is one archive entry for tests.
func newc(ino, mode, nlink, major, minor uint32, name, data string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		ino, mode, 0, 0, nlink, 1000, len(data), 0, 0, major, minor, len(name)+1, 0)
	b.WriteString(name + "\x00")
	b.Write(make([]byte, -b.Len()&3))
	b.WriteString(data)
	b.Write(make([]byte, -b.Len()&3))
	return b.Bytes()
}

func archive(entries ...[]byte) []byte {
	return append(bytes.Join(entries, nil), newc(0, 0, 1, 0, 0, newcTrailer, "")...)
}

func mounted(t testing.TB, b []byte) *FS {
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	host := h.host()
	host.Archive = b
	return New(host)
}

func TestUnpack(t *testing.T) {
	fs := mounted(t, archive(
		newc(1, S_IFDIR|0o750, 2, 0, 0, ".", ""),
		newc(2, S_IFREG|0o640, 1, 0, 0, "a/b/file", "content"),
		newc(3, S_IFDIR|0o700, 2, 0, 0, "./a", ""),
		newc(4, S_IFREG|0o644, 2, 0, 0, "one", ""),
		newc(4, S_IFREG|0o644, 2, 0, 0, "two", "shared"),
		newc(5, S_IFLNK|0o777, 1, 0, 0, "link", "a/b/file"),
		newc(6, S_IFCHR|0o666, 1, 1, 5, "a/zero", ""),
		newc(7, S_IFREG|0o644, 1, 0, 0, "../escape", "no"),
		newc(8, S_IFREG|0o644, 1, 0, 0, "etc/hosts", "mine\n"),
		newc(9, S_IFREG|0o644, 1, 0, 0, "one/below", "a file is no directory"),
	))
	for path, content := range map[string]string{
		"/a/b/file": "content", "/one": "shared", "/two": "shared", "/link": "content", "/etc/hosts": "mine\n",
	} {
		if s := get(t, fs, path); s != content {
			t.Errorf("%s: %q, want %q", path, s, content)
		}
	}
	for path, mode := range map[string]uint32{"/": S_IFDIR | 0o750, "/a": S_IFDIR | 0o700, "/a/b/file": S_IFREG | 0o640, "/a/zero": S_IFCHR | 0o666} {
		st, e := fs.Fstatat(AT_FDCWD, path, 0)
		ok(t, e)
		if st.Mode != mode {
			t.Errorf("%s: mode %o, want %o", path, st.Mode, mode)
		}
	}
	one, _ := fs.Fstatat(AT_FDCWD, "/one", 0)
	two, _ := fs.Fstatat(AT_FDCWD, "/two", 0)
	if one.Ino != two.Ino || one.Nlink != 2 {
		t.Errorf("hard links: inodes %d, %d, nlink %d", one.Ino, two.Ino, one.Nlink)
	}
	_, e := fs.Fstatat(AT_FDCWD, "/escape", 0)
	want(t, "a name with ..", e, ENOENT)
}

// TestCopyOnWrite checks that the archive's own bytes never change.
func TestCopyOnWrite(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	b := archive(newc(1, S_IFREG|0o644, 1, 0, 0, "f", string(text)))
	before := bytes.Clone(b)
	fs := mounted(t, b)
	fd, e := fs.Open(AT_FDCWD, "/f", O_RDWR, 0)
	ok(t, e)
	_, e = fs.Pwrite(fd, []byte("XYZ"), 5000)
	ok(t, e)
	ok(t, fs.Ftruncate(fd, 9000))
	ok(t, fs.Ftruncate(fd, 20000))
	ok(t, fs.Fallocate(fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 100, 200))
	wanted := append(bytes.Clone(text[:9000]), make([]byte, 11000)...)
	copy(wanted[5000:], "XYZ")
	clear(wanted[100:300])
	if got := get(t, fs, "/f"); got != string(wanted) {
		t.Error("content differs")
	}
	if !bytes.Equal(b, before) {
		t.Error("the archive was written")
	}
}

func FuzzCPIO(f *testing.F) {
	f.Add(archive(newc(1, S_IFREG|0o644, 2, 0, 0, "a/b", "x"), newc(1, S_IFREG|0o644, 2, 0, 0, "c", "y")))
	f.Add(archive(newc(1, S_IFDIR|0o755, 2, 0, 0, "d", ""), newc(2, S_IFLNK|0o777, 1, 0, 0, "d/l", "..")))
	f.Add(archive(newc(1, S_IFCHR|0o644, 1, 1, 3, "n", ""), newc(1, S_IFIFO|0o644, 1, 0, 0, "p", "")))
	f.Add([]byte("070701"))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		fs := mounted(t, b)
		fs.rlockTree()
		fs.tree.RUnlock()
		checkTree(t, fs)
		visit(fs, fs.root, 0)
		if !bytes.Equal(b, before) {
			t.Error("the archive was written")
		}
	})
}

// visit reads and writes every regular file.
func visit(fs *FS, n *inode, depth int) {
	for name, e := range n.dir.byName {
		if e.node.isDir() && depth < 100 {
			visit(fs, e.node, depth+1)
		}
		if !e.node.isReg() || n.dev != devRoot || len(name) == 0 {
			continue
		}
		d := &e.node.data
		buf := make([]byte, min(d.size, 8192))
		d.readAt(buf, 0)
		d.writeAt([]byte("w"), d.size/2)
	}
}

// checkTree checks the invariants of the tree: link counts, parents, space.
func checkTree(t testing.TB, fs *FS) {
	t.Helper()
	names := map[*inode]uint32{}
	var walk func(n *inode)
	walk = func(n *inode) {
		if n.dir.source != nil && n.dev >= devShare {
			return // the host's
		}
		links := uint32(2)
		live := 0
		for _, e := range n.dir.list {
			if e.node == nil {
				continue
			}
			live++
			if n.dir.byName[e.name] != e {
				t.Errorf("%q: list and map differ", e.name)
			}
			if e.node.isDir() {
				links++
				if e.node.dir.parent != n || e.node.dir.name != e.name || e.node.dir.dead {
					t.Errorf("%q: wrong parent or name", e.name)
				}
				walk(e.node)
				continue
			}
			names[e.node]++
		}
		if live != len(n.dir.byName) {
			t.Errorf("%d entries listed, %d mapped", live, len(n.dir.byName))
		}
		if n.nlink != links {
			t.Errorf("directory %q: nlink %d, want %d", n.dir.name, n.nlink, links)
		}
	}
	walk(fs.root)
	pages := int64(0)
	for n, links := range names {
		if n.nlink != links {
			t.Errorf("inode %d: nlink %d, %d names", n.ino, n.nlink, links)
		}
		held := int64(0)
		for _, l := range n.data.tree {
			for _, p := range l {
				if p != nil {
					held++
				}
			}
		}
		if held != n.data.pages {
			t.Errorf("inode %d holds %d pages, says %d", n.ino, held, n.data.pages)
		}
		pages += held
	}
	if got := fs.space.pages.Load(); got < pages {
		t.Errorf("%d pages booked, %d held", got, pages)
	}
}

// BenchmarkUnpack is the first path's cost with ten thousand files.
func BenchmarkUnpack(b *testing.B) {
	var all [][]byte
	for i := range 10000 {
		all = append(all, newc(uint32(i+1), S_IFREG|0o644, 1, 0, 0, fmt.Sprintf("d%d/sub/f%d", i%100, i), "content"))
	}
	image := archive(all...)
	for b.Loop() {
		fs := mounted(b, image)
		fs.built.Do(fs.build)
	}
}

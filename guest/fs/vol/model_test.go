package vol

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// model is a file system of maps that does what POSIX says.
type model struct{ names map[string]*thing }

// thing is a file, folder or link.
type thing struct {
	typ    uint32
	data   []byte
	nlink  uint32
	target string
}

func newModel() *model {
	return &model{names: map[string]*thing{".": {typ: fs.S_IFDIR, nlink: 2}}}
}

func above(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

// at is what has a path, and why nothing can.
func (m *model) at(path string) (*thing, fs.Errno) {
	if path == "." {
		return m.names["."], 0
	}
	in, e := m.at(above(path))
	switch {
	case e != 0:
		return nil, e
	case in == nil:
		return nil, fs.ENOENT
	case in.typ != fs.S_IFDIR:
		return nil, fs.ENOTDIR
	}
	return m.names[path], 0
}

func (m *model) add(path string, n *thing) fs.Errno {
	old, e := m.at(path)
	if e == 0 && old != nil {
		e = fs.EEXIST
	}
	if e == 0 {
		m.names[path] = n
		if n.typ == fs.S_IFDIR {
			m.names[above(path)].nlink++
		}
	}
	return e
}

func (m *model) full(path string) bool {
	for name := range m.names {
		if strings.HasPrefix(name, path+"/") {
			return true
		}
	}
	return false
}

func (m *model) write(path string, b []byte, off int64) fs.Errno {
	n, e := m.at(path)
	switch {
	case e != 0:
		return e
	case n == nil:
		n = &thing{typ: fs.S_IFREG, nlink: 1}
		m.names[path] = n
	case n.typ == fs.S_IFLNK:
		return fs.ELOOP
	case n.typ == fs.S_IFDIR:
		return fs.EISDIR
	}
	n.grow(off + int64(len(b)))
	copy(n.data[off:], b)
	return 0
}

func (n *thing) grow(size int64) {
	if more := size - int64(len(n.data)); more > 0 {
		n.data = append(n.data, make([]byte, more)...)
	}
}

func (m *model) remove(path string) fs.Errno {
	n, e := m.at(path)
	switch {
	case e != 0:
		return e
	case n == nil:
		return fs.ENOENT
	case n.typ == fs.S_IFDIR && m.full(path):
		return fs.ENOTEMPTY
	case n.typ == fs.S_IFDIR:
		m.names[above(path)].nlink--
	}
	n.nlink--
	delete(m.names, path)
	return 0
}

func (m *model) rename(old, new string) fs.Errno {
	a, e := m.at(old)
	if e != 0 {
		return e
	}
	b, e := m.at(new)
	switch {
	case e != 0:
		return e
	case a == nil:
		return fs.ENOENT
	case a.typ == fs.S_IFDIR && strings.HasPrefix(new, old+"/"):
		return fs.EINVAL
	case a == b:
		return 0
	case b != nil && a.typ == fs.S_IFDIR && b.typ != fs.S_IFDIR:
		return fs.ENOTDIR
	case b != nil && a.typ != fs.S_IFDIR && b.typ == fs.S_IFDIR && strings.HasPrefix(old, new+"/"):
		return fs.ENOTEMPTY
	case b != nil && a.typ != fs.S_IFDIR && b.typ == fs.S_IFDIR:
		return fs.EISDIR
	case b != nil && b.typ == fs.S_IFDIR && m.full(new):
		return fs.ENOTEMPTY
	}
	if b != nil {
		m.remove(new)
	}
	m.move(old, new)
	return 0
}

func (m *model) move(old, new string) {
	for name, n := range m.names {
		if name == old || strings.HasPrefix(name, old+"/") {
			delete(m.names, name)
			m.names[new+name[len(old):]] = n
		}
	}
	if m.names[new].typ == fs.S_IFDIR {
		m.names[above(old)].nlink--
		m.names[above(new)].nlink++
	}
}

func (m *model) link(old, new string) fs.Errno {
	a, e := m.at(old)
	if e != 0 {
		return e
	}
	b, e := m.at(new)
	switch {
	case e != 0:
		return e
	case a == nil:
		return fs.ENOENT
	case b != nil:
		return fs.EEXIST
	case a.typ == fs.S_IFDIR:
		return fs.EPERM
	}
	a.nlink++
	m.names[new] = a
	return 0
}

// compare looks for differences.
func (m *model) compare(v *FS) error {
	for path, n := range m.names {
		a, e := v.Stat(fs.TreeRef{Path: path})
		if e != 0 || a.Mode&fs.S_IFMT != n.typ || a.Nlink != n.nlink {
			return fmt.Errorf("%s: errno %d, mode %o, %d links, want %o, %d", path, e, a.Mode, a.Nlink, n.typ, n.nlink)
		}
		switch n.typ {
		case fs.S_IFREG:
			if text, e := readFile(v, path); e != 0 || !bytes.Equal([]byte(text), n.data) {
				return fmt.Errorf("%s: errno %d, %d bytes that are not the %d wanted", path, e, len(text), len(n.data))
			}
		case fs.S_IFLNK:
			if target, e := v.Readlink(path); e != 0 || target != n.target {
				return fmt.Errorf("%s: errno %d, leads to %q, not %q", path, e, target, n.target)
			}
		}
	}
	if got, want := strings.Count(dump(v), "\n"), len(m.names); got != want {
		return fmt.Errorf("%d names, want %d", got, want)
	}
	return nil
}

// change does something at random to both.
func change(v *FS, m *model, r *rand.Rand) (what string, got, want fs.Errno) {
	path := func() string {
		p := []string{"a", "b", "c"}[r.IntN(3)]
		for r.IntN(2) == 0 && len(p) < 8 {
			p += "/" + []string{"a", "b", "c"}[r.IntN(3)]
		}
		return p
	}
	p, q := path(), path()
	off := r.Int64N(3) * r.Int64N(50_000)
	data := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, r.IntN(1<<r.IntN(15)))
	n, _ := m.at(p)
	regular := n != nil && n.typ == fs.S_IFREG
	switch r.IntN(10) {
	case 0, 1:
		e := writeFile(v, p, string(data), off, fs.O_CREAT)
		if len(data) == 0 {
			off = 0
		}
		return "write " + p, e, m.write(p, data, off)
	case 2:
		return "mkdir " + p, v.Mkdir(p, 0o755), m.add(p, &thing{typ: fs.S_IFDIR, nlink: 2})
	case 3, 4:
		return "remove " + p, v.Remove(p), m.remove(p)
	case 5, 6:
		return "rename " + p + " " + q, v.Rename(p, q), m.rename(p, q)
	case 7:
		return "link " + p + " " + q, v.Link(p, q), m.link(p, q)
	case 8:
		target := strings.Repeat("t", 1+r.IntN(400))
		return "symlink " + p, v.Symlink(target, p), m.add(p, &thing{typ: fs.S_IFLNK, nlink: 1, target: target})
	case 9:
		if regular {
			return "resize " + p, reshape(v, p, n, off, int64(len(data))), 0
		}
	}
	return "", 0, 0
}

// reshape truncates or punches.
func reshape(v *FS, path string, n *thing, off, length int64) fs.Errno {
	h, _, e := v.Open(path, fs.O_RDWR, 0)
	if e != 0 {
		return e
	}
	defer v.Close(h)
	if length == 0 || off%2 == 0 {
		n.grow(off)
		n.data = slices.Clone(n.data[:off])
		return v.Truncate(h, off)
	}
	if end := min(off+length, int64(len(n.data))); off < end {
		clear(n.data[off:end])
	}
	return v.Allocate(h, fs.FALLOC_FL_PUNCH_HOLE|fs.FALLOC_FL_KEEP_SIZE, off, length)
}

// TestModel runs random programs.
func TestModel(t *testing.T) {
	r := seeded(t)
	for range 20 {
		dev := newMemory(16 << 20)
		if err := Format(dev, FormatOptions{}); err != nil {
			t.Fatal(err)
		}
		v, err := Mount(dev, Options{Dirty: 1, Cache: 1})
		m := newModel()
		for i := 0; i < 400 && err == nil; i++ {
			what, got, want := change(v, m, r)
			if got != want {
				t.Fatalf("%s: errno %d, want %d", what, got, want)
			}
			switch r.IntN(50) {
			case 0:
				err = m.compare(v)
			case 1:
				want := syncAll(v)
				if v, err = Mount(dev, Options{Dirty: r.IntN(1 << 20), Cache: r.IntN(1 << 20)}); want != 0 {
					t.Fatal(want)
				}
				clean(t, dev)
			}
		}
		if err == nil {
			err = m.compare(v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

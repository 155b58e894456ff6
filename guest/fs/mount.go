package fs

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// mount is a share as the tree shows it. Folders that were met stay known, so
// that a path through them costs nothing; all else is asked of the host each
// time.
type mount struct {
	Share
	fs  *FS
	dev uint64

	// mu guards names and what else says so. The host is not asked under it.
	mu   sync.Mutex
	open map[treeID]*inode // files that are open: one inode each
	devs []uint64          // the host's st_dev numbers, in the order met

	// Directories that know others, and how many are known in all.
	knowing []*treeDir
	known   int
}

// maxKnown is how many folders of a share stay known.
var maxKnown = 8192

// treeID is which of the host's files something is.
type treeID struct{ dev, ino uint64 }

// Numbers of the shares' mounts: devShare for the first, 256 apart. Between
// them is what a share shows for files on other devices of the host's.
const devShare = 0x100

// mountShares shows the shares, outer ones first: one may lie in another.
func (fs *FS) mountShares() {
	order := slices.Clone(fs.host.Shares)
	slices.SortStableFunc(order, func(a, b Share) int { return cmp.Compare(len(a.Path), len(b.Path)) })
	for i, s := range order {
		if s.Path == "/" {
			continue // is there already, as the first: its path is the shortest
		}
		_, root := fs.newMount(s, i)
		dir, name := fs.mountPoint(s.Path)
		root.dir.parent, root.dir.name = dir, name
		dir.cover(name, root)
	}
}

// mountPoint is the directory and name of a path; what is missing or in the way
// is covered by directories in memory.
func (fs *FS) mountPoint(path string) (*inode, string) {
	cur := fs.root
	name, rest := cut(path)
	for rest != "" {
		p, e := fs.walk(cur, name, walkFollow)
		if e != 0 || p.node == nil || !p.node.isDir() {
			p.node = fs.newDir(devRoot, 0o755)
			p.node.dir.parent, p.node.dir.name = cur, name
			cur.cover(name, p.node)
		}
		cur = p.node
		name, rest = cut(rest)
	}
	return cur, name
}

// newInode makes an inode for one of the host's files.
func (m *mount) newInode(a TreeAttr) *inode {
	n := &inode{fs: m.fs, ino: a.Ino, dev: m.dev, rdev: a.Rdev, typ: a.Mode & S_IFMT}
	n.data.space = &m.fs.space
	h := &treeNode{n: n, m: m, id: treeID{a.Dev, a.Ino}}
	n.body = h
	if n.isDir() {
		n.dir = &dir{source: &treeDir{n: n, h: h, m: m}}
	}
	h.learn(&a)
	return n
}

// remember makes a directory known. Too many are forgotten all at once, but for
// those that are in use: what is still needed is met again. The caller holds
// m.mu.
func (m *mount) remember(d *treeDir, name string, n *inode) {
	if d.known == nil {
		d.known = make(map[string]*inode)
		m.knowing = append(m.knowing, d)
	}
	if d.known[name] == nil {
		m.known++
	}
	d.known[name] = n
	if m.known <= maxKnown {
		return
	}
	m.known = 0
	kept := m.inUse(n)
	m.knowing = slices.DeleteFunc(m.knowing, func(d *treeDir) bool {
		for name, n := range d.known {
			if !kept[n] {
				delete(d.known, name)
			}
		}
		m.known += len(d.known)
		if len(d.known) > 0 {
			return false
		}
		d.known = nil
		return true
	})
}

// inUse is the known directories that are more than names, and those above them:
// what they are renamed to is part of the others' paths. fresh is in use, too.
// The caller holds m.mu.
func (m *mount) inUse(fresh *inode) map[*inode]bool {
	kept := make(map[*inode]bool)
	keep := func(n *inode) {
		for ; n != nil && n.dev == m.dev && !kept[n]; n = n.dir.parent {
			kept[n] = true
		}
	}
	keep(fresh)
	keep(m.fs.cwd)
	for _, d := range m.knowing {
		for _, n := range d.known {
			if n.needed() {
				keep(n)
			}
		}
	}
	return kept
}

// needed is whether a directory of a share is open or has a mount.
func (n *inode) needed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opens > 0 || len(n.dir.source.(*treeDir).over) > 0
}

// dismiss makes a name unknown. The caller holds m.mu.
func (m *mount) dismiss(d *treeDir, name string) {
	if d.known[name] != nil {
		m.known--
		delete(d.known, name)
	}
}

// shownDev is the st_dev for one of the host's. Folders of a share may lie on
// different devices, with the same inode numbers.
func (m *mount) shownDev(dev uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.devs, dev)
	if i < 0 {
		i = len(m.devs)
		m.devs = append(m.devs, dev)
	}
	return makedev(0, minor(m.dev)+uint32(min(i, devShare-1)))
}

// pathOf is a file's path in the share. The caller holds m.mu.
func (m *mount) pathOf(h *treeNode) string {
	if h.parent == nil {
		return "."
	}
	var names []string
	for ; h.parent != nil; h = h.parent {
		names = append(names, h.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// shownPath is the path as the files of /proc spell it (proc_pid_mounts(5)).
func (m *mount) shownPath() string {
	return strings.NewReplacer(" ", "\\040", "\t", "\\011", "\n", "\\012", "\\", "\\134").Replace(m.Path)
}

func (m *mount) access() string {
	if m.Writable {
		return "rw"
	}
	return "ro"
}

// readOnly is EROFS where the share is.
func (m *mount) readOnly() Errno {
	if m.Writable {
		return 0
	}
	return EROFS
}

package fs

import "strings"

// place is where a path led.
type place struct {
	dir  *inode // the directory of the last component
	name string // the last component; "" for the root, "." and ".." as such
	node *inode // what is there, nil when nothing is
	// slash is whether the path ended in one: then node is a directory, or
	// nothing, or (walks for a parent only) anything.
	slash bool
	// handle is the host's for node, when the walk has opened it.
	handle uint64
	// long is whether the name is too long: walks for a parent leave that to
	// the caller, since Linux finds it after errors of other paths.
	long bool
}

// plain is whether the last component is a name that can be made or removed.
func (p *place) plain() bool { return p.name != "" && p.name != "." && p.name != ".." }

// Ways to walk.
const (
	walkFollow = 1 << iota // follow a symbolic link at the end
	walkParent             // want the last component's directory: never follow
	walkCreate             // may make a file, whose name ends in no slash
)

// walker is one walk along a path.
type walker struct {
	fs      *FS
	top     *inode // where "/" and ".." end; the root but for RESOLVE_IN_ROOT
	how     int
	resolve uint64
	links   int
	opens   *opening // what the end of the path is opened for, or nil
}

// opening is what open asks for. A file of the host's is found and opened in
// one call.
type opening struct {
	flags  uint32
	perm   uint32 // of a new file
	handle uint64 // the host's, once it is open
}

// walk resolves a path from base. The caller holds FS.tree.
func (fs *FS) walk(base *inode, path string, how int) (place, Errno) {
	w := walker{fs: fs, top: fs.root, how: how}
	return w.run(base, path)
}

func (w *walker) run(cur *inode, path string) (place, Errno) {
	if path == "" {
		return place{}, ENOENT
	}
	if len(path) >= PATH_MAX {
		return place{}, ENAMETOOLONG
	}
	if path[0] == '/' {
		if w.resolve&RESOLVE_BENEATH != 0 {
			return place{}, EXDEV
		}
		cur = w.top
	}
	p := place{dir: cur, node: cur}
	for {
		name, rest := cut(path)
		if name == "" {
			p.slash = p.slash || path != ""
			return p, w.arrive(&p)
		}
		next, e := w.step(&p, name, rest)
		if e != 0 {
			return place{}, e
		}
		path = next
	}
}

// arrive sees to it that attributes of what was reached by another way than
// its name are those of now.
func (w *walker) arrive(p *place) Errno {
	if w.opens != nil {
		p.handle = w.opens.handle
	}
	if p.node == nil || p.plain() && p.node.dev == p.dir.dev {
		return 0
	}
	return p.node.body.refresh(nil)
}

// cut splits the first component off; rest keeps its leading slash.
func cut(path string) (name, rest string) {
	for path != "" && path[0] == '/' {
		path = path[1:]
	}
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// step moves p by one component and returns the path that is left.
func (w *walker) step(p *place, name, rest string) (string, Errno) {
	cur := p.node
	if cur == nil {
		return "", ENOENT
	}
	if !cur.isDir() {
		return "", ENOTDIR
	}
	last := strings.Trim(rest, "/") == ""
	*p = place{dir: cur, name: name, long: len(name) > NAME_MAX}
	if last && rest != "" && w.how&walkCreate != 0 && p.plain() {
		return "", EISDIR
	}
	if p.long {
		if last && w.how&walkParent != 0 {
			return rest, 0
		}
		return "", ENAMETOOLONG
	}
	switch name {
	case ".":
		p.node = cur
		return rest, 0
	case "..":
		return rest, w.up(p)
	}
	var e Errno
	if s := cur.dir.source; s != nil && w.opens != nil && last && rest == "" {
		p.node, e = s.open(name, w.opens)
	} else {
		p.node, e = cur.look(name, last)
	}
	if e == 0 && p.node == nil && !last {
		e = ENOENT
	}
	if e != 0 {
		return "", e
	}
	if p.node != nil && p.node.isLink() && (!last || w.follows(rest)) {
		return w.link(p, rest)
	}
	return rest, w.checkEnd(p, last, rest)
}

// follows is whether a link that ends the path is followed.
func (w *walker) follows(rest string) bool {
	return w.how&walkParent == 0 && (w.how&walkFollow != 0 || rest != "")
}

// checkEnd refuses a file that the path uses as a directory.
func (w *walker) checkEnd(p *place, last bool, rest string) Errno {
	if p.node == nil || p.node.isDir() || (last && rest == "") {
		return w.checkDev(p)
	}
	if last && w.how&walkParent != 0 {
		return 0
	}
	return ENOTDIR
}

// checkDev refuses to leave a mount when openat2 asked for that.
func (w *walker) checkDev(p *place) Errno {
	if w.resolve&RESOLVE_NO_XDEV != 0 && p.node != nil && p.node.dev != p.dir.dev {
		return EXDEV
	}
	return 0
}

// up follows "..". A removed directory still knows where it was.
func (w *walker) up(p *place) Errno {
	p.node = p.dir
	if p.dir == w.top {
		if w.resolve&RESOLVE_BENEATH != 0 {
			return EXDEV
		}
		return 0
	}
	if parent := p.dir.dir.parent; parent != nil {
		p.node = parent
	}
	return w.checkDev(p)
}

// link follows the symbolic link at p.
func (w *walker) link(p *place, rest string) (string, Errno) {
	w.links++
	if w.links > maxSymlinks || w.resolve&RESOLVE_NO_SYMLINKS != 0 {
		return "", ELOOP
	}
	n := p.node
	if n.magic != nil {
		return rest, w.jump(p, rest)
	}
	target, e := n.body.readlink()
	if e == 0 && target == "" {
		e = ENOENT
	}
	if e != 0 {
		return "", e
	}
	if target[0] == '/' {
		if w.resolve&RESOLVE_BENEATH != 0 {
			return "", EXDEV
		}
		p.dir = w.top
	}
	*p = place{dir: p.dir, node: p.dir}
	return target + rest, 0
}

// jump follows a link of /proc straight to its inode.
func (w *walker) jump(p *place, rest string) Errno {
	if w.resolve&(RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH|RESOLVE_IN_ROOT) != 0 {
		return ELOOP
	}
	n := p.node.magic()
	if n == nil {
		return ENOENT
	}
	*p = place{dir: p.dir, name: p.name, node: n}
	if rest != "" && !n.isDir() {
		return ENOTDIR
	}
	if n.isDir() {
		p.dir, p.name = n, "."
	}
	return 0
}

package fs

import (
	"slices"
	"sync"
)

// mapped lists the inodes that shared mappings show.
type mapped struct {
	mu    sync.Mutex
	nodes []*inode
}

// Protections of a mapping, as mmap has them.
const (
	protRead  = 1
	protWrite = 2
	protExec  = 4
)

// Map shows a file at [addr, addr+length), an inaccessible range that the
// caller reserved; off is a multiple of the page size.
func (fs *FS) Map(fd int, addr uintptr, length uint64, off int64, prot int) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	n := f.node
	add := n.mapIn
	if h := n.tree(); h != nil {
		add = h.mapIn
	}
	switch {
	case !f.readable() || prot&protWrite != 0 && !f.writable():
		return EACCES
	case !n.isReg() || n.text != nil || fs.host.Pages == nil || n.tree() == nil && n.body != body((*inMemory)(n)):
		return ENODEV
	case off < 0 || length > MaxFile || off > MaxFile-int64(length):
		return EOVERFLOW
	}
	fs.maps.mu.Lock()
	defer fs.maps.mu.Unlock()
	m := &mapping{n, addr, off / pageSize, pagesOf(int64(length)), prot, prot&protWrite != 0, f}
	if e := add(m); e != 0 {
		return e
	}
	if !slices.Contains(fs.maps.nodes, n) {
		fs.maps.nodes = append(fs.maps.nodes, n)
	}
	return 0
}

// CopyMapped is whether a shared mapping that [FS.Map] refuses may be a copy of the
// file as it is now: of a tree's files, and only where neither the mapping nor the
// descriptor can tell the difference by writing.
func (fs *FS) CopyMapped(fd, prot int) bool {
	f, e := fs.getIO(fd)
	if e != 0 {
		return false
	}
	defer fs.put(f)
	return f.handle != 0 && f.node.isReg() && !f.writable() && prot&protWrite == 0
}

// mapIn adds a mapping and fills it as far as the file goes.
func (n *inode) mapIn(m *mapping) Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &n.data
	if d.share == nil {
		d.share = &share{pages: n.fs.host.Pages}
	}
	s := d.share
	s.add(m)
	if e := s.present(d, m, m.first); e != 0 {
		s.drop(m)
		return e
	}
	n.opens++
	return 0
}

// shown is how many pages the file has to show: those of a tree look for
// themselves. The caller holds n.mu.
func (n *inode) shown() int64 {
	if n.data.share != nil && n.data.share.outside {
		return MaxFile / pageSize
	}
	return pagesOf(n.data.size)
}

// MayMap is whether a descriptor can be mapped privately.
func (fs *FS) MayMap(fd int) Errno {
	f, e := fs.getIO(fd)
	if e != 0 {
		return e
	}
	defer fs.put(f)
	switch {
	case !f.readable():
		return EACCES
	case f.stream == device(devZero):
		return 0
	case f.stream != nil || !f.node.isReg():
		return ENODEV
	}
	return 0
}

// Unmap takes [addr, addr+length) out of the shared mappings; the range stays
// reserved. It is called before every munmap and every fixed mmap.
func (fs *FS) Unmap(addr uintptr, length uint64) {
	fs.eachMapped(addr, length, func(s *share, m *mapping) {
		if s.kept != nil {
			s.kept.flushMapping(m)
		}
		s.pages.Hide(m.addr, int(m.n))
		s.drop(m)
		if s.kept != nil {
			s.kept.unkeep()
		}
	})
}

// Protect changes what the shared mappings in a range allow. It is false when
// there are none.
func (fs *FS) Protect(addr uintptr, length uint64, prot int) (bool, Errno) {
	var fail Errno
	found := fs.eachMapped(addr, length, func(s *share, m *mapping) {
		if prot&protWrite != 0 && !m.file.writable() {
			fail = EACCES
			return
		}
		m.prot = prot
		m.wrote = m.wrote || prot&protWrite != 0
		// Only what the file has is mapped.
		n := min(m.n, m.node.shown()-m.first)
		if n <= 0 {
			return
		}
		if e := s.pages.Protect(m.addr, int(n), prot); e != 0 {
			fail = e
		}
	})
	return found, fail
}

// Shared is whether a shared mapping lies in a range.
func (fs *FS) Shared(addr uintptr, length uint64) bool {
	return fs.eachMapped(addr, length, func(*share, *mapping) {})
}

// eachMapped calls do for every mapping in a range, cut at its edges, and is
// true when there was one.
func (fs *FS) eachMapped(addr uintptr, length uint64, do func(*share, *mapping)) bool {
	var ended []*file
	defer func() { // without the locks
		for _, f := range ended {
			fs.put(f)
		}
	}()
	fs.maps.mu.Lock()
	defer fs.maps.mu.Unlock()
	end := addr + uintptr(length+pageSize-1)&^(pageSize-1)
	if addr%pageSize != 0 || end <= addr {
		return false // the call will be refused
	}
	found := false
	fs.maps.nodes = slices.DeleteFunc(fs.maps.nodes, func(n *inode) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		s := n.data.share
		before := len(s.maps)
		s.split(addr)
		s.split(end)
		for _, m := range slices.Clone(s.maps[s.from(addr):s.from(end)]) {
			found = true
			do(s, m)
		}
		// A mapping cut in two holds the inode twice.
		n.opens += len(s.maps) - before
		ended, s.ended = append(ended, s.ended...), nil
		if len(s.maps) > 0 {
			return false
		}
		n.reap()
		return true
	})
	return found
}

// split cuts the mapping around addr in two.
func (s *share) split(addr uintptr) {
	i := s.from(addr)
	if i == 0 {
		return
	}
	m := s.maps[i-1]
	if k := int64(addr-m.addr) / pageSize; k < m.n {
		s.maps = slices.Insert(s.maps, i, &mapping{m.node, addr, m.first + k, m.n - k, m.prot, m.wrote, m.file})
		m.n = k
		if s.holds() {
			m.file.refs.Add(1)
		}
	}
}

// from is the first mapping that begins at addr or above. A file may have many
// thousands.
func (s *share) from(addr uintptr) int {
	i, _ := slices.BinarySearchFunc(s.maps, addr, func(m *mapping, addr uintptr) int {
		if m.addr < addr {
			return -1
		}
		return 1
	})
	return i
}

func (s *share) add(m *mapping) { s.maps = slices.Insert(s.maps, s.from(m.addr), m) }

func (s *share) drop(m *mapping) {
	i := s.from(m.addr)
	s.maps = slices.Delete(s.maps, i, i+1)
	if s.holds() {
		s.ended = append(s.ended, m.file)
	}
}

package fs

// mapIn has the tree show the file itself, or keeps its pages where it cannot. The
// mapping keeps the description open, as on Linux, since msync needs it.
func (h *treeNode) mapIn(m *mapping) Errno {
	if e := h.m.Files.Map(m.file.handle, m.addr, uint64(m.n)*pageSize, m.first*pageSize, m.prot); e == ENODEV {
		return h.keepIn(m)
	} else if e != 0 {
		return e
	}
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.data.share == nil {
		n.data.share = &share{pages: n.fs.host.Pages, outside: true}
	}
	n.data.share.add(m)
	m.file.refs.Add(1)
	n.opens++
	return 0
}

// Flags of msync. Linux's include/uapi/asm-generic/mman-common.h.
const (
	msAsync      = 1
	msInvalidate = 2
	msSync       = 4
)

// Msync has what was written to shared mappings of a tree's files stay. Mappings
// of files in memory are the file.
func (fs *FS) Msync(addr uintptr, length uint64, flags int) (fail Errno) {
	switch {
	case addr%pageSize != 0, flags&^(msAsync|msInvalidate|msSync) != 0, flags&(msAsync|msSync) == msAsync|msSync:
		return EINVAL
	case flags&msSync == 0:
		return 0
	}
	for _, f := range fs.mappedFiles(addr, length) {
		if e := f.node.body.sync(f, true); e != 0 {
			fail = e
		}
		fs.put(f)
	}
	return fail
}

// mappedFiles is one description, held, of each tree's file in a range.
func (fs *FS) mappedFiles(addr uintptr, length uint64) (files []*file) {
	fs.maps.mu.Lock()
	defer fs.maps.mu.Unlock()
	for _, n := range fs.maps.nodes {
		n.mu.Lock()
		if s := n.data.share; s.holds() {
			i := max(s.from(addr), 1) - 1 // the one before may reach into it
			for _, m := range s.maps[i:] {
				if m.addr < addr+uintptr(length) && addr < m.addr+uintptr(m.n)*pageSize {
					m.file.refs.Add(1)
					files = append(files, m.file)
					break
				}
			}
		}
		n.mu.Unlock()
	}
	return files
}

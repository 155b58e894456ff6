package fs

import "unsafe"

// share is what a file needs once it was mapped MAP_SHARED: the pages that
// mappings show lie in page-aligned memory that can be mapped again, and the
// file's own reads and writes use that same memory. inode.mu guards it.
type share struct {
	pages  Pages
	arenas []arena
	next   uintptr    // unused memory of the last arena
	left   int        // pages of it
	spare  []*page    // given back by truncate
	maps   []*mapping // by address
	quiet  bool       // show is called once for many pages

	// outside: a tree shows the file itself, so there are only maps, each with a
	// reference to its file. ended are the files of those that were dropped.
	outside bool
	// kept: the pages are those of a tree's file, which cannot be shown itself.
	kept  *treeNode
	ended []*file
}

// holds is whether each mapping holds its description.
func (s *share) holds() bool { return s.outside || s.kept != nil }

// arena is a run of pages that the file got from Pages.
type arena struct {
	addr uintptr
	n    int
}

// mapping is one range of the address space that shows a file.
type mapping struct {
	node  *inode
	addr  uintptr
	first int64 // page of the file at addr
	n     int64 // pages
	prot  int
	wrote bool  // it can have been written to: it is writable, or was
	file  *file // as it was opened, for its name; it may be closed
}

// arenaPages is how many pages a file takes at least when it grows.
const arenaPages = 64

// at is the page at an address. It is safe for addresses in an arena: those
// stay mapped until free, and Go's collector does not know them.
func at(addr uintptr) *page {
	return *(**page)(unsafe.Pointer(&addr))
}

func addrOf(p *page) uintptr { return uintptr(unsafe.Pointer(p)) }

// newPage is the memory for page i of the file: shared where a mapping shows
// it, Go's elsewhere.
func (s *share) newPage(i int64) *page {
	if !s.covers(i) {
		return new(page)
	}
	p := s.alloc()
	if p != nil && !s.quiet {
		s.show(i, i+1, p)
	}
	return p
}

func (s *share) covers(i int64) bool {
	for _, m := range s.maps {
		if i >= m.first && i < m.first+m.n {
			return true
		}
	}
	return false
}

// alloc takes a zeroed page.
func (s *share) alloc() *page {
	if n := len(s.spare); n > 0 && !s.quiet {
		p := s.spare[n-1]
		s.spare = s.spare[:n-1]
		*p = page{}
		return p
	}
	if s.left == 0 && !s.extend(arenaPages) {
		return nil
	}
	p := at(s.next)
	s.next += pageSize
	s.left--
	return p
}

// extend begins a new arena of n pages unless as many are left.
func (s *share) extend(n int) bool {
	if s.left >= n {
		return true
	}
	addr := s.pages.Alloc(n)
	if addr == 0 {
		return false
	}
	for ; s.left > 0; s.left-- {
		s.spare = append(s.spare, at(s.next))
		s.next += pageSize
	}
	s.arenas = append(s.arenas, arena{addr, n})
	s.next, s.left = addr, n
	return true
}

// owns is whether a page lies in an arena.
func (s *share) owns(p *page) bool {
	for _, a := range s.arenas {
		if addrOf(p)-a.addr < uintptr(a.n)*pageSize {
			return true
		}
	}
	return false
}

// freePage takes back a page that the file dropped.
func (s *share) freePage(p *page) {
	if s.owns(p) {
		s.spare = append(s.spare, p)
	}
}

// free gives all memory back. Nothing maps the file any more.
func (s *share) free() {
	for _, a := range s.arenas {
		s.pages.Free(a.addr, a.n)
	}
	s.arenas, s.spare, s.left = nil, nil, 0
}

// show makes pages [i, end), contiguous from p on, appear in every mapping.
func (s *share) show(i, end int64, p *page) Errno {
	for _, m := range s.maps {
		if e := m.show(s.pages, i, end, addrOf(p)); e != 0 {
			return e
		}
	}
	return 0
}

func (m *mapping) show(pages Pages, i, end int64, src uintptr) Errno {
	from, to := max(i, m.first), min(end, m.first+m.n)
	if from >= to {
		return 0
	}
	dst := m.addr + uintptr(from-m.first)*pageSize
	return pages.Alias(dst, src+uintptr(from-i)*pageSize, int(to-from), m.prot)
}

// grown gives the pages that a growing file has now and mappings cover their
// memory. Without memory they stay inaccessible.
func (s *share) grown(d *blob, old int64) {
	for _, m := range s.maps {
		s.present(d, m, max(m.first, old/pageSize))
	}
}

// shrunk hides what a file is about to lose from the mappings.
func (s *share) shrunk(d *blob, size int64) {
	keep, had := pagesOf(size), pagesOf(d.size)
	for _, m := range s.maps {
		from, to := max(keep, m.first), min(had, m.first+m.n)
		if from < to {
			s.pages.Hide(m.addr+uintptr(from-m.first)*pageSize, int(to-from))
		}
	}
}

func pagesOf(size int64) int64 { return (size + pageSize - 1) / pageSize }

// present puts the pages of a mapping from page i of the file on, as far as the
// file goes, into shared memory and shows them there, in runs: one call to the
// host for many pages. What other mappings cover they show already.
func (s *share) present(d *blob, m *mapping, i int64) Errno {
	end := min(m.first+m.n, pagesOf(d.size))
	if i >= end {
		return 0
	}
	missing := 0
	for j := i; j < end; j++ {
		if p := d.page(j); p == nil || !s.owns(p) {
			missing++
		}
	}
	if missing > 0 && !s.extend(missing) {
		return ENOMEM
	}
	s.quiet = true
	defer func() { s.quiet = false }()
	for j := i; j < end; j++ {
		if !s.adopt(d, j) {
			return ENOMEM
		}
	}
	return s.showRuns(d, m, i, end)
}

// adopt makes sure that page j is there and shared.
func (s *share) adopt(d *blob, j int64) bool {
	p := d.own(j)
	if p == nil || s.owns(p) {
		return p != nil
	}
	q := s.alloc()
	if q == nil {
		return false
	}
	*q = *p
	d.put(j, q)
	return true
}

// showRuns shows pages [i, end), each run of neighbours at once.
func (s *share) showRuns(d *blob, m *mapping, i, end int64) Errno {
	for i < end {
		p := d.page(i)
		j := i + 1
		for j < end && addrOf(d.page(j)) == addrOf(p)+uintptr(j-i)*pageSize {
			j++
		}
		if e := m.show(s.pages, i, j, addrOf(p)); e != 0 {
			return e
		}
		i = j
	}
	return 0
}

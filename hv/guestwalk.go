package hv

import "github.com/pvrun/pvrun/hypercall"

// More bits of a page-table entry, and of a page fault's error code (Intel SDM
// volume 3A, "4-Level Paging", "Page-Fault Exceptions").
const (
	pteAccessed entry = 1 << 5
	pteDirty    entry = 1 << 6
	pteLarge    entry = 1 << 7 // PS: a page and not a table
	pteGlobal   entry = 1 << 8

	faultPresent  = 1 << 0
	faultUser     = 1 << 2
	faultReserved = 1 << 3
)

// guestTables walks the page tables that a guest in trap mode keeps in its own
// memory. Physical address 0 is frame 0 there. Each entry is read once.
type guestTables struct {
	mem      *memory
	text     textFrames // the image's, and the hypercall page: not to be written
	physBits int        // of physical addresses; the bits above are reserved

	// The registers of the virtual CPU that a walk depends on.
	cr3 uint64
	wp  bool // CR0.WP
	nxe bool // EFER.NXE
}

// textFrames are frames in a few runs: each segment of code is one.
type textFrames []frameRun

type frameRun struct{ first, n frame }

func (t textFrames) has(f frame) bool {
	for _, run := range t {
		if f-run.first < run.n { // wraps for frames before it
			return true
		}
	}
	return false
}

// translation is what the tables say of an address.
type translation struct {
	frame  uint64      // of the 4 KiB page, counted from physical address 0
	rights entry       // pteWrite, pteUser and pteNX as they add up, pteGlobal and pteDirty
	above  entry       // the same of what is above leaf
	leaf   *[512]entry // last-level table; nil for a large page
	first  uint64      // large page: frame at the 2 MiB boundary below the address
	huge   bool        // large page of 1 GiB
}

// walk translates an address for an access of the kinds in code (faultWrite,
// faultExecute, faultUser) and sets accessed and dirty flags as the access
// would. When the access is not allowed, fault is its error code.
func (g *guestTables) walk(a, code uint64) (tr translation, fault uint64, ok bool) {
	var used [4]*entry
	tr.rights = pteWrite | pteUser
	at := g.frameOf(g.cr3)
	for level := 4; ; level-- {
		e := g.entry(at, a>>(pageShift+9*(level-1))&511)
		v := ^entry(0) // nothing answers on the bus
		if e != nil {
			v = e.load()
		}
		if v&ptePresent == 0 {
			return tr, code, false
		}
		if v&g.reserved(level, v) != 0 || e == nil {
			return tr, code | faultPresent | faultReserved, false
		}
		used[4-level] = e
		tr.above = tr.rights
		tr.rights &= v | ^(pteWrite | pteUser)
		tr.rights |= v & pteNX
		at = g.frameOf(uint64(v))
		if level == 1 || v&pteLarge != 0 {
			tr.place(g, at, a, level, e)
			tr.rights |= v & (pteGlobal | pteDirty)
			break
		}
	}
	if !g.allows(tr.rights, code) {
		return tr, code | faultPresent, false
	}
	g.mark(&used, code)
	if code&faultWrite != 0 {
		tr.rights |= pteDirty
	}
	return tr, 0, true
}

// place finds the 4 KiB page of an address behind its last entry.
func (tr *translation) place(g *guestTables, at, a uint64, level int, e *entry) {
	if level == 1 {
		tr.frame, tr.leaf = at, tableOf(e)
		return
	}
	at &^= 1<<(9*(level-1)) - 1 // a large page's PAT flag is there
	tr.frame = at + a>>pageShift&(1<<(9*(level-1))-1)
	tr.first, tr.huge = tr.frame&^511, level == 3
}

// frameOf is the frame that an entry, or CR3, names.
func (g *guestTables) frameOf(v uint64) uint64 { return v & g.addrMask() >> pageShift }

func (g *guestTables) addrMask() uint64 { return 1<<g.physBits - pageSize }

// reserved is the bits that must be clear in an entry (Intel SDM volume 3A,
// "Format of Paging-Structure Entries").
func (g *guestTables) reserved(level int, v entry) entry {
	bits := pteAddr &^ entry(g.addrMask())
	if !g.nxe {
		bits |= pteNX
	}
	switch {
	case level == 4:
		bits |= pteLarge
	case level == 3 && v&pteLarge != 0:
		bits |= 1<<30 - 1<<13
	case level == 2 && v&pteLarge != 0:
		bits |= 1<<21 - 1<<13
	}
	return bits
}

// allows says whether rights permit an access at the virtual CPL that code has.
func (g *guestTables) allows(rights entry, code uint64) bool {
	user := code&faultUser != 0
	switch {
	case user && rights&pteUser == 0:
		return false
	case code&faultWrite != 0 && rights&pteWrite == 0 && (user || g.wp):
		return false
	}
	return code&faultExecute == 0 || rights&pteNX == 0
}

// mark sets the accessed flags on the way, and at its end the dirty flag.
func (g *guestTables) mark(used *[4]*entry, code uint64) {
	var last *entry
	for _, e := range used {
		if e == nil {
			break
		}
		if v := e.load(); v&pteAccessed == 0 {
			e.store(v | pteAccessed)
		}
		last = e
	}
	if v := last.load(); code&faultWrite != 0 && v&pteDirty == 0 {
		last.store(v | pteDirty)
	}
}

// entry is an entry of the table in a frame, nil beyond memory. Text is no table:
// accessed and dirty flags would change it.
func (g *guestTables) entry(table, index uint64) *entry {
	if !g.has(table) || g.text.has(frame(table)) {
		return nil
	}
	return &g.mem.entries(frame(table))[index]
}

// has says whether there is memory at a frame.
func (g *guestTables) has(f uint64) bool { return f < uint64(g.mem.total) }

// pageAt is the memory from a to the end of its page, for the host's calls.
func (g *guestTables) pageAt(a uint64, write bool) ([]byte, hypercall.Status) {
	if a >= lowerHalf { // the walk looks at 48 bits only
		return nil, hypercall.EFAULT
	}
	code := uint64(0)
	if write {
		code = faultWrite
	}
	if b, _, err := g.page(a, code); b != nil && err == nil {
		return b, 0
	}
	return nil, hypercall.EFAULT
}

func (g *guestTables) ofFile([]byte) bool { return false }

func (g *guestTables) move(a uint64, b []byte, write bool) (n int, s hypercall.Status) {
	page, s := g.pageAt(a, write)
	n = min(len(b), len(page))
	move(page[:n], b[:n], write)
	return n, s
}

// page is the memory from a to the end of its page, or nil and the error code of
// the page fault that the access is. The error is for what the host refuses.
func (g *guestTables) page(a, code uint64) (b []byte, fault uint64, err error) {
	tr, fault, ok := g.walk(a, code)
	switch {
	case !ok:
		return nil, fault, nil
	case !g.has(tr.frame):
		return nil, 0, errNoMemoryThere
	case code&faultWrite != 0 && g.text.has(frame(tr.frame)):
		return nil, 0, errTextWritten
	}
	return g.mem.page(frame(tr.frame))[a%pageSize:], 0, nil
}

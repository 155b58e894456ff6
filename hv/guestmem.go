package hv

import "github.com/pvrun/pvrun/hypercall"

// addressSpace knows where the guest's addresses lead.
type addressSpace interface {
	// pageAt is the memory from a to the end of its page, or EFAULT where the
	// guest itself could not read, or write, it.
	pageAt(a uint64, write bool) ([]byte, hypercall.Status)
	// ofFile says whether memory is that of a file, which may become shorter at any
	// time: only system calls may touch it, and they may be EFAULT.
	ofFile(b []byte) bool
	// move copies b to the memory at a, or from there, up to the end of its page, and
	// says how much that was. No call changes meanwhile where a leads.
	move(a uint64, b []byte, write bool) (n int, s hypercall.Status)
}

// guestMemory is access to guest memory by guest-virtual address. Every page is
// checked, so that a call can reach only what the guest itself can. copyIn and
// copyOut may be called while the guest runs; slices is for the vCPU's thread, which
// is done with them before the guest runs again.
type guestMemory struct{ addressSpace }

func (t *pageTables) pageAt(a uint64, write bool) ([]byte, hypercall.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.page(a, write)
}

// page is pageAt for those who have the lock.
func (t *pageTables) page(a uint64, write bool) ([]byte, hypercall.Status) {
	f, s := t.reach(a, write)
	if s != 0 {
		return nil, s
	}
	if t.win.hasFrame(f) {
		return t.win.page(f)[a%pageSize:], 0
	}
	return t.mem.page(f)[a%pageSize:], 0
}

// reach is the frame behind an address that the guest itself could read, or write.
// A page that waits for its frame gets it.
func (t *pageTables) reach(a uint64, write bool) (frame, hypercall.Status) {
	if a >= 1<<47 {
		return 0, hypercall.EFAULT
	}
	e := t.slot(a, false)
	if e == nil {
		return 0, hypercall.EFAULT
	}
	code := uint64(0)
	if write {
		code = faultWrite
	}
	v := e.load()
	if !allows(v, code) {
		return 0, hypercall.EFAULT
	}
	if v&pteFile != 0 {
		if !v.holds() && t.touchFile(a, code) != touchDone {
			return 0, hypercall.EFAULT
		}
		return v.frame(), 0
	}
	if !v.holds() && !t.fill(e, lazyBits(v)) {
		return 0, hypercall.ENOMEM
	}
	return e.load().frame(), 0
}

func (t *pageTables) ofFile(b []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.win.has(b)
}

func (t *pageTables) move(a uint64, b []byte, write bool) (n int, s hypercall.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	page, s := t.page(a, write)
	if s != 0 {
		return 0, s
	}
	n = min(len(b), len(page))
	switch {
	case t.win.has(page) && write:
		s = writeFile(page[:n], b[:n])
	case t.win.has(page):
		s = readFile(b[:n], page[:n])
	default:
		move(page[:n], b[:n], write)
	}
	return n, s
}

// move copies b to memory, or memory to b.
func move(memory, b []byte, write bool) {
	if write {
		copy(memory, b)
	} else {
		copy(b, memory)
	}
}

// slices is the guest memory [a, a+n) as few pieces of host memory as it is
// contiguous in. Nothing keeps them beyond the handler. What is to be read may be
// a copy; what is to be written may be a file's, and is for system calls only.
func (m guestMemory) slices(a, n uint64, write bool) ([][]byte, hypercall.Status) {
	if a+n < a {
		return nil, hypercall.EFAULT
	}
	var out [][]byte
	for n > 0 {
		b, s := m.pageAt(a, write)
		if s != 0 {
			return nil, s
		}
		b = b[:min(n, uint64(len(b)))]
		if !write && m.ofFile(b) {
			private := privateCopy(len(b))
			if s := readFile(private, b); s != 0 {
				return nil, s
			}
			b = private
		}
		out = appendPiece(out, b)
		a += uint64(len(b))
		n -= uint64(len(b))
	}
	return out, 0
}

// copyIn copies len(dst) bytes from the guest.
func (m guestMemory) copyIn(dst []byte, a uint64) hypercall.Status { return m.copyAll(a, dst, false) }

// copyOut copies src to the guest.
func (m guestMemory) copyOut(a uint64, src []byte) hypercall.Status { return m.copyAll(a, src, true) }

func (m guestMemory) copyAll(a uint64, b []byte, write bool) hypercall.Status {
	for len(b) > 0 {
		n, s := m.move(a, b, write)
		if s != 0 {
			return s
		}
		b = b[n:]
		a += uint64(n)
	}
	return 0
}

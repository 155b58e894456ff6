package hv

import "github.com/pvrun/pvrun/hypercall"

// pageRange is a checked run of the guest's own address space, page-aligned.
type pageRange struct{ start, end uint64 }

func (r pageRange) pages() uint64 { return (r.end - r.start) / pageSize }

// maxRange bounds what one paging call may walk, in bytes.
const maxRange = 1 << 36

// guestRange checks a range of a paging call.
func guestRange(start, length uint64) (pageRange, hypercall.Status) {
	switch {
	case start%pageSize != 0 || length%pageSize != 0 || length == 0:
		return pageRange{}, hypercall.EINVAL
	case start < uint64(hypercall.MinGVA) || start >= uint64(hypercall.ReservedGVA),
		length > uint64(hypercall.ReservedGVA)-start:
		return pageRange{}, hypercall.EINVAL
	case length > maxRange:
		return pageRange{}, hypercall.ENOMEM
	}
	return pageRange{start, start + length}, 0
}

// permBits turns what the guest asks for into entry bits. Execute is refused:
// only the image's text has it, from the start.
func permBits(flags hypercall.MapFlag) (entry, hypercall.Status) {
	switch {
	case flags&^hypercall.MapFlagsKnown != 0:
		return 0, hypercall.EINVAL
	case flags&hypercall.MapExec != 0:
		return 0, hypercall.EACCES
	case flags&hypercall.MapWrite != 0:
		return ptePresent | pteUser | pteUsed | pteWrite | pteNX, 0
	case flags&hypercall.MapRead != 0:
		return ptePresent | pteUser | pteUsed | pteNX, 0
	}
	return pteParked | pteNX, 0
}

// request checks what a call asks for: where, and with which permissions.
func request(start, length uint64, flags hypercall.MapFlag) (r pageRange, bits entry, s hypercall.Status) {
	if r, s = guestRange(start, length); s == 0 {
		bits, s = permBits(flags)
	}
	return r, bits, s
}

func (t *pageTables) doMap(start, length uint64, flags hypercall.MapFlag) hypercall.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, bits, s := request(start, length, flags)
	if s != 0 {
		return s
	}
	lazy := flags&hypercall.MapLazy != 0 || bits&pteParked != 0
	if s := t.unmap(r); s != 0 {
		return s
	}
	need := tablesFor(r.pages())
	if !lazy {
		need += r.pages()
	}
	if need > uint64(t.mem.spare()) {
		return hypercall.ENOMEM
	}
	if lazy {
		return t.each(r, true, func(_ uint64, e *entry) hypercall.Status {
			e.store(pteLazy | bits&^ptePresent)
			return 0
		})
	}
	return t.mapPromised(r, bits)
}

// headPages is how much of a mapping gets its frames at once. The rest is
// promised, and comes when a program gets there.
const headPages = 128

func (t *pageTables) mapPromised(r pageRange, bits entry) hypercall.Status {
	head := r.start + headPages*pageSize
	return t.each(r, true, func(a uint64, e *entry) hypercall.Status {
		if a >= head {
			e.store(pteLazy | pteOwed | bits&^ptePresent)
			t.mem.owed++
		} else if !t.fill(e, bits) {
			return hypercall.ENOMEM
		}
		return 0
	})
}

// populate backs frames that will soon be touched with host memory.
func (t *pageTables) populate(list []frame) {
	_ = forRuns(list, func(f frame, n int) error {
		t.mem.populate(f, n)
		return nil
	})
}

func (t *pageTables) doUnmap(start, length uint64) hypercall.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, s := guestRange(start, length)
	if s != 0 {
		return s
	}
	return t.unmap(r)
}

// unmap clears a range, all of it or, when the image's text is in it, nothing.
func (t *pageTables) unmap(r pageRange) hypercall.Status {
	if s := t.each(r, false, refuseFinal); s != 0 {
		return s
	}
	t.each(r, false, func(_ uint64, e *entry) hypercall.Status {
		if e != nil {
			t.clear(e)
		}
		return 0
	})
	return t.flush()
}

// refuseFinal also refuses text that has not been touched yet: an alias of it
// could be written.
func refuseFinal(_ uint64, e *entry) hypercall.Status {
	if e != nil && e.load()&pteFinal != 0 {
		return hypercall.EACCES
	}
	return 0
}

func (t *pageTables) doProtect(start, length uint64, flags hypercall.MapFlag) hypercall.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, bits, s := request(start, length, flags)
	if s != 0 {
		return s
	}
	if s := t.each(r, false, refuseProtect(bits)); s != 0 {
		return s
	}
	t.each(r, false, func(_ uint64, e *entry) hypercall.Status {
		if v := e.load(); v.holds() || v&pteFile != 0 {
			t.set(e, bits)
		} else {
			e.store(pteLazy | v&pteOwed | bits&^ptePresent)
		}
		return 0
	})
	return t.flush()
}

func refuseHoleOrFinal(a uint64, e *entry) hypercall.Status {
	if e == nil || e.load() == 0 {
		return hypercall.EINVAL
	}
	return refuseFinal(a, e)
}

// doDiscard takes frames away, and promises of frames, and lets their pages wait
// for others, lazily: as on Linux, memory that a program gave back is not
// promised to it.
func (t *pageTables) doDiscard(start, length uint64) hypercall.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, s := guestRange(start, length)
	if s != 0 {
		return s
	}
	t.each(r, false, func(_ uint64, e *entry) hypercall.Status {
		if e == nil {
			return 0
		}
		switch v := e.load(); {
		case v&pteFile != 0: // the file's to keep
		case v&ptePresent != 0 && v&pteWrite != 0 && !t.mem.shared(v.frame()):
			t.clear(e)
			e.store(pteLazy | v&^(ptePresent|pteAddr))
		case v&pteOwed != 0:
			t.clear(e)
			e.store(v &^ pteOwed)
		}
		return 0
	})
	return t.flush()
}

func (t *pageTables) doAlias(start, length uint64, flags hypercall.MapFlag, source uint64) hypercall.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, s := guestRange(start, length)
	if s != 0 {
		return s
	}
	src, s := guestRange(source, length)
	if s != 0 {
		return s
	}
	bits, s := permBits(flags) // last: a wrong range is told before a wrong permission
	if s != 0 {
		return s
	}
	if bits&ptePresent == 0 || flags&hypercall.MapLazy != 0 || src.start < r.end && r.start < src.end {
		return hypercall.EINVAL
	}
	if s := t.each(src, false, t.settle); s != 0 {
		return s
	}
	if s := t.unmap(r); s != 0 {
		return s
	}
	if tablesFor(r.pages()) > uint64(t.mem.spare()) {
		return hypercall.ENOMEM
	}
	return t.each(r, true, func(a uint64, e *entry) hypercall.Status {
		f := t.slot(a-r.start+src.start, false).load().frame()
		t.mem.share(f)
		e.store(entry(f.gpa()) | bits)
		return 0
	})
}

// settle makes sure that a page of an alias's source has a frame that may be
// shared.
func (t *pageTables) settle(a uint64, e *entry) hypercall.Status {
	if s := refuseHoleOrFinal(a, e); s != 0 {
		return s
	}
	switch v := e.load(); {
	case v&pteFile != 0:
		return hypercall.EINVAL
	case !v.holds() && !t.fill(e, lazyBits(v)):
		return hypercall.ENOMEM
	}
	return 0
}

// lazyBits are the bits that an entry waiting for its frame will have.
func lazyBits(v entry) entry {
	bits := v &^ (pteLazy | pteOwed | pteAddr)
	if bits&pteParked == 0 {
		bits |= ptePresent
	}
	return bits
}

func (t *pageTables) flush() hypercall.Status { return ioStatus(t.invalidate()) }

func ioStatus(err error) hypercall.Status {
	if err != nil {
		return hypercall.EIO
	}
	return 0
}

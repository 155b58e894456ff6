package guest

import "github.com/pvrun/pvrun/hypercall"

// The paging calls as the contract has them, on a bare machine's tables.

// pageRange is a checked run of the program's address space, page-aligned.
type pageRange struct{ start, end uintptr }

func (r pageRange) pages() uintptr { return (r.end - r.start) / pageSize }

// maxRange bounds what one call may walk, in bytes.
const maxRange = 1 << 36

func guestRange(start, length uintptr) (pageRange, hypercall.Status) {
	switch {
	case start%pageSize != 0 || length%pageSize != 0 || length == 0:
		return pageRange{}, hypercall.EINVAL
	case start < uintptr(hypercall.MinGVA) || start >= uintptr(hypercall.ReservedGVA),
		length > uintptr(hypercall.ReservedGVA)-start:
		return pageRange{}, hypercall.EINVAL
	case length > maxRange:
		return pageRange{}, hypercall.ENOMEM
	}
	return pageRange{start, start + length}, 0
}

// permBits turns what is asked for into entry bits.
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
func request(start, length uintptr, flags hypercall.MapFlag) (r pageRange, bits entry, s hypercall.Status) {
	if r, s = guestRange(start, length); s == 0 {
		bits, s = permBits(flags)
	}
	return r, bits, s
}

func (t *pageTables) doMap(start, length uintptr, flags hypercall.MapFlag) hypercall.Status {
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
		need += int(r.pages())
	}
	if need > t.ram.spare() {
		return hypercall.ENOMEM
	}
	return t.fillRange(r, bits, lazy)
}

// headPages is how much of a mapping gets its frames at once. The rest is
// promised, and comes when a program gets there.
const headPages = 128

func (t *pageTables) fillRange(r pageRange, bits entry, lazy bool) hypercall.Status {
	head := r.start + headPages*pageSize
	w := t.walk(r)
	for a, e, ok := w.next(true); ok; a, e, ok = w.next(true) {
		switch {
		case e == nil:
			return hypercall.ENOMEM
		case lazy:
			*e = pteLazy | bits&^ptePresent
		case a >= head:
			*e = pteLazy | pteOwed | bits&^ptePresent
			t.ram.owed++
		case !t.fill(e, bits):
			return hypercall.ENOMEM
		}
	}
	return 0
}

func (t *pageTables) doUnmap(start, length uintptr) hypercall.Status {
	r, s := guestRange(start, length)
	if s != 0 {
		return s
	}
	return t.unmap(r)
}

// unmap clears a range, all of it or, when the image's text is in it, nothing.
func (t *pageTables) unmap(r pageRange) hypercall.Status {
	if s := t.check(r, true); s != 0 {
		return s
	}
	w := t.walk(r)
	for a, e, ok := w.next(false); ok; a, e, ok = w.next(false) {
		if e != nil && *e != 0 {
			t.clear(a, e)
		}
	}
	t.flush()
	return 0
}

// check refuses the image's text, and a hole unless they are allowed.
func (t *pageTables) check(r pageRange, holes bool) hypercall.Status {
	w := t.walk(r)
	for _, e, ok := w.next(false); ok; _, e, ok = w.next(false) {
		switch {
		case e == nil || *e == 0:
			if !holes {
				return hypercall.EINVAL
			}
		case e.final():
			return hypercall.EACCES
		}
	}
	return 0
}

func (t *pageTables) doProtect(start, length uintptr, flags hypercall.MapFlag) hypercall.Status {
	r, bits, s := request(start, length, flags)
	if s != 0 {
		return s
	}
	if s := t.check(r, false); s != 0 {
		return s
	}
	w := t.walk(r)
	for a, e, ok := w.next(false); ok; a, e, ok = w.next(false) {
		if v := *e; v.holds() {
			t.set(a, e, bits)
		} else {
			*e = pteLazy | v&pteOwed | bits&^ptePresent
		}
	}
	t.flush()
	return 0
}

// doDiscard takes frames away, and promises of frames, and lets their pages wait
// for others, lazily: as on Linux, memory that a program gave back is not
// promised to it.
func (t *pageTables) doDiscard(start, length uintptr) hypercall.Status {
	r, s := guestRange(start, length)
	if s != 0 {
		return s
	}
	w := t.walk(r)
	for a, e, ok := w.next(false); ok; a, e, ok = w.next(false) {
		if e == nil {
			continue
		}
		switch v := *e; {
		case v&ptePresent != 0 && v&pteWrite != 0 && !t.ram.shared(v.frame()):
			t.clear(a, e)
			*e = pteLazy | v&^(ptePresent|pteGlobal|pteOwed|pteAddr)
		case v&ptePresent == 0 && v&pteOwed != 0:
			t.clear(a, e)
			*e = v &^ pteOwed
		}
	}
	t.flush()
	return 0
}

func (t *pageTables) doAlias(start, length uintptr, flags hypercall.MapFlag, source uintptr) hypercall.Status {
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
	if s := t.settle(src); s != 0 {
		return s
	}
	if s := t.unmap(r); s != 0 {
		return s
	}
	if tablesFor(r.pages()) > t.ram.spare() {
		return hypercall.ENOMEM
	}
	return t.shareRange(r, src, bits)
}

// settle makes sure that all pages of an alias's source have frames that may be
// shared.
func (t *pageTables) settle(src pageRange) hypercall.Status {
	w := t.walk(src)
	for _, e, ok := w.next(false); ok; _, e, ok = w.next(false) {
		switch {
		case e == nil || *e == 0:
			return hypercall.EINVAL
		case e.final():
			return hypercall.EACCES
		case !e.holds() && !t.fill(e, lazyBits(*e)):
			return hypercall.ENOMEM
		}
	}
	return 0
}

func (t *pageTables) shareRange(r, src pageRange, bits entry) hypercall.Status {
	from, to := t.walk(src), t.walk(r)
	for {
		_, e, ok := to.next(true)
		if !ok {
			return 0
		}
		_, s, _ := from.next(false)
		if e == nil || s == nil || !t.ram.share(s.frame()) {
			return hypercall.ENOMEM
		}
		*e = frameEntry(s.frame()) | bits
	}
}

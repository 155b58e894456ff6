package hv

import "github.com/pvrun/pvrun/hypercall"

// mapper makes the first page tables of a guest, in place of a boot loader.
type mapper interface {
	// mapFrames maps n frames in a row at a, where nothing is mapped yet.
	mapFrames(a hypercall.GVA, first frame, n int, bits entry) error
	// mapLazily lets [a, end) have zeroed memory.
	mapLazily(a, end hypercall.GVA, bits entry) error
}

// bootTables are the page tables that a guest in trap mode begins with, in its
// own memory, with its own physical addresses.
type bootTables struct {
	mem  *memory
	root frame
}

func newBootTables(mem *memory) (*bootTables, error) {
	// Address 0 is nobody's, so that a table there is told from none.
	if _, ok := mem.take(); !ok {
		return nil, errTooSmall
	}
	root, ok := mem.take()
	if !ok {
		return nil, errTooSmall
	}
	return &bootTables{mem: mem, root: root}, nil
}

// entryAt is the entry for an address at a level, 1 being the last.
func (t *bootTables) entryAt(a uint64, last int) (*entry, error) {
	at := t.root
	for level := 4; level > last; level-- {
		e := &t.mem.entries(at)[a>>(pageShift+9*(level-1))&511]
		if e.load() == 0 {
			f, ok := t.mem.take()
			if !ok {
				return nil, errTooSmall
			}
			e.store(entry(f)<<pageShift | ptePresent | pteWrite | pteAccessed)
		}
		at = frame(e.load() & pteAddr >> pageShift)
	}
	return &t.mem.entries(at)[a>>(pageShift+9*(last-1))&511], nil
}

// bootBits are those of the bits of an entry that a guest's own tables have.
func bootBits(bits entry) entry { return bits&(pteWrite|pteNX) | ptePresent | pteUsed }

func (t *bootTables) mapFrames(a hypercall.GVA, first frame, n int, bits entry) error {
	for i := range n {
		e, err := t.entryAt(uint64(a)+uint64(i)*pageSize, 1)
		if err != nil {
			return err
		}
		e.store(entry(first+frame(i))<<pageShift | bootBits(bits))
	}
	return nil
}

// mapLazily leaves what can be written to the guest, which has the page faults.
// For the rest it takes the memory at once: a PC's memory is there or not.
func (t *bootTables) mapLazily(a, end hypercall.GVA, bits entry) error {
	if bits&pteWrite != 0 {
		return nil
	}
	for ; a < end; a += pageSize {
		f, ok := t.mem.take()
		if !ok {
			return errTooSmall
		}
		if err := t.mapFrames(a, f, 1, bits); err != nil {
			return err
		}
	}
	return nil
}

// mapDirectly shows the guest its physical memory, in large pages as far as they
// go.
func (t *bootTables) mapDirectly() error {
	frames := frame(t.mem.total)
	large := frames &^ 511
	for f := frame(0); f < large; f += 512 {
		e, err := t.entryAt(uint64(hypercall.DirectMapGVA)+uint64(f)<<pageShift, 2)
		if err != nil {
			return err
		}
		e.store(entry(f)<<pageShift | bootBits(pteWrite|pteNX) | pteLarge)
	}
	return t.mapFrames(hypercall.DirectMapGVA+hypercall.GVA(large)<<pageShift, large, int(frames-large), pteWrite|pteNX)
}

package hv

import (
	"fmt"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// account is what page tables say of a machine's frames. It is made by a walk that
// believes nothing: the tables may come from a file.
type account struct {
	engine engine.Engine
	mem    *memory
	frames // as their owner would have them
	tables []tableFrame
	kind   []frameKind // of each frame
	system frame
	own    int // system pages that were found
}

// tableFrame is a page table, and how much an entry of it covers.
type tableFrame struct {
	frame
	shift int
}

// frameKind is what a frame was found to be, as bits.
type frameKind uint8

const (
	frameTable    frameKind = 1 << iota // a page table
	frameSystem                         // one of the machine's own pages
	frameMapped                         // the guest has it
	frameExecuted                       // as text
)

// newAccount walks the tables from root. The error says what in them is not as the
// host makes them.
func newAccount(mem *memory, root frame) (*account, error) {
	a := &account{engine: snapshotEngine, mem: mem, frames: newFrames(mem.total), kind: make([]frameKind, mem.total)}
	if err := a.table(root, 39, 0); err != nil {
		return nil, err
	}
	if a.own != a.engine.SystemPages() {
		return nil, fmt.Errorf("%d system pages of %d", a.own, a.engine.SystemPages())
	}
	return a, nil
}

// use takes a frame for what it was found to be. Text has one mapping: the right to
// another could be changed by a call.
func (a *account) use(f frame, kind frameKind) error {
	switch k := a.at(f); {
	case int(f) >= a.total:
		return fmt.Errorf("frame %#x of %#x", f, a.total)
	case k != 0 && (kind&frameMapped == 0 || k&frameMapped == 0 || (kind|k)&frameExecuted != 0):
		return fmt.Errorf("frame %#x is used as two things", f)
	case k != 0:
		a.share(f)
	default:
		a.free[f/64] &^= 1 << (f % 64)
		a.left--
	}
	a.kind[f] |= kind
	return nil
}

// used are the frames that are somebody's, a bit each.
func (a *account) used() []uint64 {
	set := make([]uint64, len(a.free))
	for i, w := range a.free {
		set[i] = ^w
	}
	return set
}

func (a *account) at(f frame) frameKind {
	if int(f) < len(a.kind) {
		return a.kind[f]
	}
	return 0
}

// table walks the table whose entries cover 1<<shift bytes each, from base on.
func (a *account) table(f frame, shift int, base uint64) error {
	if err := a.use(f, frameTable); err != nil {
		return err
	}
	a.tables = append(a.tables, tableFrame{f, shift})
	for i, v := range a.mem.entries(f) {
		if v == 0 {
			continue
		}
		at := base | uint64(i)<<shift
		if shift == 39 && i >= 256 {
			at |= 0xffff << 48
		}
		if err := a.entry(v, shift, at); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) entry(v entry, shift int, at uint64) error {
	const table = ptePresent | pteWrite | pteUser | pteUsed
	switch {
	case shift > 12 && v&^pteAddr != table, v&pteAddr != 0 && v&pteAddr != entry(v.frame().gpa()):
		return fmt.Errorf("entry %#x at %#x", v, at)
	case shift > 12:
		return a.table(v.frame(), shift-9, at)
	case at >= engine.SystemGVA:
		return a.systemPage(v, int(at-engine.SystemGVA)>>pageShift)
	}
	return a.page(v, at)
}

func (a *account) systemPage(v entry, n int) error {
	if n == 0 {
		a.system = v.frame()
	}
	if n >= a.engine.SystemPages() || v != systemEntry(a.engine, a.system, n) {
		return fmt.Errorf("entry %#x of system page %d", v, n)
	}
	a.own++
	return a.use(v.frame(), frameSystem)
}

// page is an entry of the guest's own.
func (a *account) page(v entry, at uint64) error {
	const common = pteUser | pteUsed | pteWrite | pteNX | pteFinal
	final, text := v&pteFinal != 0, v&pteNX == 0
	known, kind := ptePresent|common|pteAddr, frameMapped
	if v&ptePresent == 0 {
		known = pteLazy | pteOwed | pteParked | common | pteAddr
	}
	switch {
	case v&^known != 0, !v.holds() && v&pteAddr != 0, final != text, text && v&pteWrite != 0,
		at >= uint64(hypercall.ReservedGVA) && v&ptePresent == 0, // no call and no access changes it
		text && at >= uint64(hypercall.ReservedGVA) && at != uint64(hypercall.HypercallGVA),
		v&pteParked == 0 && v&(pteUser|pteUsed) != pteUser|pteUsed,
		v&(ptePresent|pteLazy|pteParked) == 0, v&(pteOwed|pteLazy) == pteOwed:
		return fmt.Errorf("entry %#x at %#x", v, at)
	case v&pteOwed != 0:
		a.owed++
	}
	if text {
		kind |= frameExecuted
	}
	if !v.holds() {
		return nil
	}
	return a.use(v.frame(), kind)
}

package hv

import (
	"slices"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// window is memory of the machine's beside its own, in which the guest sees files
// that it has mapped: the host's mapping of a file and the guest's are one. Its
// frames have numbers beyond all others, each at most one entry, which has
// pteFile. It is reserved as a whole, and given to the machine in steps.
//
// An entry is present where the file was found to have a page, and lazy elsewhere:
// a touch there looks again. Files become shorter, and disks full, underneath. Then
// the kernel cannot enter the guest with EFAULT and does not say why: distrust makes
// all entries lazy, and the touch that failed comes back as a page fault.
//
// A nil window is empty.
type window struct {
	whole []byte // data, and before it room that keeps it apart from mem's
	data  []byte // no access where no file is mapped
	first frame
	give  func(slot int, at hypercall.GPA, mem []byte) error // to the machine
	given int                                                // steps that it has

	areas []*area    // by place
	void  []frameRun // frames whose old translations may still be known
	empty bool       // areas without pages are there

	// careful is how many touches bring in no neighbours, which may be what the
	// failed instruction needs next.
	careful int
}

// area is one mapping of a file.
type area struct {
	first, n frame
	start    uint64 // where the guest mapped it
	live     int    // entries that are left of it
	shown    uint64 // pages from its first that may be present
	writes   bool   // the host's mapping can be written, too
}

const (
	// windowSize is the address space of files mapped at once, windowStep how much
	// of it the machine is given in one go: the kernel keeps 8 bytes a page.
	windowSize = 64 << 30
	windowStep = 256 << 20
	// windowGap is a large page, so that the window may still begin on one.
	windowGap = 2 << 20
	// windowAlign is where the window may begin on the machine's physical bus.
	windowAlign = 1 << 30
	// maxAreas bounds mappings; each is one of the host process's, of which there are
	// 65530 (vm.max_map_count's default, proc_sys_vm(5)).
	maxAreas = 8192
	// carefulTouches is more than the pages that one instruction can touch.
	carefulTouches = 64
)

// newWindow reserves the addresses. physBits are the machine's. ENODEV, with which
// guests do without, is for a processor or a limit of the process's that leaves none.
func newWindow(mem *memory, physBits int, give func(int, hypercall.GPA, []byte) error) (*window, error) {
	const align = windowAlign >> pageShift
	w := &window{first: (frame(mem.total) + align - 1) &^ (align - 1), give: give}
	size := min(windowSize, int64(1)<<physBits-int64(w.first.gpa()))
	if size < windowStep {
		return nil, unix.ENODEV
	}
	whole, err := unix.Mmap(-1, 0, int(size&^(windowStep-1))+windowGap, unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, unix.ENODEV
	}
	// Pieces of both in a row would be taken for one, which is not ofFile.
	w.whole, w.data = whole, whole[windowGap:]
	return w, nil
}

func (w *window) close() error {
	if w == nil {
		return nil
	}
	err := unix.Munmap(w.whole)
	w.whole, w.data, w.areas = nil, nil, nil
	return err
}

// run is the memory of n frames. The host itself never looks at it: ofFile.
func (w *window) run(f, n frame) []byte {
	at := int(f-w.first) << pageShift
	return w.data[at : at+int(n)<<pageShift : at+int(n)<<pageShift]
}

func (w *window) page(f frame) []byte { return w.run(f, 1) }

// hasFrame says whether a frame is the window's.
func (w *window) hasFrame(f frame) bool { return w != nil && f >= w.first }

// find is the index of the first area at f or after it.
func (w *window) find(f frame) int {
	i, _ := slices.BinarySearchFunc(w.areas, f, func(a *area, f frame) int {
		if a.first+a.n <= f {
			return -1
		}
		return 1
	})
	return i
}

// of is the area that an entry's frame is in: there is one as long as there is
// the entry.
func (w *window) of(v entry) *area { return w.areas[w.find(v.frame())] }

// take finds room for n pages, the lowest, and gives the machine what it has not
// of it.
func (w *window) take(n frame) (*area, error) {
	if len(w.areas) >= maxAreas {
		return nil, unix.ENOMEM
	}
	at, i := w.first, 0
	for ; i < len(w.areas) && w.areas[i].first-at < n; i++ {
		at = w.areas[i].first + w.areas[i].n
	}
	if i == len(w.areas) && uint64(at-w.first)+uint64(n) > uint64(len(w.data))>>pageShift {
		return nil, unix.ENOMEM
	}
	for w.given*windowStep < int(at-w.first+n)<<pageShift {
		f := w.first + frame(w.given*(windowStep>>pageShift))
		if err := w.give(w.given+1, f.gpa(), w.run(f, windowStep>>pageShift)); err != nil {
			return nil, unix.ENOMEM
		}
		w.given++
	}
	a := &area{first: at, n: n, live: int(n)}
	w.areas = slices.Insert(w.areas, i, a)
	return a, nil
}

// drop takes an entry's page away; invalidate does the rest.
func (w *window) drop(v entry) {
	a := w.of(v)
	if a.live--; a.live == 0 {
		w.empty = true
	}
	if v&ptePresent != 0 {
		w.voided(v.frame())
	}
}

// set gives an entry other permissions, which refuseProtect has allowed.
func (w *window) set(e *entry, bits entry) {
	old := e.load()
	if bits&pteWrite != 0 {
		w.open(w.of(old))
	}
	v := old&(pteAddr|pteFile|pteFixed) | bits
	if old&ptePresent == 0 || bits&ptePresent == 0 {
		v = v&^ptePresent | pteLazy
	}
	if old&ptePresent != 0 && v != old {
		w.voided(old.frame())
	}
	e.store(v)
}

// open lets an area be written that was mapped to be read. Until then the host has it
// so, too: each writeback of a file takes the right to write away from all mappings
// that have it, and with it what a vCPU knows of them. If the host refuses, the
// touch that comes is refused.
func (w *window) open(a *area) {
	if !a.writes {
		a.writes = unix.Mprotect(w.run(a.first, a.n), unix.PROT_READ|unix.PROT_WRITE) == nil
	}
}

// voided notes a frame for invalidate.
func (w *window) voided(f frame) {
	if n := len(w.void); n > 0 && w.void[n-1].first+w.void[n-1].n == f {
		w.void[n-1].n++
		return
	}
	w.void = append(w.void, frameRun{f, 1})
}

// invalidate voids what a vCPU knows of pages that were taken away or protected,
// and frees the areas that have none left. What a file holds stays.
func (w *window) invalidate() error {
	if w == nil {
		return nil
	}
	if w.empty {
		if err := w.sweep(); err != nil {
			return err
		}
	}
	for _, r := range w.void {
		if err := unix.Madvise(w.run(r.first, r.n), unix.MADV_DONTNEED); err != nil {
			return err
		}
	}
	w.void = w.void[:0]
	return nil
}

// sweep frees empty areas, for good once the host's mappings of the files are gone.
func (w *window) sweep() (err error) {
	w.areas = slices.DeleteFunc(w.areas, func(a *area) bool {
		if a.live > 0 || err != nil {
			return false
		}
		err = hideFile(w.run(a.first, a.n))
		return err == nil
	})
	w.empty = err != nil
	return err
}

// refuseProtect is for what may not have the permissions in bits.
func refuseProtect(bits entry) func(uint64, *entry) hypercall.Status {
	return func(a uint64, e *entry) hypercall.Status {
		if s := refuseHoleOrFinal(a, e); s != 0 {
			return s
		}
		if e.load()&pteFixed != 0 && bits&pteWrite != 0 {
			return hypercall.EACCES
		}
		return 0
	}
}

// physBits is what the machine's processor has; without one, in tests, much.
func (vm *VM) physBits() int {
	if vm.machine == nil {
		return 46
	}
	return vm.machine.PhysBits()
}

// giveMemory is newWindow's give.
func (vm *VM) giveMemory(slot int, at hypercall.GPA, mem []byte) error {
	if vm.machine == nil {
		return nil
	}
	return vm.machine.AddMemory(slot, at, mem)
}

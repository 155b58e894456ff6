package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// What /proc tells of the kernel's own lists: the library's door has them copied.

// Area is a run of addresses that are alike.
type Area struct {
	Start, End uintptr
	Prot       uint32 // as mmap has it
	SharedFile uint32 // not 0: it shows a file as far as that goes
}

// Areas copies the areas that mmap gave out and that end beyond from, in
// ascending order, to a heap slice, and returns how many.
func Areas(from uintptr, to []Area) int {
	return int(Gate(sysAreas, from, uintptr(unsafe.Pointer(&to[0])), uintptr(len(to)), 0, 0, 0))
}

func tellAreas(from, to, most uintptr) int64 {
	out := unsafe.Slice((*Area)(unsafe.Pointer(to)), most)
	n := 0
	for i := search(from); i < regions.n && n < len(out); i++ {
		r := all()[i]
		out[n] = Area{Start: r.start, End: r.end, Prot: uint32(r.prot)}
		if r.file == sharedFile {
			out[n].SharedFile = 1
		}
		n++
	}
	return int64(n)
}

// ImageHeader is the address of the image's ELF header: Go's linker puts a page
// of headers before the text.
func ImageHeader() uintptr { return code.text - hypercall.PageSize }

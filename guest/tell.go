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

// Thread is a thread as /proc/self/task tells of it.
type Thread struct {
	ID   int32
	Live int32 // how many threads there are
	Credentials
}

// NextThread copies the first live thread whose number is id or above to the
// heap, and says whether there is one.
func NextThread(id int32, to *Thread) bool {
	return Gate(sysThread, uintptr(id), uintptr(unsafe.Pointer(to)), 0, 0, 0, 0) == 0
}

func tellThread(id int32, to *Thread) int64 {
	for ; id <= int32(threads.used*chunkThreads); id++ {
		if t := threadByID(id); t != nil {
			*to = Thread{ID: id, Live: int32(threads.live), Credentials: t.creds}
			return 0
		}
	}
	return -eSRCH
}

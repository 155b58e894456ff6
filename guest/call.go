package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// Everything below the kernel is one small set of operations, numbered as the
// contract's calls are, with two implementations: the host's, and on a bare
// machine the kernel's own. Kernel code and the library's door do not know which.

// isNative is whether the machine is a bare one ([hypercall.ModeTrap]). It is
// written once, at the first instruction, and read by assembly too.
var isNative bool

// call does an operation for the kernel.
func call(nr hypercall.Call, a1, a2, a3, a4 uintptr) int64 {
	if isNative {
		return native(nr, a1, a2, a3, a4)
	}
	return hostCall(nr, a1, a2, a3, a4, 0, 0)
}

// Call does an operation for the library's door: pointers travel as guest
// addresses; the caller keeps what they point to alive and unmoved (heap or
// global memory). A result in [-4095, -1] is minus a [hypercall.Status].
func Call(nr hypercall.Call, a1, a2, a3, a4 uintptr) int64 {
	if isNative {
		// No machine has a device for the host's files.
		if nr != hypercall.CallHostFile {
			return Gate(sysNative, uintptr(nr), a1, a2, a3, a4, 0)
		}
		touchArgs((*hypercall.HostFileArgs)(unsafe.Pointer(a1)))
	}
	return hostCall(nr, a1, a2, a3, a4, 0, 0)
}

// hostCall asks the host, in the kernel or, with events unmasked, outside.
func hostCall(nr hypercall.Call, a1, a2, a3, a4, a5, a6 uintptr) int64

// touchArgs brings in what a call to the host names: the host brings nothing in
// by itself on a bare machine.
func touchArgs(a *hypercall.HostFileArgs) {
	touchPages(uintptr(a.Path), uintptr(a.PathLen))
	touchPages(uintptr(a.Buf), uintptr(a.BufLen))
}

// touchPages reads a byte of each page that would come at first touch. What may
// not be touched is the host's to refuse.
func touchPages(at, n uintptr) {
	if at+n < at || at+n > 1<<47 {
		return
	}
	for p := at &^ (pageSize - 1); p < at+n; p += pageSize {
		if e := paging.slot(p); e == nil {
			continue
		} else if v := *e; v&pteLazy != 0 && allows(v, 0) {
			atomic.LoadUint32((*uint32)(unsafe.Pointer(p)))
		}
	}
}

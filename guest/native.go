package guest

import "github.com/pvrun/pvrun/hypercall"

// native does an operation on a bare machine, with interrupts disabled.
func native(nr hypercall.Call, a1, a2, a3, a4 uintptr) int64 {
	return -int64(hypercall.ENOSYS)
}

package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

const futexBuckets = 64

// futexQueue holds waiting threads by address, oldest first. Owned by the vCPU.
var futexQueue [futexBuckets]uintptr

func futexBucket(addr uintptr) *uintptr { return &futexQueue[addr>>2%futexBuckets] }

// Operations of futex(2).
const (
	futexWait     = 0
	futexWake     = 1
	futexCommands = 127
)

func futex(t *thread, addr uintptr, op, val uint32, timeout uintptr) int64 {
	switch op & futexCommands {
	case futexWait:
		return futexSleep(t, addr, val, timeout)
	case futexWake:
		return futexWakeUp(addr, int64(int32(val)))
	}
	return -eNOSYS
}

func futexSleep(t *thread, addr uintptr, val uint32, timeout uintptr) int64 {
	switch {
	case addr%4 != 0:
		return -eINVAL
	case !readable(addr, 4), !mayRead(timeout, unsafe.Sizeof(timespec{})):
		return -eFAULT
	}
	if atomic.LoadUint32((*uint32)(unsafe.Pointer(addr))) != val || mayNotSleep(addr) {
		return -eAGAIN
	}
	deadline := int64(hypercall.Forever)
	if timeout != 0 {
		deadline = after((*timespec)(unsafe.Pointer(timeout)))
	}
	at := futexBucket(addr)
	for *at != 0 {
		at = &threadAt(*at).next
	}
	t.addr, t.next = addr, 0
	*at = t.addrOf()
	block(t, waitFutex, deadline)
	return 0
}

func futexWakeUp(addr uintptr, most int64) (woken int64) {
	for at := *futexBucket(addr); at != 0 && woken < most; {
		t := threadAt(at)
		at = t.next
		if t.addr == addr {
			wake(t, 0)
			woken++
		}
	}
	return woken
}

// futexForget takes a thread out of its queue.
func futexForget(t *thread) {
	for at := futexBucket(t.addr); *at != 0; at = &threadAt(*at).next {
		if *at == t.addrOf() {
			*at = t.next
			t.next = 0
			return
		}
	}
}

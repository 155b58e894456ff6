package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// event is the upcall's Go part: an exception of the running thread, or events, or
// a bare machine's interrupt.
func event() {
	t := running()
	fixInterrupted(t)
	switch v := vcpuPage().Vector; {
	case v == hypercall.VectorEvent:
	case v >= vectorPIC:
		interrupted(v)
	case v == vectorInvalidOpcode && isSyscall(t.frame.rip):
		t.frame.rip += syscallSize
		t.frame.rcx, t.frame.r11 = t.frame.rip, t.frame.rflags
		systemCall()
		return
	default:
		exception(t, v)
	}
	events()
}

// events handles what is pending. Any event is a chance for who waits for the
// vCPU to run before the thread that was interrupted.
func events() {
	takeEvents()
	wakeSleepers(monotonic())
	yield(running())
	finish()
}

// finish ends every visit to the kernel: someone is chosen to run and gets its
// signals, and a host that has meanwhile raised an event is heard.
func finish() {
	for {
		reschedule()
		deliverSignals(running())
		if running().run == threadRunning {
			break
		}
	}
}

// fixInterrupted shows a thread that was on its way out of the gate, or out of
// the hypercall page, as if it had already returned: code of the kernel's has
// no place in a traceback.
func fixInterrupted(t *thread) {
	ip := t.frame.rip
	inTail := ip >= code.leaveTail && ip < code.leaveTailEnd
	inPage := ip > uintptr(hypercall.HypercallGVA) && ip < uintptr(hypercall.HypercallGVA)+hypercall.PageSize
	if inTail || inPage && t.frame.rsp != 0 && isReturn(ip) {
		t.frame.rip = *(*uintptr)(unsafe.Pointer(t.frame.rsp))
		t.frame.rsp += 8
	}
}

func isReturn(ip uintptr) bool { return *(*byte)(unsafe.Pointer(ip)) == 0xc3 }

const (
	vectorInvalidOpcode = 6
	syscallSize         = 2
)

// isSyscall looks at the instruction that was invalid. It was fetched, so its
// first byte can be read; a second on the next page that cannot is not there
// for a SYSCALL either.
func isSyscall(ip uintptr) bool {
	return ip&(hypercall.PageSize-1) != hypercall.PageSize-1 &&
		*(*byte)(unsafe.Pointer(ip)) == 0x0f && *(*byte)(unsafe.Pointer(ip + 1)) == 0x05
}

// takeEvents takes all pending events and passes them on.
func takeEvents() {
	for {
		p := atomic.SwapUint32(&vcpuPage().Pending, 0)
		if p == 0 {
			return
		}
		// Every caller looks at the sleepers.
		if p&(1<<hypercall.EventTimer) != 0 && timers.armed != 0 {
			expireTimers()
		}
		if p&(1<<hypercall.EventSignal) != 0 {
			raiseProcess(atomic.SwapUint64(&Shared().Signals, 0))
		}
		if p&(1<<hypercall.EventConsoleIn) != 0 {
			notify(FDConsoleIn, epollIn)
		}
		if p&(1<<hypercall.EventConsoleOut) != 0 {
			notify(FDConsoleOut, epollOut)
			notify(FDConsoleErr, epollOut)
		}
		if p&(1<<hypercall.EventBlock|1<<hypercall.EventNet) != 0 {
			tellRings()
		}
		if p&(1<<hypercall.EventMessage) != 0 {
			notify(FDMessage, epollIn)
		}
		if p&(1<<hypercall.EventSuspend) != 0 {
			wantRest()
		}
	}
}

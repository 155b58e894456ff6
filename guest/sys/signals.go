package sys

import (
	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// gate passes a call without pointers on to the runtime's door.
func gate(trap uintptr, a *args) (int, fs.Errno) {
	return linux(guest.Gate(trap, a.v[0], a.v[1], a.v[2], a.v[3], a.v[4], a.v[5]))
}

// signalCall does what the runtime's door answers: signals, threads, the end.
func signalCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_exit, sys_exit_group:
		return gave(gate(sys_exit_group, a))
	case sys_kill:
		if p := a.int(0); p != pid && p != 0 && p != -1 && p != -pid {
			return done(fs.ESRCH)
		}
		a.v[0] = pid
		return gave(gate(trap, a))
	case sys_tgkill, sys_tkill, sys_gettid, sys_sched_yield, sys_timer_delete, sys_timer_getoverrun, sys_alarm:
		return gave(gate(trap, a))
	case sys_rt_sigaction, sys_rt_sigprocmask, sys_sigaltstack, sys_rt_sigpending,
		sys_setitimer, sys_getitimer, sys_timer_create, sys_timer_settime, sys_timer_gettime,
		sys_sched_getaffinity, sys_futex:
		return gave(gatePointers(trap, a))
	case sys_sched_setaffinity, sys_rt_sigreturn, sys_pause, sys_rt_sigsuspend, sys_rt_sigtimedwait:
		return done(fs.ENOSYS)
	}
	return 0, 0, false
}

// gatePointers passes a call with pointers on. No stack moves from the first
// conversion to the return of the gate: nothing here or there splits it, and
// the garbage collector moves no stack at an asynchronous stop.
//
//go:nosplit
func gatePointers(trap uintptr, a *args) (int, fs.Errno) {
	return linux(guest.Gate(trap, a.addr(0), a.addr(1), a.addr(2), a.addr(3), a.addr(4), a.addr(5)))
}

// addr is argument i as it is now: where the stack has moved, not as it came.
//
//go:nosplit
func (a *args) addr(i int) uintptr {
	if a.p[i] != nil {
		return uintptr(a.p[i])
	}
	return a.v[i]
}

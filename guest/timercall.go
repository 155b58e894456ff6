package guest

import "unsafe"

// The calls on timers.

// itimerspec and itimerval are Linux's structures.
type (
	itimerspec struct{ interval, value timespec }
	itimerval  struct{ interval, value timeval }
)

// sigevent is the part of Linux's struct sigevent that is not padding.
type sigevent struct {
	value         uint64
	signo, notify int32
	thread        int32
}

// Ways of a sigevent, and flags of timer_settime (Linux,
// include/uapi/asm-generic/siginfo.h, include/uapi/linux/time.h).
const (
	sigevNone     = 1
	sigevThread   = 2
	sigevThreadID = 4

	timerAbstime = 1
)

// maxTime is the longest time that a timer is given, in s.
const maxTime = 1 << 32

// ns is a timespec in ns, or -1 when it is none.
func (ts timespec) ns() int64 {
	if ts.sec < 0 || ts.nsec < 0 || ts.nsec >= 1e9 {
		return -1
	}
	return min(ts.sec, maxTime)*1e9 + ts.nsec
}

func (tv timeval) ns() int64 { return timespec{tv.sec, tv.usec * 1e3}.ns() }

func valOf(ns int64) timeval {
	ns += 999 // what is left is not shown as nothing
	return timeval{ns / 1e9, ns % 1e9 / 1e3}
}

func timerCreate(t *thread, clockID int32, ev *sigevent, id *int32) int64 {
	kind, owner := clockOf(t, clockID)
	if kind == noClock {
		return -eINVAL
	}
	sig, target := int32(sigALRM), uintptr(0)
	if ev != nil {
		sig = ev.signo
		switch ev.notify {
		case 0, sigevThread:
		case sigevNone:
			sig = 0
		case sigevThreadID:
			to := threadByID(ev.thread)
			if to == nil {
				return -eINVAL
			}
			target = to.addrOf()
		default:
			return -eINVAL
		}
		if ev.notify != sigevNone && (sig < 1 || sig > signals) {
			return -eINVAL
		}
	}
	x := newTimer()
	if x == nil {
		return -eAGAIN
	}
	x.clock, x.sig, x.code, x.target = kind, sig, siTimer, target
	x.value = uint64(x.id)
	if ev != nil {
		x.value = ev.value
	}
	if owner != nil {
		x.owner = owner.addrOf()
	}
	*id = x.id
	return 0
}

func timerSettime(id, flags int32, set, old *itimerspec) int64 {
	x := timerByID(id)
	if x == nil || set == nil {
		return -eINVAL
	}
	value, interval := set.value.ns(), set.interval.ns()
	if value < 0 || interval < 0 {
		return -eINVAL
	}
	if old != nil {
		*old = x.spec()
	}
	x.retract()
	if value == 0 {
		x.disarm()
		return 0
	}
	if flags&timerAbstime == 0 {
		value += x.now()
	} else if _, offset := readClock(); x.clock == wallClock {
		value = max(value-offset, 1)
	}
	x.arm(value, interval)
	return 0
}

func (x *timer) spec() itimerspec { return itimerspec{specOf(x.interval), specOf(x.left())} }

func timerGettime(id int32, to *itimerspec) int64 {
	x := timerByID(id)
	if x == nil {
		return -eINVAL
	}
	*to = x.spec()
	return 0
}

func timerDelete(id int32) int64 {
	x := timerByID(id)
	if x == nil {
		return -eINVAL
	}
	x.release()
	return 0
}

func timerGetoverrun(id int32) int64 {
	x := timerByID(id)
	if x == nil {
		return -eINVAL
	}
	return min(x.overrun, 1<<31-1)
}

// intervalTimer is one of the process's three, or nil.
func intervalTimer(which int32) *timer {
	if which < 0 || which > 2 {
		return nil
	}
	x := &timers.interval[which]
	x.code = siKernel
	switch which {
	case 0:
		x.clock, x.sig = monotonicClock, sigALRM
	case 1:
		x.clock, x.sig = processClock, sigVTALRM
	case 2:
		x.clock, x.sig = processClock, sigPROF
	}
	return x
}

func setitimer(which int32, set, old *itimerval) int64 {
	x := intervalTimer(which)
	if x == nil {
		return -eINVAL
	}
	value, interval := int64(0), int64(0)
	if set != nil {
		value, interval = set.value.ns(), set.interval.ns()
	}
	if value < 0 || interval < 0 {
		return -eINVAL
	}
	if old != nil {
		*old = x.val()
	}
	if value == 0 {
		x.disarm()
		x.due = 0
		return 0
	}
	x.arm(x.now()+value, interval)
	return 0
}

func (x *timer) val() itimerval {
	v := itimerval{interval: timeval{x.interval / 1e9, x.interval % 1e9 / 1e3}}
	if x.armed {
		v.value = valOf(x.left())
	}
	return v
}

func getitimer(which int32, to *itimerval) int64 {
	x := intervalTimer(which)
	if x == nil {
		return -eINVAL
	}
	*to = x.val()
	return 0
}

// alarm sets ITIMER_REAL in seconds and returns what was left of the last.
func alarm(sec uint32) int64 {
	var old itimerval
	set := itimerval{value: timeval{sec: int64(sec)}}
	setitimer(0, &set, &old)
	left := old.value.sec
	if old.value.usec >= 500_000 || left == 0 && old.value.usec > 0 {
		left++
	}
	return left
}

func dispatchTimer(t *thread, nr uintptr, f *frame) int64 {
	id := int32(f.rdi)
	if !timerPointers(nr, f) {
		return -eFAULT
	}
	switch nr {
	case sysTimerCreate:
		return timerCreate(t, id, (*sigevent)(unsafe.Pointer(f.rsi)), (*int32)(unsafe.Pointer(f.rdx)))
	case sysTimerSettime:
		return timerSettime(id, int32(f.rsi), (*itimerspec)(unsafe.Pointer(f.rdx)), (*itimerspec)(unsafe.Pointer(f.r10)))
	case sysTimerGettime:
		return timerGettime(id, (*itimerspec)(unsafe.Pointer(f.rsi)))
	case sysTimerGetoverrun:
		return timerGetoverrun(id)
	case sysTimerDelete:
		return timerDelete(id)
	case sysSetitimer:
		return setitimer(id, (*itimerval)(unsafe.Pointer(f.rsi)), (*itimerval)(unsafe.Pointer(f.rdx)))
	case sysGetitimer:
		return getitimer(id, (*itimerval)(unsafe.Pointer(f.rsi)))
	case sysAlarm:
		return alarm(uint32(f.rdi))
	}
	return -eNOSYS
}

// timerPointers is whether what a call passes can be read and written.
func timerPointers(nr uintptr, f *frame) bool {
	const size = unsafe.Sizeof(itimerspec{}) // and of an itimerval
	switch nr {
	case sysTimerCreate:
		return mayRead(f.rsi, unsafe.Sizeof(sigevent{})) && writable(f.rdx, 4)
	case sysTimerSettime:
		return mayRead(f.rdx, size) && mayWrite(f.r10, size)
	case sysSetitimer:
		return mayRead(f.rsi, size) && mayWrite(f.rdx, size)
	case sysTimerGettime, sysGetitimer:
		return writable(f.rsi, size)
	}
	return true
}

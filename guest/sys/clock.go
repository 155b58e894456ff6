package sys

import (
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// Clocks. Linux's include/uapi/linux/time.h.
const (
	clockRealtime   = 0
	clockMonotonic  = 1
	clockProcessCPU = 2
	clockThreadCPU  = 3

	timerAbstime = 1
)

// clock reads a clock of the machine that there is, in ns. The gate does not split the stack
// that ts lies on.
//
//go:nosplit
func clock(id uintptr) int64 {
	var ts [2]int64
	guest.Gate(sys_clock_gettime, id, uintptr(unsafe.Pointer(&ts)), 0, 0, 0, 0)
	return ts[0]*1e9 + ts[1]
}

// readClock is any clock of Linux's.
//
//go:nosplit
func readClock(id int) (int64, fs.Errno) {
	var ts [2]int64
	_, e := linux(guest.Gate(sys_clock_gettime, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0, 0, 0, 0))
	return ts[0]*1e9 + ts[1], e
}

// timeCall does the calls on time.
func timeCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_clock_gettime:
		ns, e := readClock(a.int(0))
		if e != 0 {
			return done(e)
		}
		return done(store(a, 1, spec(ns)))
	case sys_clock_getres:
		if _, e := readClock(a.int(0)); e != 0 || a.v[1] == 0 {
			return done(e)
		}
		return done(store(a, 1, fs.Timespec{Nsec: 1}))
	case sys_clock_settime:
		return done(fs.EPERM)
	case sys_gettimeofday:
		return done(gettimeofday(a))
	case sys_time:
		return gave(unixTime(a))
	case sys_nanosleep:
		return done(sleep(a, 0, 0))
	case sys_clock_nanosleep:
		return done(clockSleep(a))
	case sys_times:
		return gave(times(a))
	}
	return 0, 0, false
}

func spec(ns int64) fs.Timespec { return fs.Timespec{Sec: ns / 1e9, Nsec: ns % 1e9} }

func gettimeofday(a *args) fs.Errno {
	if a.v[0] == 0 {
		return 0
	}
	t := spec(clock(clockRealtime))
	return store(a, 0, [2]int64{t.Sec, t.Nsec / 1000})
}

func unixTime(a *args) (int, fs.Errno) {
	sec := clock(clockRealtime) / 1e9
	if a.v[0] != 0 {
		return int(sec), store(a, 0, sec)
	}
	return int(sec), 0
}

// sleep parks for the timespec at argument i, less now.
func sleep(a *args, i int, now int64) fs.Errno {
	t, e := load[fs.Timespec](a, i)
	switch {
	case e != 0:
		return e
	case t.Sec < 0 || t.Nsec < 0 || t.Nsec >= 1e9:
		return fs.EINVAL
	}
	const limit = 1 << 33 // seconds; longer sleeps do not end either
	if ns := min(t.Sec, limit)*1e9 + t.Nsec - now; ns > 0 {
		sleepNS(ns)
	}
	return 0
}

func clockSleep(a *args) fs.Errno {
	now, e := readClock(a.int(0))
	if e != 0 {
		return e
	}
	if a.int(1)&timerAbstime == 0 {
		now = 0
	}
	return sleep(a, 2, now)
}

// times counts in hundredths of a second: since the start, and of CPU time.
func times(a *args) (int, fs.Errno) {
	ticks := clock(clockMonotonic) / 1e7
	if a.v[0] == 0 {
		return int(ticks), 0
	}
	return int(ticks), store(a, 0, [4]int64{clock(clockProcessCPU) / 1e7})
}

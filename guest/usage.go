package guest

import "github.com/pvrun/pvrun/hypercall"

// cpuTime is who had the vCPU, in ns. Owned by the vCPU. Time in which nobody
// could run is nobody's.
var cpuTime struct {
	since int64 // monotonic: up to when time has been charged
	total int64 // charged to all threads, those that have ended included
}

// charge gives the time since the last call to the thread that had it.
func charge(t *thread, now int64) {
	d := now - cpuTime.since
	t.cpu += d
	cpuTime.total += d
	cpuTime.since = now
}

// processTime is the CPU time of all threads.
func processTime(now int64) int64 { return cpuTime.total + now - cpuTime.since }

// threadTime is a thread's CPU time.
func threadTime(t *thread, now int64) int64 {
	if t == running() {
		return t.cpu + now - cpuTime.since
	}
	return t.cpu
}

// waitInPlace waits with the whole machine for an event, at nobody's expense.
func waitInPlace(t *thread) {
	charge(t, monotonic())
	forever := int64(hypercall.Forever)
	vcpuPage().Deadline = forever // finish sets it anew
	call(hypercall.CallBlock, uintptr(forever), 0, 0, 0)
	cpuTime.since = monotonic()
	takeEvents()
}

// Clocks (Linux, include/uapi/linux/time.h).
const (
	clockRealtime        = 0
	clockMonotonic       = 1
	clockProcessCPU      = 2
	clockThreadCPU       = 3
	clockMonotonicRaw    = 4
	clockRealtimeCoarse  = 5
	clockMonotonicCoarse = 6
	clockBoottime        = 7
	clockTAI             = 11
)

// clockKind is what a clock counts.
type clockKind uint8

const (
	noClock clockKind = iota
	monotonicClock
	wallClock
	processClock
	threadClock
)

// clockOf is the kind of a clock and, for a thread's, the thread. Negative
// numbers are CPU clocks of a process or thread by its number (Linux,
// include/linux/posix-timers_types.h).
func clockOf(t *thread, id int32) (clockKind, *thread) {
	if id < 0 {
		return cpuClockOf(t, id)
	}
	switch id {
	case clockRealtime, clockRealtimeCoarse, clockTAI:
		return wallClock, nil
	case clockMonotonic, clockMonotonicRaw, clockMonotonicCoarse, clockBoottime:
		return monotonicClock, nil
	case clockProcessCPU:
		return processClock, nil
	case clockThreadCPU:
		return threadClock, t
	}
	return noClock, nil
}

func cpuClockOf(t *thread, id int32) (clockKind, *thread) {
	const what, perThread, kinds = 3, 4, 3 // CPUCLOCK_PROF, _VIRT and _SCHED are one here
	owner := ^(id >> 3)
	switch {
	case id&what == kinds:
		return noClock, nil
	case id&perThread == 0 && (owner == 0 || owner == processID):
		return processClock, nil
	case id&perThread == 0:
		return noClock, nil
	case owner == 0:
		return threadClock, t
	}
	if t = threadByID(owner); t == nil {
		return noClock, nil
	}
	return threadClock, t
}

func clockGettime(t *thread, id int32, ts *timespec) int64 {
	ns, offset := readClock()
	kind, owner := clockOf(t, id)
	switch kind {
	case noClock:
		return -eINVAL
	case wallClock:
		ns += offset
	case processClock:
		ns = processTime(ns)
	case threadClock:
		ns = threadTime(owner, ns)
	}
	*ts = specOf(ns)
	return 0
}

func specOf(ns int64) timespec { return timespec{ns / 1e9, ns % 1e9} }

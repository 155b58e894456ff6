package sys

import (
	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// usageCall does the calls on limits and consumption.
func usageCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_getrlimit:
		return done(getrlimit(a, a.int(0), 1))
	case sys_setrlimit:
		return done(setrlimit(a, a.int(0), 1))
	case sys_prlimit64:
		return done(prlimit(a))
	case sys_getrusage:
		return done(getrusage(a))
	case sys_sysinfo:
		return done(sysinfo(a))
	}
	return 0, 0, false
}

// rlimit is Linux's struct rlimit64: the limit and how far it can be raised.
type rlimit struct{ cur, max uint64 }

const (
	rlimitCore   = 4
	rlimitNofile = 7
	rlimitCount  = 16
)

// limitOf is the limit of a resource. All are fixed.
func limitOf(resource int) rlimit {
	switch resource {
	case rlimitNofile:
		return rlimit{fs.MaxFDs, fs.MaxFDs}
	case rlimitCore:
		return rlimit{}
	}
	return rlimit{^uint64(0), ^uint64(0)}
}

func getrlimit(a *args, resource, i int) fs.Errno {
	if resource < 0 || resource >= rlimitCount {
		return fs.EINVAL
	}
	return store(a, i, limitOf(resource))
}

// setrlimit accepts every limit that is none: nothing here enforces one.
func setrlimit(a *args, resource, i int) fs.Errno {
	l, e := load[rlimit](a, i)
	switch {
	case e != 0:
		return e
	case resource < 0 || resource >= rlimitCount || l.cur > l.max:
		return fs.EINVAL
	case l.max > limitOf(resource).max:
		return fs.EPERM
	}
	return 0
}

func prlimit(a *args) fs.Errno {
	if p := a.int(0); p != 0 && p != pid {
		return fs.ESRCH
	}
	if a.v[2] != 0 {
		if e := setrlimit(a, a.int(1), 2); e != 0 {
			return e
		}
	}
	if a.v[3] != 0 {
		return getrlimit(a, a.int(1), 3)
	}
	return 0
}

// rusage is Linux's struct rusage: two times in s and µs, then counts.
type rusage struct {
	utime, stime [2]int64
	counts       [14]int64
}

// Whose usage. Linux's include/uapi/linux/resource.h.
const (
	rusageSelf     = 0
	rusageChildren = -1
	rusageThread   = 1
)

// getrusage counts all CPU time as the program's own: kernel and program are
// one here.
func getrusage(a *args) fs.Errno {
	var t fs.Timespec
	switch a.int(0) {
	case rusageSelf:
		t = spec(clock(clockProcessCPU))
	case rusageThread:
		t = spec(clock(clockThreadCPU))
	case rusageChildren:
	default:
		return fs.EINVAL
	}
	return store(a, 1, rusage{utime: [2]int64{t.Sec, t.Nsec / 1000}})
}

// sysinfoT is Linux's struct sysinfo.
type sysinfoT struct {
	uptime                       int64
	loads                        [3]uint64
	totalRAM, freeRAM, sharedRAM uint64
	bufferRAM                    uint64
	totalSwap, freeSwap          uint64
	procs, pad                   uint16
	pad2                         uint32
	totalHigh, freeHigh          uint64
	unit                         uint32
	pad3                         uint32
}

func sysinfo(a *args) fs.Errno {
	mem := guest.Info().MemBytes
	return store(a, 0, sysinfoT{
		uptime: clock(clockMonotonic) / 1e9, totalRAM: mem, freeRAM: mem, procs: 1, unit: 1,
	})
}

package sys

import (
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// processCall does the calls on the process, of which there is one.
func processCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_getpid, sys_getpgrp:
		return pid, 0, true
	case sys_getpgid, sys_getsid:
		return gave(ofSelf(a, pid))
	case sys_getppid, sys_getuid, sys_geteuid, sys_getgid, sys_getegid, sys_getgroups,
		sys_set_robust_list, sys_setpriority:
		return done(0)
	case sys_setpgid, sys_setsid, sys_setgroups:
		return done(fs.EPERM)
	case sys_setuid, sys_setgid:
		return done(rootOnly(a, 1))
	case sys_setreuid, sys_setregid:
		return done(rootOnly(a, 2))
	case sys_setresuid, sys_setresgid:
		return done(rootOnly(a, 3))
	case sys_getresuid, sys_getresgid:
		return done(zeroIDs(a))
	case sys_getpriority:
		return 20, 0, true // 20 minus the nice value, as Linux's call has it
	case sys_wait4, sys_waitid:
		return done(fs.ECHILD)
	case sys_uname:
		return done(uname(a))
	case sys_sethostname:
		return done(sethostname(a))
	case sys_getrandom:
		return gave(getrandom(a))
	case sys_prctl:
		return gave(prctl(a))
	case sys_capget:
		return done(capget(a))
	case sys_capset:
		return done(fs.EPERM)
	case sys_getcpu:
		return done(getcpu(a))
	}
	if n, e, ok := usageCall(trap, a); ok {
		return n, e, true
	}
	return signalCall(trap, a)
}

// ofSelf answers a question about a process with v when it is this one.
func ofSelf(a *args, v int) (int, fs.Errno) {
	if p := a.int(0); p != 0 && p != pid {
		return 0, fs.ESRCH
	}
	return v, 0
}

// rootOnly is a change of ids: to 0, or minus one for none.
func rootOnly(a *args, n int) fs.Errno {
	for i := range n {
		if id := a.u32(i); id != 0 && id != ^uint32(0) {
			return fs.EPERM
		}
	}
	return 0
}

func zeroIDs(a *args) fs.Errno {
	for i := range 3 {
		if e := store(a, i, uint32(0)); e != 0 {
			return e
		}
	}
	return 0
}

// utsname is Linux's struct new_utsname.
type utsname [6][65]byte

func uname(a *args) fs.Errno {
	var u utsname
	for i, s := range [...]string{"Linux", files().Hostname(), fs.Release, "#1 pvrun", "x86_64", "(none)"} {
		copy(u[i][:64], s)
	}
	return store(a, 0, u)
}

func sethostname(a *args) fs.Errno {
	if int(a.v[1]) < 0 || a.v[1] > 64 {
		return fs.EINVAL
	}
	b, e := a.bytes(0)
	if e == 0 {
		files().SetHostname(string(b))
	}
	return e
}

// Operations of prctl. Linux's include/uapi/linux/prctl.h.
const (
	prSetPdeathsig = 1
	prGetDumpable  = 3
	prSetDumpable  = 4
	prSetName      = 15
	prGetName      = 16
	prCapbsetRead  = 23
	prSetVMA       = 0x53564d41
)

func prctl(a *args) (int, fs.Errno) {
	switch a.int(0) {
	case prSetPdeathsig, prSetDumpable, prSetName:
		return 0, 0
	case prGetDumpable:
		return 1, 0
	case prGetName:
		var name [16]byte
		copy(name[:], "pvrun")
		return 0, store(a, 1, name)
	case prCapbsetRead:
		return 0, 0
	}
	return 0, fs.EINVAL
}

// capget says that the process has no capabilities: what they would allow is
// not here.
func capget(a *args) fs.Errno {
	const version3 = 0x20080522
	head, e := load[[2]uint32](a, 0)
	if e != 0 {
		return e
	}
	if head[0] != version3 {
		store(a, 0, uint32(version3))
		if a.v[1] == 0 {
			return 0
		}
		return fs.EINVAL
	}
	if a.v[1] == 0 {
		return 0
	}
	return store(a, 1, [6]uint32{})
}

// getcpu asks for the CPU; nodes there is one.
func getcpu(a *args) fs.Errno {
	ids := new([2]uint32)
	if _, e := linux(guest.Gate(sys_getcpu, uintptr(unsafe.Pointer(&ids[0])), uintptr(unsafe.Pointer(&ids[1])), 0, 0, 0, 0)); e != 0 {
		*ids = [2]uint32{}
	}
	for i := range ids {
		if a.v[i] == 0 {
			continue
		}
		if e := store(a, i, ids[i]); e != 0 {
			return e
		}
	}
	return 0
}

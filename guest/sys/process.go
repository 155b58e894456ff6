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
	case sys_getppid, sys_set_robust_list, sys_setpriority:
		return done(0)
	case sys_setpgid, sys_setsid:
		return done(fs.EPERM)
	case sys_getuid, sys_geteuid, sys_getgid, sys_getegid, sys_getresuid, sys_getresgid, sys_getgroups,
		sys_setuid, sys_setgid, sys_setreuid, sys_setregid, sys_setresuid, sys_setresgid, sys_setfsuid, sys_setfsgid,
		sys_setgroups, sys_capget, sys_capset, sys_prctl:
		return gave(gatePointers(trap, a))
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

func nextThread(id int) (fs.Thread, bool) {
	t := new(guest.Thread)
	if !guest.NextThread(int32(id), t) {
		return fs.Thread{}, false
	}
	return fs.Thread{
		ID: int(t.ID), Live: int(t.Live), Name: threadName(t),
		UID: [4]uint32{t.UID.Real, t.UID.Effective, t.UID.Saved, t.UID.File},
		GID: [4]uint32{t.GID.Real, t.GID.Effective, t.GID.Saved, t.GID.File},

		Groups: t.Groups[:t.GroupCount],
		CapInh: t.Inheritable, CapPrm: t.Permitted, CapEff: t.Effective, CapBnd: guest.AllCaps,
	}, true
}

func threadName(t *guest.Thread) string {
	n := 0
	for n < len(t.Name) && t.Name[n] != 0 {
		n++
	}
	return string(t.Name[:n])
}

package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// System calls that the runtime's door answers (Linux,
// arch/x86/entry/syscalls/syscall_64.tbl).
const (
	sysRead             = 0
	sysWrite            = 1
	sysClose            = 3
	sysMmap             = 9
	sysMprotect         = 10
	sysMunmap           = 11
	sysRtSigaction      = 13
	sysRtSigprocmask    = 14
	sysRtSigreturn      = 15
	sysSchedYield       = 24
	sysMincore          = 27
	sysMadvise          = 28
	sysNanosleep        = 35
	sysGetitimer        = 36
	sysAlarm            = 37
	sysSetitimer        = 38
	sysGetpid           = 39
	sysExit             = 60
	sysClone            = 56
	sysKill             = 62
	sysFcntl            = 72
	sysGettimeofday     = 96
	sysUmask            = 95
	sysGetuid           = 102
	sysGetgid           = 104
	sysSetuid           = 105
	sysSetgid           = 106
	sysGeteuid          = 107
	sysGetegid          = 108
	sysGetppid          = 110
	sysGetpgrp          = 111
	sysSetreuid         = 113
	sysSetregid         = 114
	sysGetgroups        = 115
	sysSetgroups        = 116
	sysSetresuid        = 117
	sysGetresuid        = 118
	sysSetresgid        = 119
	sysGetresgid        = 120
	sysSetfsuid         = 122
	sysSetfsgid         = 123
	sysCapget           = 125
	sysCapset           = 126
	sysSigaltstack      = 131
	sysPrctl            = 157
	sysArchPrctl        = 158
	sysGettid           = 186
	sysRtSigpending     = 127
	sysTkill            = 200
	sysTimerCreate      = 222
	sysTimerSettime     = 223
	sysTimerGettime     = 224
	sysTimerGetoverrun  = 225
	sysTimerDelete      = 226
	sysFutex            = 202
	sysSchedGetaffinity = 204
	sysClockGettime     = 228
	sysExitGroup        = 231
	sysEpollCtl         = 233
	sysTgkill           = 234
	sysEpollPwait       = 281
	sysEventfd2         = 290
	sysEpollCreate1     = 291
	sysPipe2            = 293

	// The library's door's own, beyond all of Linux's.
	sysPollable    = 1 << 16
	sysNotify      = 1<<16 + 1
	sysMarkFile    = 1<<16 + 2
	sysTakeWritten = 1<<16 + 3
	sysCrashFD     = 1<<16 + 4
	sysAreas       = 1<<16 + 5
	sysThread      = 1<<16 + 6
	sysNative      = 1<<16 + 7 // [Call] on a bare machine
	sysRest        = 1<<16 + 8
)

// processID is what getpid says: a machine's first process.
const processID = 1

// systemCall answers the running thread's call, or makes the thread wait.
func systemCall() {
	t := running()
	f := &t.frame
	nr := f.rax
	r := dispatch(t, nr, f)
	if nr != sysRtSigreturn && t.run == threadRunning {
		f.rax = uintptr(r)
	}
	if nr == sysSchedYield {
		yield(t)
	}
	takeEvents()
	if sleepers != 0 && wakeSleepers(monotonic()) || runQueue.head != 0 && monotonic() >= sliceEnd {
		yield(t)
	}
	finish()
}

func dispatch(t *thread, nr uintptr, f *frame) int64 {
	switch nr {
	case sysFutex:
		return futex(t, f.rdi, uint32(f.rsi), uint32(f.rdx), f.r10)
	case sysMmap:
		return mmap(f.rdi, f.rsi, uint32(f.rdx), uint32(f.r10))
	case sysMunmap:
		return munmap(f.rdi, f.rsi)
	case sysMprotect:
		return mprotect(f.rdi, f.rsi, uint32(f.rdx))
	case sysMadvise:
		return madvise(f.rdi, f.rsi, uint32(f.rdx))
	case sysMincore:
		return mincore(f.rdi, f.rsi, f.rdx)
	case sysNanosleep:
		if !readable(f.rdi, 16) {
			return -eFAULT
		}
		return nanosleep(t, (*timespec)(unsafe.Pointer(f.rdi)))
	case sysClockGettime:
		if !writable(f.rsi, 16) {
			return -eFAULT
		}
		return clockGettime(t, int32(f.rdi), (*timespec)(unsafe.Pointer(f.rsi)))
	case sysGettimeofday:
		return gettimeofday(f.rdi)
	case sysEpollPwait, sysEpollCtl, sysEpollCreate1, sysEventfd2:
		return dispatchPoll(t, nr, f)
	case sysPollable, sysNotify, sysMarkFile, sysTakeWritten, sysCrashFD, sysAreas, sysThread, sysNative, sysRest:
		return dispatchDoor(nr, f)
	case sysRead, sysWrite, sysClose, sysFcntl:
		if p, end := pipeOf(int32(f.rdi)); p != nil {
			return dispatchPipe(t, p, end, nr, f)
		}
		return dispatchFile(nr, f)
	case sysPipe2:
		return pipe2(f.rdi, uint32(f.rsi))
	case sysRtSigaction, sysRtSigprocmask, sysRtSigreturn, sysSigaltstack, sysTgkill, sysTkill, sysKill, sysRtSigpending:
		return dispatchSignal(t, nr, f)
	}
	return dispatchThread(t, nr, f)
}

func dispatchThread(t *thread, nr uintptr, f *frame) int64 {
	switch nr {
	case sysClone:
		return clone(t, f.rsi)
	case sysExit:
		return exitThread(t, f.rdi)
	case sysExitGroup:
		return call(hypercall.CallExit, f.rdi&0xff, 0, 0, 0)
	case sysGettid:
		return int64(t.id)
	case sysGetpid, sysGetpgrp:
		return processID
	case sysGetppid, sysSchedYield:
		return 0
	case sysGetuid, sysGeteuid, sysGetgid, sysGetegid, sysGetresuid, sysGetresgid, sysGetgroups,
		sysSetuid, sysSetgid, sysSetreuid, sysSetregid, sysSetresuid, sysSetresgid, sysSetfsuid, sysSetfsgid,
		sysSetgroups, sysCapget, sysCapset, sysPrctl:
		return dispatchCredentials(t, nr, f)
	case sysUmask:
		return int64(umask.Swap(uint32(f.rdi) & 0o777))
	case sysArchPrctl:
		return archPrctl(f.rdi, f.rsi)
	case sysSchedGetaffinity:
		return affinity(f.rsi, f.rdx)
	}
	return dispatchTimer(t, nr, f)
}

func dispatchPoll(t *thread, nr uintptr, f *frame) int64 {
	switch {
	case (nr == sysEpollPwait || nr == sysEpollCtl) && int32(f.rdi) != fdEpoll:
		return -eBADF
	case nr == sysEpollPwait:
		return epollWait(t, f.rsi, int32(f.rdx), int32(f.r10))
	case nr == sysEpollCtl:
		return epollCtl(int32(f.rsi), int32(f.rdx), (*epollEvent)(unsafe.Pointer(f.r10)))
	case nr == sysEpollCreate1:
		return int64(fdEpoll)
	}
	return int64(fdEvent)
}

// dispatchFile is what the runtime itself does with descriptors: its eventfd's
// and what it writes.
func dispatchFile(nr uintptr, f *frame) int64 {
	fd := int32(f.rdi)
	switch {
	case nr == sysWrite:
		return runtimeWrite(fd, f.rsi, f.rdx)
	case nr == sysRead && fd == fdEvent && !writable(f.rsi, 8):
		return -eFAULT
	case nr == sysRead && fd == fdEvent:
		return eventfdRead((*uint64)(unsafe.Pointer(f.rsi)))
	case nr == sysFcntl && fd >= 0 && fd <= 2, nr == sysClose && fd >= fdEpoll && fd < fdPipe:
		return 0
	}
	return -eBADF
}

// dispatchDoor is what only the library's door calls.
func dispatchDoor(nr uintptr, f *frame) int64 {
	switch nr {
	case sysPollable:
		return setPollable(int32(f.rdi), f.rsi != 0)
	case sysNotify:
		return notify(int32(f.rdi), uint32(f.rsi))
	case sysMarkFile:
		return markFile(f.rdi, f.rsi, fileKind(f.rdx), uint32(f.r10))
	case sysTakeWritten:
		return takeWritten(f.rdi, f.rsi, (*int32)(unsafe.Pointer(f.rdx)))
	case sysAreas:
		return tellAreas(f.rdi, f.rsi, f.rdx)
	case sysThread:
		return tellThread(int32(f.rdi), (*Thread)(unsafe.Pointer(f.rsi)))
	case sysRest:
		return rest((*[64]byte)(unsafe.Pointer(f.rdi)))
	case sysNative:
		return native(hypercall.Call(f.rdi), f.rsi, f.rdx, f.r10, f.r8)
	case sysCrashFD:
		spool.crashFD, spool.stream = int32(f.rdi), int32(f.rsi)
	}
	return 0
}

func nanosleep(t *thread, ts *timespec) int64 {
	block(t, waitSleep, after(ts))
	return 0
}

func gettimeofday(to uintptr) int64 {
	if !mayWrite(to, 16) {
		return -eFAULT
	}
	if ns := Wall(); to != 0 {
		*(*timeval)(unsafe.Pointer(to)) = timeval{ns / 1e9, ns % 1e9 / 1e3}
	}
	return 0
}

func exitThread(t *thread, code uintptr) int64 {
	if threads.live == 1 {
		return call(hypercall.CallExit, code&0xff, 0, 0, 0)
	}
	freeThread(t)
	return 0
}

// archSetFS is ARCH_SET_FS (arch_prctl(2)).
const archSetFS = 0x1002

// archPrctl is how the runtime says where its first thread-local word is. The
// kernel's g runs now, so that is what moves along; leave then stores the
// thread's.
func archPrctl(op, base uintptr) int64 {
	if op != archSetFS {
		return -eINVAL
	}
	moveTLS(base)
	return 0
}

// affinity says that there is one CPU.
func affinity(n, set uintptr) int64 {
	switch {
	case n < 8:
		return -eINVAL
	case !writable(set, 8):
		return -eFAULT
	}
	*(*uint64)(unsafe.Pointer(set)) = 1
	return 8
}

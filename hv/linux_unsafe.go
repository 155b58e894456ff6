package hv

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigevent is struct sigevent for SIGEV_THREAD_ID (Linux,
// include/uapi/asm-generic/siginfo.h).
type sigevent struct {
	value  uint64
	signo  int32
	notify int32
	tid    int32
	_      [44]byte
}

// timerCreate makes a timer that sends SIGURG to one thread: the Go runtime
// takes that signal on every thread and ignores it. Safe because the kernel
// only reads and writes the two locals.
func timerCreate(tid int) (int32, error) {
	const sigevThreadID = 4
	ev := sigevent{signo: int32(unix.SIGURG), notify: sigevThreadID, tid: int32(tid)}
	var id int32
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
		uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&id)))
	if errno != 0 {
		return 0, errno
	}
	return id, nil
}

// timerSet makes the timer fire after first ns and every ns from then on; 0 and
// 0 stop it.
func timerSet(id int32, first, every int64) error {
	spec := [2]unix.Timespec{unix.NsecToTimespec(every), unix.NsecToTimespec(first)}
	_, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func timerDelete(id int32) { _, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0) }

// mincore is mincore(2): a byte for each page of b. Safe because the kernel
// only reads the address range and writes vec.
func mincore(b, vec []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), uintptr(unsafe.Pointer(unsafe.SliceData(vec))))
	if errno != 0 {
		return errno
	}
	return nil
}

// setFileTimes is futimens(3). Safe because the kernel only reads the local.
func setFileTimes(fd int, atime, mtime int64) error {
	spec := timespecs(atime, mtime)
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&spec[0])), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	_ = add("signal-codes", signalCodes)
	_ = add("signal-blocked", signalBlocked)
	_ = add("signal-package", signalPackage)
	_ = add("timers", timers)
	_ = add("usage", usage)
	_ = add("bad-pointers", badPointers)
	_ = add("kill-trace", killTrace)
)

// What catch has seen of the last signal, and of how many.
var caughtCode, caughtFrom, caughtValue, caughtCount int64

func handlers() (catch, restorer uintptr)

type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

func setHandler(sig syscall.Signal, handler uintptr) {
	_, restorer := handlers()
	const saSiginfo, saRestorer, saOnstack, saRestart = 4, 0x4000000, 0x8000000, 0x10000000
	act := &kernelAction{handler, saSiginfo | saRestorer | saOnstack | saRestart, restorer, 0}
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), 0, 8, 0, 0)
	checkErrno(e)
	atomic.StoreInt64(&caughtCount, 0)
}

func catchSignal(sig syscall.Signal) {
	catch, _ := handlers()
	setHandler(sig, catch)
}

func checkErrno(e syscall.Errno) {
	if e != 0 {
		_, file, line, _ := runtime.Caller(1)
		fmt.Printf("%s:%d: %v\n", file, line, e)
	}
}

// awaitSignal uses CPU time until a signal is there.
func awaitSignal() {
	for atomic.LoadInt64(&caughtCount) == 0 {
		spins++
	}
}

func raise(sig syscall.Signal) { check(syscall.Kill(os.Getpid(), sig)) }

func signalCodes([]string) {
	runtime.LockOSThread()
	me := os.Getpid()
	try := func(name string, sig syscall.Signal, send func()) {
		catchSignal(sig)
		send()
		awaitSignal()
		fmt.Println(name, sig, "code", caughtCode, "value", caughtValue, caughtCode == -2 || caughtFrom == int64(me))
	}
	try("kill", syscall.SIGUSR1, func() { raise(syscall.SIGUSR1) })
	try("signal", syscall.SIGUSR1, func() { check(must(os.FindProcess(me)).Signal(syscall.SIGUSR1)) })
	try("tgkill", syscall.SIGUSR1, func() { check(unix.Tgkill(me, unix.Gettid(), syscall.SIGUSR1)) })
	try("timer", syscall.SIGUSR2, func() { armTimer(newTimer(unix.CLOCK_MONOTONIC, syscall.SIGUSR2, 77, 0), 0, 1000, 0) })
	try("wall timer", syscall.SIGUSR2, func() { armTimer(newTimer(unix.CLOCK_REALTIME, syscall.SIGUSR2, 78, 0), 0, 1000, 0) })
	try("thread timer", syscall.SIGUSR2, func() {
		armTimer(newTimer(unix.CLOCK_THREAD_CPUTIME_ID, syscall.SIGUSR2, 79, unix.Gettid()), 0, 1000, 0)
	})
	try("process timer", syscall.SIGUSR2, func() {
		armTimer(newTimer(unix.CLOCK_PROCESS_CPUTIME_ID, syscall.SIGUSR2, 80, 0), 0, 1000, 0)
	})
	for which, sig := range []syscall.Signal{syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGPROF} {
		catchSignal(sig)
		must(unix.Setitimer(unix.ItimerWhich(which), unix.Itimerval{Value: unix.Timeval{Usec: 1000}}))
		awaitSignal()
		fmt.Println("itimer", sig, "code", caughtCode)
	}
	catchSignal(syscall.SIGALRM)
	must(unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Value: unix.Timeval{Usec: 1000}}))
	time.Sleep(5 * time.Millisecond) // asleep: it ends no sleep early
	awaitSignal()
	fmt.Println("itimer while idle")
}

// newTimer makes a POSIX timer that sends a signal, to a thread or the process.
func newTimer(clock int, sig syscall.Signal, value uint64, thread int) int32 {
	ev := struct {
		value         uint64
		signo, notify int32
		thread        int32
		_             [11]int32
	}{value: value, signo: int32(sig), thread: int32(thread)}
	if thread != 0 {
		ev.notify = 4
	}
	if sig == 0 {
		ev.notify = 1
	}
	var id int32
	_, _, e := syscall.Syscall(syscall.SYS_TIMER_CREATE, uintptr(clock), uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&id)))
	checkErrno(e)
	return id
}

// armTimer sets a timer, in ns, and returns what was set.
func armTimer(id int32, interval, value int64, flags uintptr) (old [2]unix.Timespec) {
	set := [2]unix.Timespec{unix.NsecToTimespec(interval), unix.NsecToTimespec(value)}
	_, _, e := syscall.Syscall6(syscall.SYS_TIMER_SETTIME, uintptr(id), flags, uintptr(unsafe.Pointer(&set)), uintptr(unsafe.Pointer(&old)), 0, 0)
	checkErrno(e)
	return old
}

func mask(how int, sig syscall.Signal) {
	set := uint64(1) << (sig - 1)
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, uintptr(how), uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
	checkErrno(e)
}

func pending(sig syscall.Signal) bool {
	var set uint64
	_, _, e := syscall.RawSyscall(syscall.SYS_RT_SIGPENDING, uintptr(unsafe.Pointer(&set)), 8, 0)
	checkErrno(e)
	return set&(1<<(sig-1)) != 0
}

func signalBlocked([]string) {
	runtime.LockOSThread()
	const sig = syscall.SIGUSR1
	send := func() { check(unix.Tgkill(os.Getpid(), unix.Gettid(), sig)) }
	catchSignal(sig)
	mask(0, sig)
	send()
	send()
	fmt.Println("blocked", atomic.LoadInt64(&caughtCount), pending(sig), pending(syscall.SIGUSR2))
	mask(1, sig)
	fmt.Println("two are one", atomic.LoadInt64(&caughtCount), pending(sig))
	mask(0, sig)
	send()
	setHandler(sig, 1) // SIG_IGN
	fmt.Println("ignored", pending(sig))
	send()
	catchSignal(sig)
	mask(1, sig)
	fmt.Println("what is blocked is not ignored", atomic.LoadInt64(&caughtCount))
}

func notifyUSR1() chan os.Signal {
	c := make(chan os.Signal, 10)
	signal.Notify(c, syscall.SIGUSR1)
	return c
}

func signalPackage([]string) {
	const sig = syscall.SIGUSR1
	c := notifyUSR1()
	raise(sig)
	fmt.Println(<-c, signal.Ignored(sig))
	signal.Ignore(sig)
	raise(sig)
	fmt.Println(len(c), signal.Ignored(sig))
	d := notifyUSR1()
	raise(sig)
	fmt.Println(<-d, len(c), signal.Ignored(sig))
	signal.Stop(d)
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	raise(syscall.SIGTERM)
	raise(syscall.SIGINT)
	raise(syscall.SIGWINCH)
	raise(syscall.SIGCHLD)
	fmt.Println("alive")
	for _, p := range []int{os.Getpid(), 99999999} {
		fmt.Println(syscall.Kill(p, 0))
	}
	fmt.Println(syscall.Kill(os.Getpid(), 65), unix.Tgkill(os.Getpid(), 99999999, sig))
	signal.Reset(syscall.SIGTERM)
	raise(syscall.SIGTERM) // still ignored, as it is natively
	time.Sleep(time.Second)
}

func timers([]string) {
	runtime.LockOSThread()
	id := newTimer(unix.CLOCK_MONOTONIC, syscall.SIGUSR1, 0, unix.Gettid())
	catchSignal(syscall.SIGUSR1)
	mask(0, syscall.SIGUSR1)
	armTimer(id, 1e6, 1e6, 0)
	time.Sleep(20 * time.Millisecond)
	mask(1, syscall.SIGUSR1)
	awaitSignal()
	n, _, e := syscall.Syscall(syscall.SYS_TIMER_GETOVERRUN, uintptr(id), 0, 0)
	checkErrno(e)
	fmt.Println("overrun", int(n) > 0)
	old := armTimer(id, 0, 3600e9, 0)
	fmt.Println("interval", old[0].Nano())
	old = armTimer(id, 0, 0, 0)
	fmt.Println("left", old[1].Sec > 3000, old[1].Sec <= 3600)
	old = armTimer(id, 0, 0, 0)
	fmt.Println("off", old[1].Nano())
	for range 2 {
		_, _, e = syscall.Syscall(syscall.SYS_TIMER_DELETE, uintptr(id), 0, 0)
		fmt.Println("delete:", e)
	}
	_, _, e = syscall.Syscall(syscall.SYS_TIMER_CREATE, 99, 0, uintptr(unsafe.Pointer(&id)))
	fmt.Println("clock 99:", e)
	silent := newTimer(unix.CLOCK_THREAD_CPUTIME_ID, 0, 0, 0)
	armTimer(silent, 0, 5e6, 0)
	for left := armTimer(silent, 0, 1e6, 0)[1]; left.Nano() > 5e6; left = armTimer(silent, 0, 1e6, 0)[1] {
	}
	before := must(unix.Setitimer(unix.ITIMER_PROF, unix.Itimerval{Value: unix.Timeval{Sec: 100}, Interval: unix.Timeval{Sec: 7}}))
	now := must(unix.Getitimer(unix.ITIMER_PROF))
	fmt.Println(before.Value.Sec, before.Interval.Sec, now.Value.Sec > 50, now.Interval.Sec)
	now = must(unix.Setitimer(unix.ITIMER_PROF, unix.Itimerval{}))
	fmt.Println(now.Value.Sec > 50, now.Interval.Sec)
	_, err := unix.Getitimer(3)
	fmt.Println(err)
}

func cpuTime(clock int32) int64 {
	var ts unix.Timespec
	check(unix.ClockGettime(clock, &ts))
	return ts.Nano()
}

func usage([]string) {
	runtime.LockOSThread()
	thread, process := cpuTime(unix.CLOCK_THREAD_CPUTIME_ID), cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
	begin := time.Now()
	for cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) < thread+20e6 {
		spins++
	}
	fmt.Println("both go on", cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID) >= process+19e6)
	var self, own unix.Rusage
	check(unix.Getrusage(unix.RUSAGE_THREAD, &own))
	check(unix.Getrusage(unix.RUSAGE_SELF, &self))
	fmt.Println("rusage", total(own) >= 15e6, total(self) >= total(own))
	process, begin = cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID), time.Now()
	time.Sleep(300 * time.Millisecond)
	used := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID) - process
	fmt.Println("idle time is nobody's", used < int64(time.Since(begin))/2)
	done := make(chan bool)
	thread = cpuTime(unix.CLOCK_THREAD_CPUTIME_ID)
	go func() {
		runtime.LockOSThread()
		for mine := cpuTime(unix.CLOCK_THREAD_CPUTIME_ID); cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) < mine+50e6; {
			spins++
		}
		done <- true
	}()
	<-done
	fmt.Println("nor is another's", cpuTime(unix.CLOCK_THREAD_CPUTIME_ID)-thread < 50e6)
	fmt.Println(unix.ClockGettime(77, new(unix.Timespec)), unix.Getrusage(5, &self))
}

func total(u unix.Rusage) int64 { return u.Utime.Nano() + u.Stime.Nano() }

func badPointers([]string) {
	const bad = 0x10
	for _, c := range [][6]uintptr{
		{syscall.SYS_CLOCK_GETTIME, 1, bad}, {syscall.SYS_NANOSLEEP, bad}, {syscall.SYS_FUTEX, bad, 0, 0},
		{syscall.SYS_RT_SIGACTION, 10, bad, 0, 8}, {syscall.SYS_RT_SIGACTION, 10, 0, bad, 8},
		{syscall.SYS_RT_SIGPROCMASK, 0, bad, 0, 8}, {syscall.SYS_RT_SIGPENDING, bad, 8}, {syscall.SYS_SIGALTSTACK, 0, bad},
		{syscall.SYS_MINCORE, 0x400000, 4096, bad}, {syscall.SYS_TIMER_CREATE, 1, bad, bad}, {syscall.SYS_TIMER_CREATE, 1, 0, bad},
		{syscall.SYS_SETITIMER, 0, bad, 0}, {syscall.SYS_GETITIMER, 0, bad}, {syscall.SYS_SCHED_GETAFFINITY, 0, 8, bad},
		{syscall.SYS_GETTIMEOFDAY, bad}, {syscall.SYS_FUTEX, bad + 1, 0, 0},
	} {
		_, _, e := syscall.RawSyscall6(c[0], c[1], c[2], c[3], c[4], c[5], 0)
		fmt.Println(c[0], e)
	}
	// What may only be read is not written to, and what is a hole is not touched.
	page := must(syscall.Mmap(-1, 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON))
	page[0] = 7
	at := func(off int) uintptr { return uintptr(unsafe.Pointer(&page[off])) }
	show := func() {
		for _, off := range []int{0, 4092} { // the second reaches into the next page
			_, _, write := syscall.RawSyscall(syscall.SYS_TIMER_CREATE, 1, 0, at(off))
			_, _, read := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 99, at(off), 0, 8, 0, 0)
			fmt.Println(off, write, read)
		}
	}
	show()
	check(syscall.Mprotect(page[:4096], syscall.PROT_READ))
	show()
	check(syscall.Mprotect(page[:4096], syscall.PROT_NONE))
	show()
	check(syscall.Mprotect(page[:4096], syscall.PROT_READ|syscall.PROT_WRITE))
	check(syscall.Mprotect(page[4096:], syscall.PROT_NONE))
	show()
	check(syscall.Mprotect(page, syscall.PROT_READ))
	check(syscall.Madvise(page, syscall.MADV_DONTNEED))
	fmt.Println("emptied", page[1])
	check(syscall.Mprotect(page[:4096], syscall.PROT_READ|syscall.PROT_WRITE))
	// Ranges that go round the end of all addresses, with a shared mapping about.
	f := must(os.CreateTemp("", "wrap"))
	check(f.Truncate(8192))
	shared := must(syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ, syscall.MAP_SHARED))
	for _, b := range [][]byte{page, shared} {
		addr := uintptr(unsafe.Pointer(&b[0]))
		for _, n := range []uintptr{^uintptr(0), ^uintptr(4094), -addr, -addr + 4096} {
			_, _, protect := syscall.Syscall(syscall.SYS_MPROTECT, addr, n, syscall.PROT_READ)
			_, _, advise := syscall.Syscall(syscall.SYS_MADVISE, addr, n, syscall.MADV_DONTNEED)
			_, _, core := syscall.Syscall(syscall.SYS_MINCORE, addr, n, addr)
			_, _, unmap := syscall.Syscall(syscall.SYS_MUNMAP, addr, n, 0)
			fmt.Println(protect, advise, core, unmap)
		}
	}
	check(syscall.Munmap(page))
	check(syscall.Munmap(shared))
}

// killTrace dies of a signal that Go tells of.
func killTrace(args []string) {
	sig := map[string]syscall.Signal{
		"quit": syscall.SIGQUIT, "segv": syscall.SIGSEGV, "abrt": syscall.SIGABRT, "bus": syscall.SIGBUS, "fpe": syscall.SIGFPE,
	}[args[0]]
	runtime.LockOSThread()
	if len(args) > 1 {
		check(unix.Tgkill(os.Getpid(), unix.Gettid(), sig))
	} else {
		raise(sig)
	}
	time.Sleep(time.Minute)
}

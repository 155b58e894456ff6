package guest

import "unsafe"

// timer is a POSIX timer (timer_create(2)) or an interval timer (setitimer(2)).
// Times are ns of its clock; a wall-clock timer counts monotonic time.
//
// CPU timers are looked at when the host's tick finds a thread running, as
// Linux does: a sample of a profile is then where the thread was, and not where
// it next entered the kernel. Expiries that a late tick brings together are
// told one after the other, so that their number is that of the periods.
type timer struct {
	next     uintptr // on its clock, while it is armed
	toldNext uintptr // of those whose signal waits
	owner    uintptr // thread whose time it counts, for threadClock
	target   uintptr // thread that gets the signal; 0 for the process
	value    uint64  // the program's
	expiry   int64
	interval int64 // 0: once
	due      int64 // expiries that are still to be told
	overrun  int64 // expiries that are not told

	id    int32
	sig   int32 // 0: none
	code  int32 // of siginfo
	clock clockKind
	armed bool
	told  bool // its signal waits
}

const (
	// never is an expiry to which times can be added.
	never = 1 << 62
	// maxDue bounds the expiries that are told late.
	maxDue = 100

	chunkTimers    = 32
	maxTimerChunks = 512
)

// timerList holds the armed timers of a clock. It is not sorted: a thread has
// one or two.
type timerList struct {
	head uintptr
	next int64 // the first expiry, or never
}

// timers is owned by the vCPU.
var timers = struct {
	armed     int
	monotonic timerList
	process   timerList
	interval  [3]timer // ITIMER_REAL, _VIRTUAL and _PROF
	chunks    [maxTimerChunks]uintptr
	used      int // chunks
	free      uintptr
}{monotonic: timerList{next: never}, process: timerList{next: never}}

func timerAt(p uintptr) *timer { return (*timer)(unsafe.Pointer(p)) }

func (x *timer) addrOf() uintptr { return uintptr(unsafe.Pointer(x)) }

func (x *timer) list() *timerList {
	switch x.clock {
	case threadClock:
		return &threadAt(x.owner).timers
	case processClock:
		return &timers.process
	}
	return &timers.monotonic
}

// now is the time of the timer's clock.
func (x *timer) now() int64 {
	now := monotonic()
	switch x.clock {
	case threadClock:
		return threadTime(threadAt(x.owner), now)
	case processClock:
		return processTime(now)
	}
	return now
}

func (x *timer) arm(expiry, interval int64) {
	x.disarm()
	x.due, x.overrun = 0, 0
	x.expiry, x.interval, x.armed = expiry, interval, true
	l := x.list()
	x.next, l.head = l.head, x.addrOf()
	l.next = min(l.next, expiry)
	timers.armed++
}

func (x *timer) disarm() {
	if !x.armed {
		return
	}
	x.armed = false
	timers.armed--
	l := x.list()
	for at := &l.head; *at != 0; at = &timerAt(*at).next {
		if *at == x.addrOf() {
			*at = x.next
			break
		}
	}
	l.refresh()
}

func (l *timerList) refresh() {
	l.next = never
	for at := l.head; at != 0; at = timerAt(at).next {
		l.next = min(l.next, timerAt(at).expiry)
	}
}

// expire tells of the timers whose time has come.
func (l *timerList) expire(now int64) {
	if now < l.next {
		return
	}
	for at := l.head; at != 0; {
		x := timerAt(at)
		at = x.next
		if x.expiry <= now {
			x.expire(now)
		}
	}
	l.refresh()
}

func (x *timer) expire(now int64) {
	n := int64(1)
	if x.interval > 0 {
		n += (now - x.expiry) / x.interval
		x.expiry += n * x.interval
	} else {
		x.disarm()
	}
	switch isCPU := x.clock >= processClock; {
	case x.sig == 0 || ignored(x.sig):
	case x.told && isCPU:
		x.due = min(x.due+n, maxDue)
	case x.told:
		x.overrun += n
	default:
		if isCPU {
			x.due = min(n-1, maxDue)
		} else {
			x.overrun = n - 1
		}
		x.tell()
	}
}

// tell makes the timer's signal pending.
func (x *timer) tell() {
	q := &processSignals
	if x.target != 0 {
		q = &threadAt(x.target).signals
	}
	x.told = true
	x.toldNext, q.told = q.told, x.addrOf()
	q.pending |= bit(x.sig)
	if x.target != 0 {
		interrupt(threadAt(x.target))
	} else {
		interruptAny(x.sig)
	}
}

// expireMonotonic tells of the timers that count real time.
func expireMonotonic() {
	if timers.monotonic.head != 0 {
		timers.monotonic.expire(monotonic())
	}
}

// expireTimers tells of all timers whose time has come. A tick that finds
// nobody running is none of a CPU timer's.
func expireTimers() {
	expireMonotonic()
	t := running()
	if t.run != threadRunning || timers.process.head|t.timers.head == 0 {
		return
	}
	now := monotonic()
	t.timers.expire(threadTime(t, now))
	timers.process.expire(processTime(now))
}

// timerDeadline is the monotonic time of the next expiry while t runs on.
func timerDeadline(t *thread) int64 {
	cpu := min(t.timers.next-t.cpu, timers.process.next-cpuTime.total)
	return min(cpuTime.since+cpu, timers.monotonic.next)
}

// forgetTimers stops what a thread that ends would have been told or counts.
func forgetTimers(t *thread) {
	for c := range timers.used {
		for i := range uintptr(chunkTimers) {
			x := timerAt(timers.chunks[c] + i*unsafe.Sizeof(timer{}))
			if x.clock != noClock && (x.owner == t.addrOf() || x.target == t.addrOf()) {
				x.retract()
				x.disarm()
				x.owner, x.target, x.clock, x.sig = 0, 0, processClock, 0
			}
		}
	}
}

// retract takes the timer's pending signal back.
func (x *timer) retract() {
	if !x.told {
		return
	}
	x.told, x.due = false, 0
	q := &processSignals
	if x.target != 0 {
		q = &threadAt(x.target).signals
	}
	for at := &q.told; *at != 0; at = &timerAt(*at).toldNext {
		if *at == x.addrOf() {
			*at = x.toldNext
			break
		}
	}
	q.settle(x.sig)
}

// takeTimer is the signal of a timer that has one waiting.
func (q *signalQueue) takeTimer(sig int32) (info sigInfo, ok bool) {
	for at := &q.told; *at != 0; at = &timerAt(*at).toldNext {
		x := timerAt(*at)
		if x.sig != sig {
			continue
		}
		info = sigInfo{signo: sig, code: x.code}
		if x.code == siTimer {
			info.pidOrAddr = uint64(uint32(x.id)) | uint64(min(x.overrun, 1<<31-1))<<32
			info.value = x.value
		}
		if x.due > 0 {
			x.due-- // and once more when the handler is through
		} else {
			x.told = false
			*at = x.toldNext
		}
		return info, true
	}
	return info, false
}

func (q *signalQueue) hasTimer(sig int32) bool {
	for at := q.told; at != 0; at = timerAt(at).toldNext {
		if timerAt(at).sig == sig {
			return true
		}
	}
	return false
}

// newTimer returns a timer that is not armed, or nil.
func newTimer() *timer {
	if timers.free == 0 && !addTimers() {
		return nil
	}
	x := timerAt(timers.free)
	timers.free = x.next
	*x = timer{id: x.id}
	return x
}

func addTimers() bool {
	if timers.used == maxTimerChunks {
		return false
	}
	at := kernelAlloc(chunkTimers * unsafe.Sizeof(timer{}))
	if at == 0 {
		return false
	}
	for i := chunkTimers - 1; i >= 0; i-- {
		x := timerAt(at + uintptr(i)*unsafe.Sizeof(timer{}))
		x.id = int32(timers.used*chunkTimers + i)
		x.next, timers.free = timers.free, x.addrOf()
	}
	timers.chunks[timers.used] = at
	timers.used++
	return true
}

// timerByID is a timer that timer_create made, or nil.
func timerByID(id int32) *timer {
	if id < 0 || int(id) >= timers.used*chunkTimers {
		return nil
	}
	x := timerAt(timers.chunks[id/chunkTimers] + uintptr(id%chunkTimers)*unsafe.Sizeof(timer{}))
	if x.clock == noClock {
		return nil
	}
	return x
}

func (x *timer) release() {
	x.retract()
	x.disarm()
	x.clock = noClock
	x.next, timers.free = timers.free, x.addrOf()
}

// left is how long the timer still has to go; 0 when it is not armed.
func (x *timer) left() int64 {
	if !x.armed {
		return 0
	}
	return max(x.expiry-x.now(), 1)
}

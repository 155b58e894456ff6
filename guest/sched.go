package guest

import "github.com/pvrun/pvrun/hypercall"

// What follows is owned by the vCPU.
var (
	runQueue struct{ head, tail uintptr }
	sleepers uintptr // by deadline
	sliceEnd int64   // when the running thread has had its time slice
)

// timeSlice is how long a thread may run while others could, in ns.
const timeSlice = hypercall.TickNS

func makeRunnable(t *thread) {
	t.run = threadRunnable
	t.next = 0
	if runQueue.tail == 0 {
		runQueue.head = t.addrOf()
	} else {
		threadAt(runQueue.tail).next = t.addrOf()
	}
	runQueue.tail = t.addrOf()
}

// makeNext puts a thread before all others: sleepers whose time has come, sysmon
// above all, do little and then sleep again.
func makeNext(t *thread) {
	t.run = threadRunnable
	t.next = runQueue.head
	runQueue.head = t.addrOf()
	if runQueue.tail == 0 {
		runQueue.tail = t.addrOf()
	}
}

func takeRunnable() *thread {
	if runQueue.head == 0 {
		return nil
	}
	t := threadAt(runQueue.head)
	runQueue.head = t.next
	if runQueue.head == 0 {
		runQueue.tail = 0
	}
	t.next = 0
	return t
}

// sleepUntil puts a waiting thread among the sleepers.
func sleepUntil(t *thread, deadline int64) {
	t.deadline, t.sleeping = deadline, true
	at := &sleepers
	for *at != 0 && threadAt(*at).deadline <= deadline {
		at = &threadAt(*at).later
	}
	t.later = *at
	*at = t.addrOf()
}

func stopSleeping(t *thread) {
	if !t.sleeping {
		return
	}
	t.sleeping = false
	for at := &sleepers; *at != 0; at = &threadAt(*at).later {
		if *at == t.addrOf() {
			*at = t.later
			return
		}
	}
}

// block makes the running thread wait. deadline is forever or monotonic ns.
// Another thread runs when the visit ends.
func block(t *thread, kind waitKind, deadline int64) {
	t.run, t.wait = threadWaiting, kind
	if deadline != hypercall.Forever {
		sleepUntil(t, deadline)
	}
}

// wake ends a thread's wait with a result.
func wake(t *thread, result int64) {
	if t.wait == waitFutex {
		futexForget(t)
	}
	if t.wait == waitEpoll {
		epollForget(t)
	}
	if t.wait == waitPipe {
		pipeForget(t)
	}
	stopSleeping(t)
	t.frame.rax = uintptr(result)
	makeRunnable(t)
}

// wakeSleepers ends the waits whose deadline has passed and says whether there
// were any.
func wakeSleepers(now int64) (any bool) {
	for sleepers != 0 && threadAt(sleepers).deadline <= now {
		expire(threadAt(sleepers))
		any = true
	}
	return any
}

func expire(t *thread) {
	result := int64(0)
	switch t.wait {
	case waitFutex:
		futexForget(t)
		result = -eTIMEDOUT
	case waitEpoll:
		epollForget(t)
	}
	stopSleeping(t)
	t.frame.rax = uintptr(result)
	makeNext(t)
}

// reschedule decides who runs next, waiting with the whole machine if nobody
// can, and tells the host until when.
func reschedule() {
	t := running()
	if t.run != threadRunning {
		now := monotonic()
		charge(t, now)
		if t = takeRunnable(); t == nil {
			t = idleUntilRunnable()
			now = monotonic()
		}
		t.run = threadRunning
		setRunning(t)
		cpuTime.since, sliceEnd = now, now+timeSlice
	}
	setDeadline(t)
}

func idleUntilRunnable() *thread {
	for {
		idle()
		if t := takeRunnable(); t != nil {
			return t
		}
	}
}

// yield lets others, if there are any, run before the running thread.
func yield(t *thread) {
	if t.run == threadRunning && runQueue.head != 0 {
		makeRunnable(t)
	}
}

// idle waits for the next deadline or event. A wait below a millisecond is not
// worth an exit: only the runtime's own back-off sleeps that briefly, and early
// is as good as late for it.
func idle() {
	const short = 1_000_000
	if tellRings() && runQueue.head != 0 {
		return
	}
	deadline := int64(hypercall.Forever)
	if sleepers != 0 {
		s := threadAt(sleepers)
		deadline = s.deadline
		if s.wait == waitSleep && deadline-monotonic() < short {
			expire(s)
			return
		}
	}
	deadline = min(deadline, timers.monotonic.next)
	if !spinOnRings(deadline) && !spinOnNets(deadline) {
		awaitHost(deadline)
	}
	takeEvents()
	tellRings()
	expireMonotonic()
	wakeSleepers(monotonic())
}

// setDeadline asks for a timer event while t runs: at the next sleeper's time,
// when a timer expires, or at the end of the time slice when others wait for the
// vCPU. It costs no exit.
func setDeadline(t *thread) {
	d := int64(hypercall.Forever)
	if sleepers != 0 {
		d = threadAt(sleepers).deadline
	}
	if runQueue.head != 0 {
		d = min(d, sliceEnd)
	}
	if timers.armed != 0 {
		d = min(d, timerDeadline(t))
	}
	vcpuPage().Deadline = d
	if isNative && d < never {
		armTimer(nextTick(d))
	}
}

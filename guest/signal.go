package guest

import "github.com/pvrun/pvrun/hypercall"

// Signals, as Linux delivers them (signal(7)).
const (
	sigILL    = 4
	sigTRAP   = 5
	sigBUS    = 7
	sigFPE    = 8
	sigKILL   = 9
	sigSEGV   = 11
	sigPIPE   = 13
	sigALRM   = 14
	sigCHLD   = 17
	sigCONT   = 18
	sigSTOP   = 19
	sigTSTP   = 20
	sigTTIN   = 21
	sigTTOU   = 22
	sigURG    = 23
	sigVTALRM = 26
	sigPROF   = 27
	sigWINCH  = 28
	signals   = 64
)

// sigaction is struct sigaction as the system call has it.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const (
	saOnstack   = 0x08000000
	saNodefer   = 0x40000000
	sigDefault  = 0
	sigIgnore   = 1
	ssOnstack   = 1
	ssDisable   = 2
	minAltStack = 2048
)

// signalQueue is what waits for a thread or for the process to take it.
type signalQueue struct {
	pending uint64  // all, bit n-1
	sent    uint64  // of them, those that somebody sent
	told    uintptr // timers whose signal is among them
}

// actions and processSignals are the process's; owned by the vCPU.
var (
	actions        [signals + 1]sigaction
	processSignals signalQueue
)

// send makes a signal pending that kill, tgkill or the host sends.
func (q *signalQueue) send(set uint64) {
	q.pending |= set
	q.sent |= set
}

// take takes one signal that is pending: a timer's first, since it has more to
// say than one that somebody sent.
func (q *signalQueue) take(sig, code int32) sigInfo {
	info, timed := q.takeTimer(sig)
	if !timed {
		info = sigInfo{signo: sig, code: code, pidOrAddr: processID}
		q.sent &^= bit(sig)
	}
	q.settle(sig)
	return info
}

// settle ends a pending signal that nobody has sent any more.
func (q *signalQueue) settle(sig int32) {
	if q.sent&bit(sig) == 0 && !q.hasTimer(sig) {
		q.pending &^= bit(sig)
	}
}

// drop forgets a signal that is to be ignored from now on.
func (q *signalQueue) drop(sig int32) {
	for q.pending&bit(sig) != 0 {
		q.take(sig, siUser)
	}
}

func bit(sig int32) uint64 { return 1 << (sig - 1) }

const unblockable = 1<<(sigKILL-1) | 1<<(sigSTOP-1)

func setAction(sig int32, act, old *sigaction) int64 {
	if sig < 1 || sig > signals {
		return -eINVAL
	}
	if old != nil {
		*old = actions[sig]
	}
	if act != nil {
		if sig == sigKILL || sig == sigSTOP {
			return -eINVAL
		}
		actions[sig] = *act
		if ignored(sig) {
			processSignals.drop(sig)
			eachThread(func(t *thread) bool { t.signals.drop(sig); return false })
		}
	}
	return 0
}

const (
	sigBlock   = 0
	sigUnblock = 1
	sigSetmask = 2
)

func setMask(t *thread, how int32, set, old *uint64) int64 {
	if old != nil {
		*old = t.mask
	}
	if set == nil {
		return 0
	}
	switch how {
	case sigBlock:
		t.mask |= *set
	case sigUnblock:
		t.mask &^= *set
	case sigSetmask:
		t.mask = *set
	default:
		return -eINVAL
	}
	t.mask &^= unblockable
	return 0
}

// stackT is stack_t.
type stackT struct {
	sp    uintptr
	flags int32
	_     int32
	size  uintptr
}

func setAltStack(t *thread, set, old *stackT) int64 {
	onIt := onAltStack(t, t.frame.rsp)
	if old != nil {
		*old = stackT{sp: t.altStack, flags: t.altFlags, size: t.altSize}
		if onIt {
			old.flags = ssOnstack
		}
	}
	if set == nil {
		return 0
	}
	switch {
	case onIt:
		return -ePERM
	case set.flags&ssDisable != 0:
		t.altStack, t.altSize, t.altFlags = 0, 0, ssDisable
	case set.size < minAltStack:
		return -eNOMEM
	default:
		t.altStack, t.altSize, t.altFlags = set.sp, set.size, 0
	}
	return 0
}

func onAltStack(t *thread, sp uintptr) bool {
	return t.altFlags == 0 && sp > t.altStack && sp-t.altStack <= t.altSize
}

// raiseThread sends a signal to one thread.
func raiseThread(t *thread, sig int32) {
	// What is blocked may have a handler by the time that it is taken.
	if ignored(sig) && t.mask&bit(sig) == 0 {
		return
	}
	t.signals.send(bit(sig))
	interrupt(t)
}

// raiseProcess sends signals to whichever thread takes them.
func raiseProcess(set uint64) {
	for sig := int32(1); sig <= signals; sig++ {
		if set&bit(sig) != 0 && ignored(sig) {
			set &^= bit(sig)
		}
	}
	processSignals.send(set)
	for sig := int32(1); set != 0; sig++ {
		if set&bit(sig) != 0 {
			set &^= bit(sig)
			interruptAny(sig)
		}
	}
}

// interruptAny finds a thread for a signal to the process: the one that runs,
// if it takes it, or else the oldest.
func interruptAny(sig int32) {
	if t := running(); t.run == threadRunning && t.mask&bit(sig) == 0 {
		return
	}
	eachThread(func(t *thread) bool {
		takes := t.mask&bit(sig) == 0
		if takes {
			interrupt(t)
		}
		return takes
	})
}

// interrupt ends a thread's wait for a signal that it will take.
func interrupt(t *thread) {
	if t.run == threadWaiting && (t.signals.pending|processSignals.pending)&^t.mask != 0 {
		wake(t, -eINTR)
	}
}

// ignored says whether a signal has no effect at all. A machine does not stop:
// nobody would let it go on.
func ignored(sig int32) bool {
	switch actions[sig].handler {
	case sigIgnore:
		return true
	case sigDefault:
		switch sig {
		case sigCHLD, sigCONT, sigURG, sigWINCH, sigSTOP, sigTSTP, sigTTIN, sigTTOU:
			return true
		}
	}
	return false
}

// deliverSignals makes the thread that is about to run handle what is pending:
// SIGPROF first, which is about where the thread was interrupted and which a
// SIGURG of the scheduler's, come by the same tick, would lead elsewhere.
func deliverSignals(t *thread) {
	set := (t.signals.pending | processSignals.pending) &^ t.mask
	if set == 0 {
		return
	}
	if set&bit(sigPROF) != 0 {
		deliverNext(t, sigPROF)
	}
	for sig := int32(1); sig <= signals; sig++ {
		if set&^t.mask&bit(sig) != 0 {
			deliverNext(t, sig)
		}
	}
}

// deliverNext takes a signal that is pending: a thread's own before the process's.
func deliverNext(t *thread, sig int32) {
	switch {
	case t.signals.pending&bit(sig) != 0:
		deliver(t, sig, t.signals.take(sig, siTkill), false)
	case processSignals.pending&bit(sig) != 0:
		deliver(t, sig, processSignals.take(sig, siUser), false)
	}
}

func exitBySignal(sig int32) { call(hypercall.CallExit, uintptr(sig)<<8, 0, 0, 0) }

// deliver enters a handler, or does what the default is. isFault is whether the
// signal comes of the exception in the vCPU's page.
func deliver(t *thread, sig int32, info sigInfo, isFault bool) {
	act := &actions[sig]
	switch {
	case ignored(sig):
		return
	case act.handler == sigDefault:
		exitBySignal(sig)
	}
	f := pushSignal(t, sig, info, act)
	if isFault {
		p := vcpuPage()
		f.uc.trapno, f.uc.err, f.uc.cr2 = uintptr(p.Vector), uintptr(p.Error), uintptr(p.CR2)
	}
	t.mask |= act.mask
	if act.flags&saNodefer == 0 {
		t.mask |= bit(sig)
	}
	t.mask &^= unblockable
}

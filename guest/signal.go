package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// Signals, as Linux delivers them (signal(7)).
const (
	sigILL   = 4
	sigTRAP  = 5
	sigBUS   = 7
	sigFPE   = 8
	sigKILL  = 9
	sigSEGV  = 11
	sigCHLD  = 17
	sigCONT  = 18
	sigSTOP  = 19
	sigTSTP  = 20
	sigTTIN  = 21
	sigTTOU  = 22
	sigURG   = 23
	sigWINCH = 28
	signals  = 64
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

// actions and processPending are the process's; owned by the vCPU.
var (
	actions        [signals + 1]sigaction
	processPending uint64
)

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
	if ignored(sig) {
		return
	}
	t.pending |= bit(sig)
	interrupt(t)
}

// raiseProcess sends signals to whichever thread takes them, the oldest first.
func raiseProcess(set uint64) {
	for sig := int32(1); sig <= signals; sig++ {
		if set&bit(sig) != 0 && ignored(sig) {
			set &^= bit(sig)
		}
	}
	processPending |= set
	for sig := int32(1); set != 0; sig++ {
		if set&bit(sig) == 0 {
			continue
		}
		set &^= bit(sig)
		eachThread(func(t *thread) bool {
			takes := t.mask&bit(sig) == 0
			if takes {
				interrupt(t)
			}
			return takes
		})
	}
}

// interrupt ends a thread's wait for a signal that it will take.
func interrupt(t *thread) {
	if t.run == threadWaiting && (t.pending|processPending)&^t.mask != 0 {
		wake(t, -eINTR)
	}
}

// ignored says whether a signal has no effect at all.
func ignored(sig int32) bool {
	switch actions[sig].handler {
	case sigIgnore:
		return true
	case sigDefault:
		switch sig {
		case sigCHLD, sigCONT, sigURG, sigWINCH, sigTSTP, sigTTIN, sigTTOU:
			return true
		}
	}
	return false
}

// deliverSignals makes the thread that is about to run handle what is pending.
func deliverSignals(t *thread) {
	set := (t.pending | processPending) &^ t.mask
	for sig := int32(1); set != 0; sig++ {
		if set&bit(sig) == 0 {
			continue
		}
		set &^= bit(sig)
		t.pending &^= bit(sig)
		processPending &^= bit(sig)
		deliver(t, sig, sigInfo{signo: sig, code: siUser, pidOrAddr: 1})
		set &^= t.mask
	}
}

// sigInfo is the head of siginfo_t; what follows is zero.
type sigInfo struct {
	signo, errno, code, _ int32
	pidOrAddr             uint64
	_                     [13]uint64
}

const (
	siUser       = 0
	siKernel     = 0x80
	segvMapErr   = 1
	segvAccErr   = 2
	fpeIntDiv    = 1
	fpeFltInv    = 7
	illIllOpn    = 2
	trapTrace    = 2
	busAdrAln    = 1
	faultPresent = 1 // page-fault error code: the page was there
)

// deliver enters a handler, or does what the default is.
func deliver(t *thread, sig int32, info sigInfo) {
	act := &actions[sig]
	switch {
	case ignored(sig):
		return
	case act.handler == sigDefault:
		Hypercall(hypercall.CallExit, uintptr(sig)<<8, 0, 0, 0, 0, 0)
	}
	pushSignal(t, sig, info, act)
	t.mask |= act.mask
	if act.flags&saNodefer == 0 {
		t.mask |= bit(sig)
	}
	t.mask &^= unblockable
}

// ucontext is struct ucontext with struct sigcontext inside, and signalFrame
// struct rt_sigframe (Linux, arch/x86/include/uapi/asm/sigcontext.h,
// arch/x86/include/asm/sigframe.h).
type ucontext struct {
	flags, link  uintptr
	stack        stackT
	r8, r9, r10  uintptr
	r11, r12     uintptr
	r13, r14     uintptr
	r15, rdi     uintptr
	rsi, rbp     uintptr
	rbx, rdx     uintptr
	rax, rcx     uintptr
	rsp, rip     uintptr
	rflags       uintptr
	selectors    uintptr
	err, trapno  uintptr
	oldmask, cr2 uintptr
	fpstate      uintptr
	_            [8]uintptr
	mask         uint64
}

type signalFrame struct {
	restorer uintptr
	uc       ucontext
	info     sigInfo
}

// pushSignal saves the thread's state on its signal stack and lets it go on in
// the handler.
func pushSignal(t *thread, sig int32, info sigInfo, act *sigaction) {
	sp := t.frame.rsp - 128 // the ABI's red zone
	if act.flags&saOnstack != 0 && t.altFlags == 0 && !onAltStack(t, t.frame.rsp) {
		sp = t.altStack + t.altSize
	}
	fpstate := uintptr(0)
	if t.leave == leaveState {
		sp = (sp - threads.stateLen) &^ 63
		fpstate = sp
		copyWords(fpstate, t.state, threads.stateLen)
	}
	// The handler is entered as by a CALL: RSP+8 is a multiple of 16.
	sp = (sp-unsafe.Sizeof(signalFrame{}))&^15 - 8
	f := (*signalFrame)(unsafe.Pointer(sp))
	f.restorer = act.restorer
	saveContext(&f.uc, t, fpstate)
	f.uc.link = sp
	f.uc.trapno, f.uc.err, f.uc.cr2 = faultOf(info)
	f.info = info
	t.frame.rip, t.frame.rsp, t.frame.rflags = act.handler, sp, 2
	t.frame.rdi = uintptr(sig)
	t.frame.rsi = uintptr(unsafe.Pointer(&f.info))
	t.frame.rdx = uintptr(unsafe.Pointer(&f.uc))
	t.frame.rax = 0
	t.leave = leaveFull
}

// faultOf fills what a handler may want to know of a fault.
func faultOf(info sigInfo) (trapno, err, cr2 uintptr) {
	if info.code == siUser {
		return 0, 0, 0
	}
	p := vcpuPage()
	return uintptr(p.Vector), uintptr(p.Error), uintptr(p.CR2)
}

func saveContext(uc *ucontext, t *thread, fpstate uintptr) {
	f := &t.frame
	*uc = ucontext{
		stack: stackT{sp: t.altStack, flags: t.altFlags, size: t.altSize},
		r8:    f.r8, r9: f.r9, r10: f.r10, r11: f.r11, r12: f.r12, r13: f.r13, r14: f.r14, r15: f.r15,
		rdi: f.rdi, rsi: f.rsi, rbp: f.rbp, rbx: f.rbx, rdx: f.rdx, rax: f.rax, rcx: f.rcx,
		rsp: f.rsp, rip: f.rip, rflags: f.rflags,
		fpstate: fpstate, mask: t.mask, oldmask: uintptr(t.mask),
	}
	if t.leave == leaveCall {
		uc.rcx, uc.r11, uc.rflags = f.rip, 2, 2 // as SYSCALL leaves them
	}
}

// sigreturn goes back to what a signal interrupted.
func sigreturn(t *thread) {
	uc := &findSignalFrame(t.frame.rsp).uc
	t.frame = frame{
		rax: uc.rax, rbx: uc.rbx, rcx: uc.rcx, rdx: uc.rdx, rsi: uc.rsi, rdi: uc.rdi, rbp: uc.rbp, rsp: uc.rsp,
		r8: uc.r8, r9: uc.r9, r10: uc.r10, r11: uc.r11, r12: uc.r12, r13: uc.r13, r14: uc.r14, r15: uc.r15,
		rip: uc.rip, rflags: uc.rflags,
	}
	t.mask = uc.mask &^ unblockable
	t.leave = leaveFull
	if uc.fpstate != 0 {
		copyWords(t.state, uc.fpstate, threads.stateLen)
		t.leave = leaveState
	}
}

// findSignalFrame finds the frame from the stack pointer at rt_sigreturn: one
// word above it after the handler's RET, and at it where the assembler has
// given the restorer a frame pointer to push. The link tells.
func findSignalFrame(sp uintptr) *signalFrame {
	if f := (*signalFrame)(unsafe.Pointer(sp)); f.uc.link == sp {
		return f
	}
	f := (*signalFrame)(unsafe.Pointer(sp - 8))
	if f.uc.link != sp-8 {
		crash("rt_sigreturn without a signal frame")
	}
	return f
}

// copyWords copies n bytes, a multiple of 8.
func copyWords(to, from, n uintptr) {
	copy(unsafe.Slice((*uint64)(unsafe.Pointer(to)), n/8), unsafe.Slice((*uint64)(unsafe.Pointer(from)), n/8))
}

// exception turns a fault of the running thread into its signal.
func exception(t *thread, vector uint64) {
	p := vcpuPage()
	info := sigInfo{signo: sigSEGV, code: siKernel}
	switch vector {
	case 0:
		info = sigInfo{signo: sigFPE, code: fpeIntDiv, pidOrAddr: uint64(t.frame.rip)}
	case 16, 19:
		info = sigInfo{signo: sigFPE, code: fpeFltInv, pidOrAddr: uint64(t.frame.rip)}
	case 1:
		info = sigInfo{signo: sigTRAP, code: trapTrace, pidOrAddr: uint64(t.frame.rip)}
	case 3:
		info = sigInfo{signo: sigTRAP, code: siKernel}
	case vectorInvalidOpcode:
		info = sigInfo{signo: sigILL, code: illIllOpn, pidOrAddr: uint64(t.frame.rip)}
	case 17:
		info = sigInfo{signo: sigBUS, code: busAdrAln}
	case 14:
		info = sigInfo{signo: sigSEGV, code: segvMapErr, pidOrAddr: p.CR2}
		if p.Error&faultPresent != 0 {
			info.code = segvAccErr
		}
	}
	force(t, info)
}

// force delivers a signal that cannot wait: a thread that has blocked or
// ignored it dies of it.
func force(t *thread, info sigInfo) {
	sig := info.signo
	if t.mask&bit(sig) != 0 || actions[sig].handler <= sigIgnore {
		Hypercall(hypercall.CallExit, uintptr(sig)<<8, 0, 0, 0, 0, 0)
	}
	deliver(t, sig, info)
}

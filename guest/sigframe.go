package guest

import "unsafe"

// sigInfo is the head of siginfo_t; what follows is zero.
type sigInfo struct {
	signo, errno, code, _ int32
	pidOrAddr             uint64 // pid and uid, timer and overrun, or a fault's address
	value                 uint64 // a timer's
	_                     [12]uint64
}

const (
	siUser       = 0
	siTimer      = -2
	siTkill      = -6
	siKernel     = 0x80
	segvMapErr   = 1
	segvAccErr   = 2
	fpeIntDiv    = 1
	fpeFltInv    = 7
	illIllOpn    = 2
	trapTrace    = 2
	busAdrAln    = 1
	busAdrErr    = 2
	faultPresent = 1 // page-fault error code: the page was there
	faultWrite   = 2 // and it was written
)

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
func pushSignal(t *thread, sig int32, info sigInfo, act *sigaction) *signalFrame {
	sp := t.frame.rsp - 128 // the ABI's red zone
	if act.flags&saOnstack != 0 && t.altFlags == 0 && !onAltStack(t, t.frame.rsp) {
		sp = t.altStack + t.altSize
	}
	// A stack that is not there has no place for a signal.
	if room := unsafe.Sizeof(signalFrame{}) + threads.stateLen + 128; !writable(sp-room, room) {
		exitBySignal(sigSEGV)
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
	f.info = info
	t.frame.rip, t.frame.rsp, t.frame.rflags = act.handler, sp, 2
	t.frame.rdi = uintptr(sig)
	t.frame.rsi = uintptr(unsafe.Pointer(&f.info))
	t.frame.rdx = uintptr(unsafe.Pointer(&f.uc))
	t.frame.rax = 0
	t.leave = leaveFull
	return f
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
	if !readable(sp-8, unsafe.Sizeof(signalFrame{})+8) {
		exitBySignal(sigSEGV)
	}
	if f := (*signalFrame)(unsafe.Pointer(sp)); f.uc.link == sp {
		return f
	}
	f := (*signalFrame)(unsafe.Pointer(sp - 8))
	if f.uc.link != sp-8 {
		exitBySignal(sigSEGV)
	}
	return f
}

// copyWords copies n bytes, a multiple of 8.
func copyWords(to, from, n uintptr) {
	copy(unsafe.Slice((*uint64)(unsafe.Pointer(to)), n/8), unsafe.Slice((*uint64)(unsafe.Pointer(from)), n/8))
}

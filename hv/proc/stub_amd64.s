#include "go_asm.h"
#include "textflag.h"

// The code that runs in the child beside the guest's. It is copied from here and runs
// at other addresses: nothing in it refers to a symbol. It has no stack but a small one
// in the control page, and uses no vector register and neither FS nor GS, which are the
// guest's. Guest code can jump anywhere into it: what it may ask of the kernel is the
// filter's to say.
//
// BX is the control page, R12 a handler's context, R13 where to go on after the host's
// turn: 0 at the tail, 1 in the handler.

#define SYS_mmap 9
#define SYS_rt_sigreturn 15
#define SYS_futex 202
#define SYS_exit_group 231

#define RDFSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc0
#define RDGSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc8
#define WRFSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd0
#define WRGSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd8

// MOVE copies a register between a handler's context and the control page.
#define TAKE(uc, reg) MOVQ uc(DX), AX; MOVQ AX, reg(BX)
#define PUT(reg, uc) MOVQ reg(BX), AX; MOVQ AX, uc(R12)

// Failed system calls are from -4095 up.
#define FAILED(label) CMPQ AX, $-4095; JCC label

// func stub()
TEXT ·stub(SB), NOSPLIT|NOFRAME, $0-0
	// Boot, where the kernel has put the executable: the control page and this code
	// get their places, whatever is there.
	MOVL $SYS_mmap, AX
	MOVQ $const_controlAt, DI
	MOVL $const_controlSize, SI
	MOVL $3, DX     // PROT_READ|PROT_WRITE
	MOVL $0x11, R10 // MAP_SHARED|MAP_FIXED
	MOVL $const_fdControl, R8
	XORL R9, R9
	SYSCALL
	FAILED(fail)
	MOVL $SYS_mmap, AX
	MOVQ $const_stubAt, DI
	MOVL $const_pageSize, SI
	MOVL $5, DX     // PROT_READ|PROT_EXEC
	MOVL $0x12, R10 // MAP_PRIVATE|MAP_FIXED
	MOVL $const_fdStub, R8
	MOVL $const_pageSize, R9
	SYSCALL
	FAILED(fail)
	MOVQ $const_stubAt+const_stubArrive, AX
	JMP  AX

fail:
	NEGQ AX
	MOVQ AX, DI
	MOVL $SYS_exit_group, AX
	SYSCALL
	INT  $3

	// Arrive, at the right place.
	PCALIGN $512
	MOVQ $const_controlAt, BX
	LEAQ const_ctlStack(BX), SP
	XORL R13, R13
	MOVL $const_reasonDone, const_ctlReason(BX)
	JMP  publish

	// Gate: the hypercall page comes here with the guest's registers and stack.
	PCALIGN $512
	BYTE $0x48; BYTE $0xa3; QUAD $const_controlAt+const_regRAX // mov [moffs64], rax
	MOVQ $const_controlAt, AX
	MOVQ BX, const_regRBX(AX)
	MOVQ CX, const_regRCX(AX)
	MOVQ DX, const_regRDX(AX)
	MOVQ SI, const_regRSI(AX)
	MOVQ DI, const_regRDI(AX)
	MOVQ SP, const_regRSP(AX)
	MOVQ BP, const_regRBP(AX)
	MOVQ R8, const_regR8(AX)
	MOVQ R9, const_regR9(AX)
	MOVQ R10, const_regR10(AX)
	MOVQ R11, const_regR11(AX)
	MOVQ R12, const_regR12(AX)
	MOVQ R13, const_regR13(AX)
	MOVQ R14, const_regR14(AX)
	MOVQ R15, const_regR15(AX)
	LEAQ const_ctlStack(AX), SP
	PUSHFQ
	POPQ const_regRFLAGS(AX)
	PUSHQ $2 // with NT set, IRETQ would fault; with TF, each instruction
	POPFQ
	MOVQ AX, BX
	RDFSBASE_AX
	MOVQ AX, const_ctlFS(BX)
	RDGSBASE_AX
	MOVQ AX, const_ctlGS(BX)
	XORL R13, R13
	MOVL $const_reasonCall, const_ctlReason(BX)
	JMP  publish

	// Publish: it is the host's turn, then ours.
	PCALIGN $512
publish:
	MOVL  $1, AX
	XCHGL AX, const_ctlTurn(BX)
	CMPL  const_ctlHostWaits(BX), $0
	JEQ   spin
	MOVL  $SYS_futex, AX
	MOVQ  BX, DI
	MOVL  $1, SI // FUTEX_WAKE
	MOVL  $1, DX
	SYSCALL

spin:
	MOVL const_ctlSpin(BX), CX
look:
	CMPL const_ctlTurn(BX), $0
	JEQ  turn
	PAUSE
	SUBL $1, CX
	JCC  look
	MOVL  $1, AX
	XCHGL AX, const_ctlChildWaits(BX)
sleep:
	CMPL const_ctlTurn(BX), $0
	JEQ  awake
	MOVL $SYS_futex, AX
	MOVQ BX, DI
	XORL SI, SI // FUTEX_WAIT
	MOVL $1, DX
	XORL R10, R10
	SYSCALL
	JMP  sleep
awake:
	MOVL $0, const_ctlChildWaits(BX)

turn:
	MOVL  const_ctlCommands(BX), R15
	LEAQ  const_ctlList(BX), R14
	TESTL R15, R15
	JEQ   done
command:
	MOVQ 0(R14), AX
	MOVQ 8(R14), DI
	MOVQ 16(R14), SI
	MOVQ 24(R14), DX
	MOVQ 32(R14), R10
	MOVQ 40(R14), R8
	MOVQ 48(R14), R9
	SYSCALL
	FAILED(failed)
next:
	ADDQ $const_commandSize, R14
	SUBL $1, R15
	JNE  command
done:
	TESTL $const_flagReport, const_ctlFlags(BX)
	JNE   report
	TESTL $const_flagBases, const_ctlFlags(BX)
	JEQ   bases
	MOVQ  const_ctlFS(BX), AX
	WRFSBASE_AX
	MOVQ  const_ctlGS(BX), AX
	WRGSBASE_AX
bases:
	TESTL R13, R13
	JNE   back
	JMP   tail
failed:
	MOVQ AX, const_ctlFailed(BX)
	JMP  next
report:
	MOVL $const_reasonDone, const_ctlReason(BX)
	JMP  publish

	// Tail: to the guest. A kick that comes here has it begun anew, so that none
	// is lost between looking and leaving.
	PCALIGN $512
tail:
	MOVQ $const_controlAt, BX
	CMPL const_ctlKicked(BX), $0
	JNE  kicked
	MOVQ const_regRIP(BX), AX
	MOVQ AX, (const_ctlIRET+0)(BX)
	MOVQ const_regRFLAGS(BX), AX
	MOVQ AX, (const_ctlIRET+16)(BX)
	MOVQ const_regRSP(BX), AX
	MOVQ AX, (const_ctlIRET+24)(BX)
	MOVQ const_regRAX(BX), AX
	MOVQ const_regRCX(BX), CX
	MOVQ const_regRDX(BX), DX
	MOVQ const_regRSI(BX), SI
	MOVQ const_regRDI(BX), DI
	MOVQ const_regRBP(BX), BP
	MOVQ const_regR8(BX), R8
	MOVQ const_regR9(BX), R9
	MOVQ const_regR10(BX), R10
	MOVQ const_regR11(BX), R11
	MOVQ const_regR12(BX), R12
	MOVQ const_regR13(BX), R13
	MOVQ const_regR14(BX), R14
	MOVQ const_regR15(BX), R15
	LEAQ const_ctlIRET(BX), SP
	MOVQ const_regRBX(BX), BX
	IRETQ
kicked:
	MOVL $0, const_ctlKicked(BX)
	MOVL $const_reasonKicked, const_ctlReason(BX)
	XORL R13, R13
	LEAQ const_ctlStack(BX), SP
	JMP  publish

	// Handler of every signal: DI its number, SI siginfo, DX the context.
	PCALIGN $512
	MOVQ $const_controlAt, BX
	MOVQ DX, R12
	MOVQ const_ucRIP(DX), AX
	MOVQ $const_stubAt, CX
	SUBQ CX, AX
	CMPQ AX, $const_pageSize
	JCS  inside
	MOVL $const_reasonSignal, const_ctlReason(BX)
take:
	MOVL DI, const_ctlSignal(BX)
	MOVL const_siCode(SI), AX
	MOVL AX, const_ctlCode(BX)
	MOVQ const_siAddr(SI), AX
	MOVQ AX, const_ctlAddr(BX)
	TAKE(const_ucTrap, const_ctlTrap)
	TAKE(const_ucError, const_ctlError)
	TAKE(const_ucCR2, const_ctlCR2)
	TAKE(const_ucRAX, const_regRAX)
	TAKE(const_ucRBX, const_regRBX)
	TAKE(const_ucRCX, const_regRCX)
	TAKE(const_ucRDX, const_regRDX)
	TAKE(const_ucRSI, const_regRSI)
	TAKE(const_ucRDI, const_regRDI)
	TAKE(const_ucRSP, const_regRSP)
	TAKE(const_ucRBP, const_regRBP)
	TAKE(const_ucR8, const_regR8)
	TAKE(const_ucR9, const_regR9)
	TAKE(const_ucR10, const_regR10)
	TAKE(const_ucR11, const_regR11)
	TAKE(const_ucR12, const_regR12)
	TAKE(const_ucR13, const_regR13)
	TAKE(const_ucR14, const_regR14)
	TAKE(const_ucR15, const_regR15)
	TAKE(const_ucRIP, const_regRIP)
	TAKE(const_ucRFLAGS, const_regRFLAGS)
	RDFSBASE_AX
	MOVQ AX, const_ctlFS(BX)
	RDGSBASE_AX
	MOVQ AX, const_ctlGS(BX)
	MOVL $1, R13
	JMP  publish

	// The signal has come while the stub itself ran.
inside:
	CMPL DI, $const_kickSignal
	JEQ  kick
	CMPQ const_ucTrap(DX), $1 // TF, until the gate has cleared it
	JEQ  return
	MOVL $const_reasonStub, const_ctlReason(BX)
	JMP  take
kick:
	MOVL $1, const_ctlKicked(BX)
	SUBQ $const_stubTail, AX
	CMPQ AX, $const_stubTailEnd-const_stubTail
	JCC  return
	MOVQ $const_stubAt+const_stubTail, AX
	MOVQ AX, const_ucRIP(DX)
return:
	MOVQ R12, SP
	MOVL $SYS_rt_sigreturn, AX
	SYSCALL
	INT  $3

back:
	PUT(const_regRAX, const_ucRAX)
	PUT(const_regRBX, const_ucRBX)
	PUT(const_regRCX, const_ucRCX)
	PUT(const_regRDX, const_ucRDX)
	PUT(const_regRSI, const_ucRSI)
	PUT(const_regRDI, const_ucRDI)
	PUT(const_regRSP, const_ucRSP)
	PUT(const_regRBP, const_ucRBP)
	PUT(const_regR8, const_ucR8)
	PUT(const_regR9, const_ucR9)
	PUT(const_regR10, const_ucR10)
	PUT(const_regR11, const_ucR11)
	PUT(const_regR12, const_ucR12)
	PUT(const_regR13, const_ucR13)
	PUT(const_regR14, const_ucR14)
	PUT(const_regR15, const_ucR15)
	PUT(const_regRIP, const_ucRIP)
	PUT(const_regRFLAGS, const_ucRFLAGS)
	JMP return

	PCALIGN $512
	INT $3

// func stubAddr() uintptr
TEXT ·stubAddr(SB), NOSPLIT, $0-8
	LEAQ ·stub(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func selectors() (cs, ss uint64)
TEXT ·selectors(SB), NOSPLIT, $0-16
	XORL AX, AX
	MOVW CS, AX
	MOVQ AX, cs+0(FP)
	MOVW SS, AX
	MOVQ AX, ss+8(FP)
	RET

// func rdtsc() uint64
TEXT ·rdtsc(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func xgetbv() uint64
TEXT ·xgetbv(SB), NOSPLIT, $0-8
	XORL CX, CX
	XGETBV
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func pause(n uint32)
TEXT ·pause(SB), NOSPLIT, $0-4
	MOVL n+0(FP), CX
again:
	PAUSE
	SUBL $1, CX
	JNE  again
	RET

#include "go_asm.h"
#include "textflag.h"

// GS is the base of the vCPU's page, -8(FS) the running g. CX, or R11 on the
// way from a raw SYSCALL, holds the *thread.

#define SAVE_PRESERVED(t) \
	MOVQ BX, (thread_frame+frame_rbx)(t); \
	MOVQ DX, (thread_frame+frame_rdx)(t); \
	MOVQ SI, (thread_frame+frame_rsi)(t); \
	MOVQ DI, (thread_frame+frame_rdi)(t); \
	MOVQ BP, (thread_frame+frame_rbp)(t); \
	MOVQ R8, (thread_frame+frame_r8)(t); \
	MOVQ R9, (thread_frame+frame_r9)(t); \
	MOVQ R10, (thread_frame+frame_r10)(t); \
	MOVQ R12, (thread_frame+frame_r12)(t); \
	MOVQ R13, (thread_frame+frame_r13)(t); \
	MOVQ R14, (thread_frame+frame_r14)(t); \
	MOVQ R15, (thread_frame+frame_r15)(t)

#define RESTORE_PRESERVED(t) \
	MOVQ (thread_frame+frame_rbx)(t), BX; \
	MOVQ (thread_frame+frame_rdx)(t), DX; \
	MOVQ (thread_frame+frame_rsi)(t), SI; \
	MOVQ (thread_frame+frame_rdi)(t), DI; \
	MOVQ (thread_frame+frame_rbp)(t), BP; \
	MOVQ (thread_frame+frame_r8)(t), R8; \
	MOVQ (thread_frame+frame_r9)(t), R9; \
	MOVQ (thread_frame+frame_r10)(t), R10; \
	MOVQ (thread_frame+frame_r12)(t), R12; \
	MOVQ (thread_frame+frame_r13)(t), R13; \
	MOVQ (thread_frame+frame_r14)(t), R14; \
	MOVQ (thread_frame+frame_r15)(t), R15

// SAVE_STATE saves the extended state of the thread in CX (Intel SDM volume 1,
// "Managing State Using the XSAVE Feature Set"). Clobbers AX, DX and DI.
#define SAVE_STATE \
	MOVQ $const_leaveState, thread_leave(CX); \
	MOVQ thread_state(CX), DI; \
	MOVL ·stateMask(SB), AX; \
	XORL DX, DX; \
	CMPB ·hasXSAVE(SB), $0; \
	JEQ  3(PC); \
	XSAVE64 (DI); \
	JMP  2(PC); \
	FXSAVE64 (DI)

// ENTER_KERNEL saves the thread's g and switches to the kernel's g and stack.
// Clobbers AX.
#define ENTER_KERNEL(t) \
	MOVQ -8(FS), AX; \
	MOVQ AX, thread_userG(t); \
	MOVQ const_offKernelG(GS), R14; \
	MOVQ R14, -8(FS); \
	MOVQ const_offStack(GS), SP; \
	XORPS X15, X15

// RUN calls a Go function of the kernel that returns to leave. The jumps are
// indirect because the linker's stack check cannot know that the stack has
// changed.
#define RUN(fn) \
	MOVQ $·leave(SB), AX; \
	PUSHQ AX; \
	MOVQ $fn(SB), AX; \
	JMP AX

// GOTO is a jump that the same check does not follow.
#define GOTO(fn) \
	MOVQ $fn(SB), CX; \
	JMP CX

// MASK keeps events away: by a word that the host reads, or on a bare machine by
// the processor's flag.
#define MASK \
	CMPB ·isNative(SB), $0; \
	JEQ  2(PC); \
	CLI; \
	MOVL $1, const_offMask(GS)

// func gate()
// The runtime's door. System-call registers; only AX, CX and R11 change.
// On a bare machine an interrupt that has waited may come here. A traceback goes
// on from here since nothing in this function changes SP.
TEXT ·gate(SB), NOSPLIT|NOFRAME, $0-0
	MASK
	JMP  ·masked(SB)

// func masked()
// The rest of gate, with events masked.
TEXT ·masked(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ const_offThread(GS), CX
	MOVQ AX, (thread_frame+frame_rax)(CX)
	SAVE_PRESERVED(CX)
	// What a signal shall see is the state after the CALL.
	MOVQ 0(SP), R11
	MOVQ R11, (thread_frame+frame_rip)(CX)
	LEAQ 8(SP), R11
	MOVQ R11, (thread_frame+frame_rsp)(CX)
	MOVQ $const_leaveCall, thread_leave(CX)
	ENTER_KERNEL(CX)
	RUN(·systemCall)

// func exitGate()
// exit(2) of a thread whose stack may already be another's: nothing is read from
// it or written to it.
TEXT ·exitGate(SB), NOSPLIT|NOFRAME, $0-0
	MASK
	MOVQ const_offThread(GS), CX
	MOVQ AX, (thread_frame+frame_rax)(CX)
	MOVQ DI, (thread_frame+frame_rdi)(CX)
	MOVQ $const_leaveCall, thread_leave(CX)
	ENTER_KERNEL(CX)
	RUN(·systemCall)

// func rawGate()
// A SYSCALL instruction in foreign assembly: return address in RCX, flags in
// R11, and everything else, vector registers included, to be preserved. A bare
// machine's processor has disabled interrupts on the way.
TEXT ·rawGate(SB), NOSPLIT|NOFRAME, $0-0
	MOVL $1, const_offMask(GS)
	MOVQ R11, const_offScratch(GS)
	MOVQ const_offThread(GS), R11
	MOVQ AX, (thread_frame+frame_rax)(R11)
	MOVQ CX, (thread_frame+frame_rcx)(R11)
	MOVQ CX, (thread_frame+frame_rip)(R11)
	SAVE_PRESERVED(R11)
	MOVQ SP, (thread_frame+frame_rsp)(R11)
	MOVQ R11, CX
	MOVQ const_offScratch(GS), AX
	MOVQ AX, (thread_frame+frame_r11)(CX)
	MOVQ AX, (thread_frame+frame_rflags)(CX)
	SAVE_STATE
	ENTER_KERNEL(CX)
	RUN(·systemCall)

// func upcall()
// An event or exception. The host has masked events, stored RIP, RSP and
// RFLAGS in the vCPU's page and switched to the kernel stack.
TEXT ·upcall(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ CX, const_offScratch(GS)
	MOVQ const_offThread(GS), CX
	MOVQ AX, (thread_frame+frame_rax)(CX)
	MOVQ R11, (thread_frame+frame_r11)(CX)
	SAVE_PRESERVED(CX)
	MOVQ const_offScratch(GS), AX
	MOVQ AX, (thread_frame+frame_rcx)(CX)
	MOVQ const_offRIP(GS), AX
	MOVQ AX, (thread_frame+frame_rip)(CX)
	MOVQ const_offRSP(GS), AX
	MOVQ AX, (thread_frame+frame_rsp)(CX)
	MOVQ const_offRFLAGS(GS), AX
	MOVQ AX, (thread_frame+frame_rflags)(CX)
	SAVE_STATE
	ENTER_KERNEL(CX)
	RUN(·event)

// func leave()
// Goes on with the thread in the vCPU's page. Never returns.
TEXT ·leave(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ const_offThread(GS), CX
	CMPQ thread_leave(CX), $const_leaveCall
	JNE  full
	MOVQ thread_userG(CX), R11
	MOVQ R11, -8(FS)
	RESTORE_PRESERVED(CX)
	MOVQ (thread_frame+frame_rax)(CX), AX
	MOVQ (thread_frame+frame_rip)(CX), R11
	MOVQ (thread_frame+frame_rsp)(CX), CX
	SUBQ $8, CX
	MOVQ R11, 0(CX)
	MOVQ CX, SP
	GOTO(·leaveTail)

full:
	CMPQ thread_leave(CX), $const_leaveState
	JNE  registers
	MOVQ thread_state(CX), DI
	MOVL ·stateMask(SB), AX
	XORL DX, DX
	CMPB ·hasXSAVE(SB), $0
	JEQ  fx
	XRSTOR64 (DI)
	JMP  registers

fx:
	FXRSTOR64 (DI)

registers:
	// IRETQ's frame, on the empty kernel stack (Intel SDM volume 2, "IRET").
	MOVQ const_offStack(GS), SP
	PUSHQ const_offSS(GS)
	PUSHQ (thread_frame+frame_rsp)(CX)
	MOVQ (thread_frame+frame_rflags)(CX), R11
	CMPB ·isNative(SB), $0
	JEQ  2(PC)
	ORQ  $const_flagIF, R11
	PUSHQ R11
	PUSHQ const_offCS(GS)
	PUSHQ (thread_frame+frame_rip)(CX)
	MOVQ thread_userG(CX), R11
	MOVQ R11, -8(FS)
	RESTORE_PRESERVED(CX)
	MOVQ (thread_frame+frame_rax)(CX), AX
	MOVQ (thread_frame+frame_r11)(CX), R11
	MOVQ (thread_frame+frame_rcx)(CX), CX
	CMPB ·isNative(SB), $0
	JNE  native
	JMP  ·critical(SB)

native:
	IRETQ

// func restoreState(at uintptr)
TEXT ·restoreState(SB), NOSPLIT, $0-8
	MOVQ at+0(FP), DI
	MOVL $-1, AX
	MOVL $-1, DX
	CMPB ·hasXSAVE(SB), $0
	JEQ  fx
	XRSTOR64 (DI)
	RET

fx:
	FXRSTOR64 (DI)
	RET

// func leaveTail()
// The end of leave for a thread that came by CALL, on its own stack. An upcall
// that interrupts it is told the state after the RET.
TEXT ·leaveTail(SB), NOSPLIT|NOFRAME, $0-0
	CMPB ·isNative(SB), $0
	JNE  native
	MOVL $0, const_offMask(GS)
	CMPL const_offPending(GS), $0
	JNE  again
	RET

native:
	// Interrupts wait until after the RET (Intel SDM volume 2, "STI").
	STI
	RET

again:
	MOVL $1, const_offMask(GS)
	MOVQ const_offThread(GS), CX
	MOVQ AX, (thread_frame+frame_rax)(CX)
	SAVE_PRESERVED(CX)
	MOVQ 0(SP), R11
	MOVQ R11, (thread_frame+frame_rip)(CX)
	LEAQ 8(SP), R11
	MOVQ R11, (thread_frame+frame_rsp)(CX)
	ENTER_KERNEL(CX)
	RUN(·events)

TEXT ·leaveTailEnd(SB), NOSPLIT|NOFRAME, $0-0
	RET

// func critical()
// The return to interrupted code. The host begins it anew at restart when an
// event comes in here: the thread's frame is still whole.
TEXT ·critical(SB), NOSPLIT|NOFRAME, $0-0
	MOVL $0, const_offMask(GS)
	CMPL const_offPending(GS), $0
	JNE  again
	IRETQ

again:
	MOVL $1, const_offMask(GS)
	JMP  ·restart(SB)

TEXT ·criticalEnd(SB), NOSPLIT|NOFRAME, $0-0
	RET

// func restart()
TEXT ·restart(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ const_offKernelG(GS), R14
	MOVQ R14, -8(FS)
	MOVQ const_offStack(GS), SP
	XORPS X15, X15
	RUN(·events)

// func nullSegments()
// Loading a selector may change the base, which is not to change here.
TEXT ·nullSegments(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc0 // rdfsbase rax
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xca // rdgsbase rdx
	XORL CX, CX
	BYTE $0x8e; BYTE $0xd9                                     // mov ds, ecx
	BYTE $0x8e; BYTE $0xc1                                     // mov es, ecx
	BYTE $0x8e; BYTE $0xe1                                     // mov fs, ecx
	BYTE $0x8e; BYTE $0xe9                                     // mov gs, ecx
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd0 // wrfsbase rax
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xda // wrgsbase rdx
	RET

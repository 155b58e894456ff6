#include "go_asm.h"
#include "textflag.h"

// func rt0()
// The image's entry point. RDI is the start-info page, RSP the first stack, GS
// the vCPU's page, and events are masked.
TEXT ·rt0(SB), NOSPLIT|NOFRAME, $0-0
	CMPL const_offMode(DI), $const_modeTrap
	JNE  kernel

	// A bare machine's loader may have left variables of the kernel's to it: until
	// they are mapped there is only the first stack, with a g at its lower end.
	LEAQ -const_bootStackSize(SP), R14
	LEAQ (kernelG__size+16)(R14), AX
	MOVQ AX, kernelG_stackLo(R14)
	MOVQ SP, kernelG_stackHi(R14)
	LEAQ const_stackGuard(AX), CX
	MOVQ CX, kernelG_stackGuard0(R14)
	MOVQ CX, kernelG_stackGuard1(R14)
	CALL ·setFS(SB)
	MOVQ R14, -8(FS)
	XORPS X15, X15
	MOVQ $·mapImage(SB), AX
	CALL AX
	MOVB $1, ·isNative(SB)

kernel:
	// A g to run on: the kernel's. -8(FS) must be a word before any Go code.
	LEAQ ·bootTLS+8(SB), AX
	CALL ·setFS(SB)
	LEAQ ·cpu0(SB), R14
	MOVQ R14, -8(FS)
	MOVQ R14, const_offKernelG(GS)
	LEAQ (cpu_stack+const_kernelStack)(R14), AX
	ANDQ $~15, AX
	MOVQ AX, const_offStack(GS)
	LEAQ cpu_stack(R14), CX
	MOVQ CX, (cpu_g+kernelG_stackLo)(R14)
	MOVQ AX, (cpu_g+kernelG_stackHi)(R14)
	ADDQ $const_stackGuard, CX
	MOVQ CX, (cpu_g+kernelG_stackGuard0)(R14)
	MOVQ CX, (cpu_g+kernelG_stackGuard1)(R14)
	CMPB ·isNative(SB), $0
	JEQ  pv
	MOVQ $const_bootCS, const_offCS(GS)
	MOVQ $const_bootSS, const_offSS(GS)
	JMP  stack

pv:
	XORL AX, AX
	MOVW CS, AX
	MOVQ AX, const_offCS(GS)
	XORL AX, AX
	MOVW SS, AX
	MOVQ AX, const_offSS(GS)

stack:
	MOVQ const_offStack(GS), SP
	XORPS X15, X15
	MOVQ $·leave(SB), AX
	PUSHQ AX
	MOVQ $·boot(SB), AX
	JMP  AX

// func offerClock()
// Tells the runtime of vdsoClock.
TEXT ·offerClock(SB), NOSPLIT, $0-0
	MOVQ $·vdsoClock(SB), AX
	MOVQ AX, runtime·vdsoClockgettimeSym(SB)
	RET

// func findCode(c *codeAddrs)
TEXT ·findCode(SB), NOSPLIT, $0-8
	MOVQ c+0(FP), AX
	MOVQ $_rt0_amd64(SB), CX // where the runtime begins, as on Linux
	MOVQ CX, codeAddrs_entry(AX)
	MOVQ $·upcall(SB), CX
	MOVQ CX, codeAddrs_upcall(AX)
	MOVQ $·rawGate(SB), CX
	MOVQ CX, codeAddrs_rawGate(AX)
	MOVQ $·restart(SB), CX
	MOVQ CX, codeAddrs_restart(AX)
	MOVQ $·critical(SB), CX
	MOVQ CX, codeAddrs_critical(AX)
	MOVQ $·criticalEnd(SB), CX
	MOVQ CX, codeAddrs_criticalEnd(AX)
	MOVQ $·leaveTail(SB), CX
	MOVQ CX, codeAddrs_leaveTail(AX)
	MOVQ $·leaveTailEnd(SB), CX
	MOVQ CX, codeAddrs_leaveTailEnd(AX)
	MOVQ $runtime·text(SB), CX
	MOVQ CX, codeAddrs_text(AX)
	MOVQ $runtime·noptrdata(SB), CX
	MOVQ CX, codeAddrs_data(AX)
	RET

// setFS makes AX the FS base (Intel SDM volume 2, "WRFSBASE").
TEXT ·setFS(SB), NOSPLIT|NOFRAME, $0-0
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd0 // wrfsbase rax
	RET

// func moveTLS(base uintptr)
// Makes base the FS base and takes the running g along.
TEXT ·moveTLS(SB), NOSPLIT, $0-8
	MOVQ -8(FS), CX
	MOVQ base+0(FP), AX
	CALL ·setFS(SB)
	MOVQ CX, -8(FS)
	RET

// func hostCall(nr hypercall.Call, a1, a2, a3, a4, a5, a6 uintptr) int64
TEXT ·hostCall(SB), NOSPLIT, $0-64
	MOVQ nr+0(FP), AX
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	MOVQ a3+24(FP), DX
	MOVQ a4+32(FP), R10
	MOVQ a5+40(FP), R8
	MOVQ a6+48(FP), R9
	MOVQ $const_hypercallPage, CX
	CALL CX
	MOVQ AX, ret+56(FP)
	RET

// func Gate(trap, a1, a2, a3, a4, a5, a6 uintptr) int64
TEXT ·Gate(SB), NOSPLIT, $0-64
	MOVQ trap+0(FP), AX
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	MOVQ a3+24(FP), DX
	MOVQ a4+32(FP), R10
	MOVQ a5+40(FP), R8
	MOVQ a6+48(FP), R9
	CALL ·gate(SB)
	MOVQ AX, ret+56(FP)
	RET

// func StackBounds() (lo, hi uintptr)
TEXT ·StackBounds(SB), NOSPLIT, $0-16
	MOVQ -8(FS), AX
	MOVQ 0(AX), CX
	MOVQ 8(AX), DX
	MOVQ CX, lo+0(FP)
	MOVQ DX, hi+8(FP)
	RET

// func running() *thread
TEXT ·running(SB), NOSPLIT, $0-8
	MOVQ const_offThread(GS), AX
	MOVQ AX, ret+0(FP)
	RET

// func setRunning(t *thread)
TEXT ·setRunning(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), AX
	MOVQ AX, const_offThread(GS)
	RET

// func cpuid(leaf, index uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL index+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET

// func xgetbv() uint32
TEXT ·xgetbv(SB), NOSPLIT, $0-4
	XORL CX, CX
	XGETBV
	MOVL AX, ret+0(FP)
	RET

// func rdtsc() uint64
TEXT ·rdtsc(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func pause()
TEXT ·pause(SB), NOSPLIT, $0-0
	PAUSE
	RET

// func vdsoClock()
// clock_gettime(2) for the runtime, by the C calling convention: clock in DI,
// timespec in SI. No exit and no gate: the TSC and the clock page.
TEXT ·vdsoClock(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $const_clockAddr, R8

again:
	MOVL const_offSeq(R8), R9
	TESTL $1, R9
	JNE  again

	// The fence keeps two readings in order (Intel SDM volume 2, "RDTSC").
	// Wall-clock time promises none.
	TESTL DI, DI
	JEQ  read
	LFENCE

read:
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	SUBQ const_offTSCBase(R8), AX
	MULQ const_offMult(R8)
	SHRQ $32, DX, AX
	ADDQ const_offNSBase(R8), AX
	MOVQ const_offWallOffset(R8), R10
	CMPL const_offSeq(R8), R9
	JNE  again

	// CLOCK_REALTIME (0) and CLOCK_REALTIME_COARSE (5) count from 1970.
	CMPL DI, $0
	JEQ  wall
	CMPL DI, $5
	JNE  split

wall:
	ADDQ R10, AX

split:
	// Seconds are ns/10^9: ns>>9 times 2^75/(10^9>>9), rounded up, >>75. A
	// DIVQ would take half of the whole call.
	MOVQ AX, R9
	SHRQ $9, AX
	MOVQ $0x44b82fa09b5a53, CX
	MULQ CX
	SHRQ $11, DX
	MOVQ DX, 0(SI)
	IMULQ $1000000000, DX
	SUBQ DX, R9
	MOVQ R9, 8(SI)
	XORL AX, AX
	RET

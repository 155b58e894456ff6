#include "go_asm.h"
#include "textflag.h"

// The instructions that a bare machine has and Go has not, and what happens
// when it interrupts (Intel SDM volume 3A, "Interrupt and Exception Handling").

// func in8(port uint16) uint8
TEXT ·in8(SB), NOSPLIT, $0-9
	MOVWLZX port+0(FP), DX
	INB
	MOVB AX, ret+8(FP)
	RET

// func in32(port uint16) uint32
TEXT ·in32(SB), NOSPLIT, $0-12
	MOVWLZX port+0(FP), DX
	INL
	MOVL AX, ret+8(FP)
	RET

// func out8(port uint16, v uint8)
TEXT ·out8(SB), NOSPLIT, $0-3
	MOVWLZX port+0(FP), DX
	MOVBLZX v+2(FP), AX
	OUTB
	RET

// func out32(port uint16, v uint32)
TEXT ·out32(SB), NOSPLIT, $0-8
	MOVWLZX port+0(FP), DX
	MOVL v+4(FP), AX
	OUTL
	RET

// func inBytes(port uint16, to, n uintptr)
TEXT ·inBytes(SB), NOSPLIT, $0-24
	MOVWLZX port+0(FP), DX
	MOVQ to+8(FP), DI
	MOVQ n+16(FP), CX
	REP
	INSB
	RET

// func outBytes(port uint16, from, n uintptr)
TEXT ·outBytes(SB), NOSPLIT, $0-24
	MOVWLZX port+0(FP), DX
	MOVQ from+8(FP), SI
	MOVQ n+16(FP), CX
	REP
	OUTSB
	RET

// func inWords(port uint16, to, n uintptr)
TEXT ·inWords(SB), NOSPLIT, $0-24
	MOVWLZX port+0(FP), DX
	MOVQ to+8(FP), DI
	MOVQ n+16(FP), CX
	REP
	INSW
	RET

// func outWords(port uint16, from, n uintptr)
TEXT ·outWords(SB), NOSPLIT, $0-24
	MOVWLZX port+0(FP), DX
	MOVQ from+8(FP), SI
	MOVQ n+16(FP), CX
	REP
	OUTSW
	RET

// func writeMSR(index uint32, v uint64)
TEXT ·writeMSR(SB), NOSPLIT, $0-16
	MOVL index+0(FP), CX
	MOVQ v+8(FP), AX
	MOVQ AX, DX
	SHRQ $32, DX
	WRMSR
	RET

// func readCR3() uint64
TEXT ·readCR3(SB), NOSPLIT, $0-8
	MOVQ CR3, AX
	MOVQ AX, ret+0(FP)
	RET

// func writeCR3(v uint64)
TEXT ·writeCR3(SB), NOSPLIT, $0-8
	MOVQ v+0(FP), AX
	MOVQ AX, CR3
	RET

// func setCR4(bits uint64)
TEXT ·setCR4(SB), NOSPLIT, $0-8
	MOVQ CR4, AX
	ORQ  bits+0(FP), AX
	MOVQ AX, CR4
	RET

// func invalidatePage(addr uintptr)
TEXT ·invalidatePage(SB), NOSPLIT, $0-8
	MOVQ addr+0(FP), AX
	INVLPG (AX)
	RET

// func loadTables(gdt, idt uintptr, tr uint16)
TEXT ·loadTables(SB), NOSPLIT, $0-18
	MOVQ gdt+0(FP), AX
	LGDT (AX)
	MOVQ idt+8(FP), AX
	LIDT (AX)
	MOVWLZX tr+16(FP), AX
	LTR  AX
	RET

// func random() (v uint64, ok bool)
TEXT ·random(SB), NOSPLIT, $0-9
	RDRANDQ AX
	SETCS ok+8(FP)
	MOVQ AX, v+0(FP)
	RET

// func zeroPage(at uintptr)
TEXT ·zeroPage(SB), NOSPLIT, $0-8
	MOVQ at+0(FP), DI
	XORL AX, AX
	MOVL $512, CX
	REP
	STOSQ
	RET

// func halt() uint64
// Waits for an interrupt and returns its vector, with interrupts disabled again:
// the trap comes back to halted instead of to the loop.
TEXT ·halt(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ $1, const_offIdle(GS)
	STI

again:
	HLT
	JMP again

TEXT ·halted(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ $0, const_offIdle(GS)
	MOVQ AX, ret+0(FP)
	RET

// func findStubs() uintptr
TEXT ·findStubs(SB), NOSPLIT, $0-8
	MOVQ $·stubs(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// A stub is 8 bytes long, so that where its CALL returns to tells the vector.
#define STUB \
	CALL ·trap(SB); \
	BYTE $0x90; BYTE $0x90; BYTE $0x90

#define STUBS8 STUB; STUB; STUB; STUB; STUB; STUB; STUB; STUB

// func stubs()
// What the interrupt descriptors lead to: vectors 0 to 48, and the spurious one.
TEXT ·stubs(SB), NOSPLIT|NOFRAME, $0-0
	STUBS8
	STUBS8
	STUBS8
	STUBS8
	STUBS8
	STUBS8
	STUB
	STUB

// A trap's words on the trap stack: the vector, the error code, and what the
// processor pushed.
#define VECTOR 0
#define ERROR 8
#define RIP 16
#define RFLAGS 32
#define RSP 40

// func trap()
// An interrupt or exception, on the trap stack, with interrupts disabled.
TEXT ·trap(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, const_offTrapAX(GS)
	MOVQ CX, const_offTrapCX(GS)
	CLD
	POPQ AX
	MOVQ $·stubs+5(SB), CX
	SUBQ CX, AX
	SHRQ $3, AX
	MOVQ $const_withError, CX
	BTQ  AX, CX
	JCS  coded
	PUSHQ $0

coded:
	PUSHQ AX
	CMPB ·lastTrap+trapState_busy(SB), $0
	JNE  fatal
	CMPQ const_offIdle(GS), $0
	JNE  idle
	CMPQ AX, $const_vectorPageFault
	JEQ  touched

raise:
	// What happens with interrupts disabled happens in the kernel.
	TESTQ $const_flagIF, RFLAGS(SP)
	JEQ  fatal
	MOVQ VECTOR(SP), AX
	MOVQ $const_fatalVectors, CX
	BTQ  AX, CX
	JCS  fatal
	MOVQ AX, const_offVector(GS)
	MOVQ ERROR(SP), AX
	MOVQ AX, const_offError(GS)
	MOVQ RIP(SP), AX
	MOVQ AX, const_offRIP(GS)
	MOVQ RFLAGS(SP), AX
	MOVQ AX, const_offRFLAGS(GS)
	MOVQ RSP(SP), AX
	MOVQ AX, const_offRSP(GS)
	MOVL $1, const_offMask(GS)
	MOVQ const_offTrapAX(GS), AX
	MOVQ const_offTrapCX(GS), CX
	MOVQ const_offStack(GS), SP
	JMP  ·upcall(SB)

idle:
	CMPQ AX, $32
	JLT  fatal
	MOVQ RSP(SP), SP
	JMP  ·halted(SB)

touched:
	// Memory that comes at first touch comes here, for a thread and for the
	// kernel: everything that they have in registers stays as it is.
	MOVB $1, ·lastTrap+trapState_busy(SB)
	MOVQ CR2, AX
	MOVQ AX, ·lastTrap+trapState_addr(SB)
	MOVQ ERROR(SP), AX
	MOVQ AX, ·lastTrap+trapState_code(SB)
	PUSHQ const_offTrapAX(GS)
	PUSHQ const_offTrapCX(GS)
	PUSHQ DX
	PUSHQ BX
	PUSHQ BP
	PUSHQ SI
	PUSHQ DI
	PUSHQ R8
	PUSHQ R9
	PUSHQ R10
	PUSHQ R11
	PUSHQ R12
	PUSHQ R13
	PUSHQ R14
	PUSHQ R15
	PUSHQ -8(FS)
	MOVQ ·lastTrap+trapState_state(SB), DI
	MOVL ·stateMask(SB), AX
	XORL DX, DX
	CMPB ·hasXSAVE(SB), $0
	JEQ  3(PC)
	XSAVE64 (DI)
	JMP  2(PC)
	FXSAVE64 (DI)
	MOVQ const_offKernelG(GS), R14
	MOVQ R14, -8(FS)
	XORPS X15, X15
	// Indirect, as in RUN.
	MOVQ $·pageTouched(SB), AX
	CALL AX
	MOVQ ·lastTrap+trapState_state(SB), DI
	MOVL ·stateMask(SB), AX
	XORL DX, DX
	CMPB ·hasXSAVE(SB), $0
	JEQ  3(PC)
	XRSTOR64 (DI)
	JMP  2(PC)
	FXRSTOR64 (DI)
	POPQ -8(FS)
	POPQ R15
	POPQ R14
	POPQ R13
	POPQ R12
	POPQ R11
	POPQ R10
	POPQ R9
	POPQ R8
	POPQ DI
	POPQ SI
	POPQ BP
	POPQ BX
	POPQ DX
	POPQ CX
	POPQ AX
	MOVB $0, ·lastTrap+trapState_busy(SB)
	CMPB ·lastTrap+trapState_done(SB), $0
	JEQ  refused
	ADDQ $16, SP
	IRETQ

refused:
	MOVQ AX, const_offTrapAX(GS)
	MOVQ CX, const_offTrapCX(GS)
	MOVQ ·lastTrap+trapState_addr(SB), AX
	MOVQ AX, const_offCR2(GS)
	JMP  raise

fatal:
	MOVQ SP, ·lastTrap+trapState_frame(SB)
	MOVQ const_offKernelG(GS), R14
	MOVQ R14, -8(FS)
	XORPS X15, X15
	MOVQ $·trapFatal(SB), AX
	CALL AX
	INT  $3

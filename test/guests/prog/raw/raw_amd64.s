#include "textflag.h"

// func Call(nr, a1, a2, a3, a4, a5, a6 uintptr) int64
TEXT ·Call(SB), NOSPLIT, $0-64
	MOVQ nr+0(FP), AX
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	MOVQ a3+24(FP), DX
	MOVQ a4+32(FP), R10
	MOVQ a5+40(FP), R8
	MOVQ a6+48(FP), R9
	MOVQ $0x7ffd00000000, CX
	CALL CX
	MOVQ AX, ret+56(FP)
	RET

// func Jump(addr uintptr)
TEXT ·Jump(SB), NOSPLIT, $0-8
	MOVQ addr+0(FP), AX
	JMP  AX

// func SpinOn(rsp uintptr)
TEXT ·SpinOn(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ 8(SP), SP

loop:
	JMP loop

// func FaultOn(rsp uintptr)
TEXT ·FaultOn(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ 8(SP), SP
	BYTE $0x0f; BYTE $0x0b
	RET

// func Flags(set uintptr)
TEXT ·Flags(SB), NOSPLIT, $16-8
	MOVQ set+0(FP), AX
	PUSHFQ
	ORQ  AX, 0(SP)
	POPFQ
	MOVQ 1(SP), AX
	NOP
	RET

// func SpinWith(set uintptr)
TEXT ·SpinWith(SB), NOSPLIT, $16-8
	MOVQ set+0(FP), AX
	PUSHFQ
	ORQ  AX, 0(SP)
	POPFQ

loop:
	JMP loop

// func Syscall(nr, a1, a2, a3 uintptr) uintptr
TEXT ·Syscall(SB), NOSPLIT, $0-40
	MOVQ nr+0(FP), AX
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	MOVQ a3+24(FP), DX
	SYSCALL
	MOVQ AX, ret+32(FP)
	RET

// func INT3()
TEXT ·INT3(SB), NOSPLIT, $0-0
	BYTE $0xcc
	RET

// func HLT()
TEXT ·HLT(SB), NOSPLIT, $0-0
	HLT
	RET

// func CLI()
TEXT ·CLI(SB), NOSPLIT, $0-0
	CLI
	RET

// func RDMSR()
TEXT ·RDMSR(SB), NOSPLIT, $0-0
	MOVL $0xc0000080, CX
	RDMSR
	RET

// func LoadCR3()
TEXT ·LoadCR3(SB), NOSPLIT, $0-0
	XORL AX, AX
	MOVQ AX, CR3
	RET

// func OUT()
TEXT ·OUT(SB), NOSPLIT, $0-0
	MOVL $0x3f8, DX
	OUTB
	RET

// func IN()
TEXT ·IN(SB), NOSPLIT, $0-0
	MOVL $0x60, DX
	INB
	RET

// func VMMCALL()
TEXT ·VMMCALL(SB), NOSPLIT, $0-0
	BYTE $0x0f; BYTE $0x01; BYTE $0xd9
	RET

#include "textflag.h"

// func call(number, a, b, c uintptr) uintptr
TEXT ·call(SB), NOSPLIT, $0-40
	MOVQ number+0(FP), AX
	MOVQ a+8(FP), DI
	MOVQ b+16(FP), SI
	MOVQ c+24(FP), DX
	SYSCALL
	MOVQ AX, ret+32(FP)
	RET

// func write1(p unsafe.Pointer, n uintptr) (changed uint64)
//
// Linux changes RAX, RCX and R11 and nothing else.
TEXT ·write1(SB), NOSPLIT, $0-24
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), DX
	MOVQ $1, AX
	MOVQ $1, DI
	MOVQ $0x1234567, BX
	MOVQ $0x2345678, R8
	MOVQ $0x3456789, R9
	MOVQ $0x456789a, R10
	MOVQ $0x56789ab, R12
	MOVQ $0x6789abc, R13
	MOVQ BX, X0
	MOVQ R8, X7
	MOVQ R9, X14
	MOVQ SP, R15
	STD
	CLD
	SYSCALL
	XORQ SP, R15
	XORQ $0x1234567, BX
	XORQ $0x2345678, R8
	XORQ $0x3456789, R9
	XORQ $0x456789a, R10
	XORQ $0x56789ab, R12
	XORQ $0x6789abc, R13
	XORQ $1, DI
	ORQ  BX, R15
	ORQ  R8, R15
	ORQ  R9, R15
	ORQ  R10, R15
	ORQ  R12, R15
	ORQ  R13, R15
	ORQ  DI, R15
	MOVQ X0, BX
	XORQ $0x1234567, BX
	ORQ  BX, R15
	MOVQ X7, BX
	XORQ $0x2345678, BX
	ORQ  BX, R15
	MOVQ X14, BX
	XORQ $0x3456789, BX
	ORQ  BX, R15
	MOVQ R15, changed+16(FP)
	RET

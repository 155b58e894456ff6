#include "textflag.h"

// The return address travels in X14: clone's child has none on its stack.
TEXT ·gate(SB),NOSPLIT|NOFRAME,$0
	MOVQ	0(SP), X14
	ADDQ	$8, SP
	SYSCALL
	MOVQ	X14, CX
	JMP	CX

TEXT ·rt0(SB),NOSPLIT|NOFRAME,$0
	JMP	_rt0_amd64(SB)

// exitGate ends a thread; there is no stack any more, and no way back.
TEXT ·exitGate(SB),NOSPLIT|NOFRAME,$0
	SYSCALL
	INT	$3

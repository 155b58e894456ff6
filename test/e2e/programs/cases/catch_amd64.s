#include "textflag.h"

// catch is a handler of the kernel's: signal in DI, siginfo_t in SI.
TEXT ·catch(SB), NOSPLIT|NOFRAME, $0-0
	MOVLQSX 8(SI), AX
	MOVQ AX, ·caughtCode(SB)
	MOVLQSX 16(SI), AX
	MOVQ AX, ·caughtFrom(SB)
	MOVQ 24(SI), AX
	MOVQ AX, ·caughtValue(SB)
	LOCK
	INCQ ·caughtCount(SB)
	RET

// restorer is where the handler returns to: rt_sigreturn.
TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0-0
	MOVL $15, AX
	SYSCALL
	INT  $3

// func handlers() (catch, restorer uintptr)
TEXT ·handlers(SB), NOSPLIT, $0-16
	MOVQ $·catch(SB), AX
	MOVQ AX, catch+0(FP)
	MOVQ $·restorer(SB), AX
	MOVQ AX, restorer+8(FP)
	RET

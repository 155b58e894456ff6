#include "textflag.h"

// func deaf()
TEXT ·deaf(SB), NOSPLIT, $0-0
	MOVL $1, 0(GS)
	JMP  0(PC)

// func crash()
TEXT ·crash(SB), NOSPLIT, $0-0
	MOVL $1, 0(GS)
	XORL AX, AX
	MOVL AX, (AX)
	RET

// func halt()
TEXT ·halt(SB), NOSPLIT, $0-0
	CLI
	HLT
	RET

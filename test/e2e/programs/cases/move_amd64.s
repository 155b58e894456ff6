#include "textflag.h"

// func moveBytes(to, from []byte)
TEXT ·moveBytes(SB), NOSPLIT, $0-48
	MOVQ to_base+0(FP), DI
	MOVQ to_len+8(FP), CX
	MOVQ from_base+24(FP), SI
	CLD
	REP; MOVSB
	RET

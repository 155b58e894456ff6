#include "textflag.h"

// func segments() (before uint64)
// DS, ES, FS and GS as they were, 16 bits each; then they are what SS is. The base of FS
// stays.
TEXT ·segments(SB), NOSPLIT, $0-8
	XORL AX, AX
	BYTE $0x8c; BYTE $0xe8                                     // mov eax, gs
	SHLQ $16, AX
	XORL CX, CX
	BYTE $0x8c; BYTE $0xe1                                     // mov ecx, fs
	ORQ  CX, AX
	SHLQ $16, AX
	BYTE $0x8c; BYTE $0xc1                                     // mov ecx, es
	ORQ  CX, AX
	SHLQ $16, AX
	BYTE $0x8c; BYTE $0xd9                                     // mov ecx, ds
	ORQ  CX, AX
	MOVQ AX, before+0(FP)
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc0 // rdfsbase rax
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xca // rdgsbase rdx
	BYTE $0x8c; BYTE $0xd1                                     // mov ecx, ss
	BYTE $0x8e; BYTE $0xd9                                     // mov ds, ecx
	BYTE $0x8e; BYTE $0xc1                                     // mov es, ecx
	BYTE $0x8e; BYTE $0xe1                                     // mov fs, ecx
	BYTE $0x8e; BYTE $0xe9                                     // mov gs, ecx
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd0 // wrfsbase rax
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xda // wrgsbase rdx
	RET

package build

import (
	"debug/gosym"

	"golang.org/x/arch/x86/x86asm"
)

// isSyscall reports whether an instruction of f begins at addr, where the
// bytes of a SYSCALL are; otherwise they are part of another one. Decoding
// starts with the function, the only place known to begin an instruction.
func (p *program) isSyscall(f *gosym.Func, addr uint64) bool {
	at := f.Entry
	for at < addr {
		code := p.bytes(at)
		if len(code) == 0 {
			return false
		}
		at += uint64(length(code[:min(len(code), maxInstruction)]))
	}
	return at == addr
}

// maxInstruction is the length of the longest instruction (Intel SDM volume
// 2, "Instruction Format").
const maxInstruction = 15

// length is the length of the instruction that code begins with; 1 for what
// cannot be decoded.
func length(code []byte) int {
	if n := vexLength(code); n > 0 {
		return n
	}
	inst, err := x86asm.Decode(code, 64)
	if err != nil || inst.Len == 0 {
		return 1
	}
	return inst.Len
}

// vexLength is the length of an instruction with a VEX or EVEX prefix, which
// x86asm does not decode; 0 for others. (Intel SDM volume 2, "Instruction
// Format": prefix, opcode, ModRM, and an immediate byte in the maps that have
// one.)
func vexLength(code []byte) int {
	var prefix, opMap int
	switch {
	case len(code) < 6:
		return 0
	case code[0] == 0xc5:
		prefix, opMap = 2, 1
	case code[0] == 0xc4:
		prefix, opMap = 3, int(code[1]&0x1f)
	case code[0] == 0x62:
		prefix, opMap = 4, int(code[1]&0x07)
	default:
		return 0
	}
	op := code[prefix]
	n := prefix + 1
	if opMap == 1 && op == 0x77 { // VZEROUPPER, VZEROALL
		return n
	}
	n += modRMLength(code[n:])
	if opMap == 3 || opMap == 1 && vexImmediate(op) {
		n++
	}
	return n
}

// vexImmediate reports whether an opcode of map 0F takes an immediate byte.
func vexImmediate(op byte) bool {
	return op >= 0x70 && op <= 0x73 || op == 0xc2 || op >= 0xc4 && op <= 0xc6
}

// modRMLength is the length of a ModRM byte with its SIB and displacement
// (Intel SDM volume 2, "ModR/M and SIB Bytes").
func modRMLength(code []byte) int {
	if len(code) < 2 {
		return 1
	}
	mod, rm := code[0]>>6, code[0]&7
	n := 1
	if mod == 3 {
		return n
	}
	if rm == 4 {
		n++
		if mod == 0 && code[1]&7 == 5 {
			return n + 4
		}
	}
	switch {
	case mod == 1:
		n++
	case mod == 2 || mod == 0 && rm == 5:
		n += 4
	}
	return n
}

package emulate

import "bytes"

// gap is an instruction that x86asm does not know and that is privileged, or
// else of interest. Those that are refused need no operands and no length
// beyond their first bytes, since nothing comes after them.
type gap struct {
	code   []byte
	rep    byte // F2 or F3 if that belongs to the opcode, anyRep if it does not matter
	data   bool // 66 belongs to the opcode
	modrm  byte // bits 5 to 3 of the byte after code, where that is memory; notModRM else
	length int
	operation
}

const (
	anyRep   = 1
	notModRM = 8
)

// Opcodes: Intel SDM volume 2D, "Opcode Map", and AMD64 APM volume 3,
// "Opcode and Operand Encodings".
var gaps = []gap{
	{[]byte{0x0f, 0x01, 0xca}, 0, false, notModRM, 3, operation{"trap.CLAC", (*step).clac, everyone}},
	{[]byte{0x0f, 0x01, 0xcb}, 0, false, notModRM, 3, operation{"trap.STAC", (*step).stac, everyone}},
	{[]byte{0x0f, 0x01, 0xc1}, anyRep, false, notModRM, 3, operation{"trap.VMCALL", (*step).none, everyone}},
	{[]byte{0x0f, 0x01, 0xd9}, anyRep, false, notModRM, 3, operation{"trap.VMMCALL", (*step).none, everyone}},
	{[]byte{0x0f, 0x01, 0xc5}, 0, false, notModRM, 3, operation{"trap.PCONFIG", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0x01, 0xc6}, anyRep, false, notModRM, 3, operation{"trap.WRMSRNS", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0x01, 0xca}, 0xf2, false, notModRM, 3, operation{"trap.ERETS", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0x01, 0xca}, 0xf3, false, notModRM, 3, operation{"trap.ERETU", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0x01, 0xcf}, 0, false, notModRM, 3, operation{"trap.ENCLS", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0x01, 0xfe}, 0, false, notModRM, 3, operation{"trap.INVLPGB", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0x01, 0xff}, 0, false, notModRM, 3, operation{"trap.TLBSYNC", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0x38, 0x82}, 0, true, notModRM, 4, operation{"trap.INVPCID", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0xc7}, 0, false, 3, 3, operation{"trap.XRSTORS", (*step).unsupported, kernel}},
	{[]byte{0x0f, 0xc7}, 0, false, 5, 3, operation{"trap.XSAVES", (*step).unsupported, kernel}},
}

func gapAt(p prefixes, rest []byte) (g gap, ok bool) {
	if rest[0] != 0x0f {
		return gap{}, false
	}
	for _, g := range gaps {
		if g.matches(p, rest) {
			return g, true
		}
	}
	return gap{}, false
}

func (g *gap) matches(p prefixes, rest []byte) bool {
	if !bytes.HasPrefix(rest, g.code) || g.rep != anyRep && (g.rep != p.rep || g.data != p.data) {
		return false
	}
	if g.modrm == notModRM {
		return true
	}
	at := len(g.code)
	return len(rest) > at && rest[at]>>6 != 3 && rest[at]>>3&7 == g.modrm
}

// none is for instructions that do not exist on this processor.
func (s *step) none() *Exception { return undefined() }

// unsupported is for privileged instructions that are not emulated. Where the
// real processor does not have them either, the guest gets what it raised.
func (s *step) unsupported() *Exception {
	if s.fault.Vector == vectorUD {
		return s.original()
	}
	return s.refuse("this instruction is not supported")
}

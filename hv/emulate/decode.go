package emulate

import (
	"golang.org/x/arch/x86/x86asm"
)

const maxLength = 15 // bytes of an instruction

// instruction is one that has been decoded.
type instruction struct {
	x86asm.Inst
	length int       // bytes, all prefixes included
	what   operation // the zero operation: none of ours
	lock   bool
	rep    bool // F2 or F3
	plain  bool // neither F2 nor F3 nor 66
}

// prefixes are what stands before the opcode.
type prefixes struct {
	length            int
	lock, data, addr  bool
	rep, segment, rex byte // the last one that counts, 0 for none
}

// scan reads the prefixes. In 64-bit mode the overrides of ES, CS, SS and DS
// are null, of several in a group the last counts, and REX counts only right
// before the opcode (Intel SDM volume 2A, "Instruction Prefixes" and "REX
// Prefixes").
func scan(code []byte) (p prefixes) {
	for _, b := range code {
		rex := byte(0)
		switch {
		case b == 0xf0:
			p.lock = true
		case b == 0x66:
			p.data = true
		case b == 0x67:
			p.addr = true
		case b == 0xf2, b == 0xf3:
			p.rep = b
		case b == 0x64, b == 0x65:
			p.segment = b
		case b == 0x26, b == 0x2e, b == 0x36, b == 0x3e:
		case b&0xf0 == 0x40:
			rex = b
		default:
			return p
		}
		p.rex = rex
		p.length++
	}
	return p
}

// normal are the prefixes that count, in the order that the decoder expects.
// LOCK is left out: no instruction of ours takes it.
func (p prefixes) normal() (list []byte) {
	for _, b := range []struct {
		code byte
		set  bool
	}{{p.segment, p.segment != 0}, {0x66, p.data}, {0x67, p.addr}, {p.rep, p.rep != 0}, {p.rex, p.rex != 0}} {
		if b.set {
			list = append(list, b.code)
		}
	}
	return list
}

// decode decodes the instruction at the beginning of code. Not ok: it is none,
// it is one that x86asm does not know, or there are not enough bytes.
func decode(code []byte) (in instruction, ok bool) {
	code = code[:min(len(code), maxLength)]
	p := scan(code)
	rest := code[p.length:]
	if len(rest) == 0 {
		return in, false
	}
	in.lock, in.rep, in.plain = p.lock, p.rep != 0, p.rep == 0 && !p.data
	if g, found := gapAt(p, rest); found {
		in.what, in.length = g.operation, p.length+g.length
		return in, true
	}
	if rest[0] == 0xc4 || rest[0] == 0xc5 || rest[0] == 0x62 { // VEX, EVEX: none of ours
		return in, false
	}
	normal := p.normal()
	text := append(normal, rest...)
	if at := len(normal) + 2; rest[0] == 0x0f && len(rest) > 2 && rest[1]&^3 == 0x20 {
		text[at] |= 0xc0 // moves of control and debug registers have no memory operand, whatever mod says
	}
	inst, err := x86asm.Decode(text, 64)
	if err != nil || inst.Op == 0 {
		return in, false
	}
	in.Inst, in.length = inst, inst.Len-len(normal)+p.length
	in.what = choose(in.Inst)
	return in, in.length <= maxLength
}

// Emulates reports whether code begins with an instruction that Step emulates.
func Emulates(code []byte) bool {
	in, ok := decode(code)
	return ok && in.what.do != nil
}

// text shows the instruction as the manuals of the processor do.
func (in *instruction) text() string {
	if in.Op == 0 {
		return in.what.name[len("trap."):]
	}
	return x86asm.IntelSyntax(in.Inst, 0, nil)
}

package sensitive

// maxLength is the length of the longest instruction, in bytes (Intel SDM
// volume 2, "Instruction Format").
const maxLength = 15

// instruction is what of an instruction tells its length and its class.
type instruction struct {
	opMap  opMap
	op     byte
	modRM  byte // 0 without one
	length int  // bytes, prefixes included

	size16   bool // prefix 66
	addr32   bool // prefix 67
	rep      byte // the last of the prefixes F2 and F3, 0 for none
	wide     bool // REX.W
	extended bool // REX.R
	prefixes int  // bytes before the opcode, its escape bytes not counted
}

// opMap is a table of opcodes.
type opMap byte

const (
	oneByte opMap = iota // no escape
	map0F
	map0F38
	map0F3A
	vector // VEX, EVEX or XOP: nothing sensitive among them
)

// decoder reads an instruction byte by byte. Past the end of code, or past
// the longest instruction, it has failed and reads zeros.
type decoder struct {
	code   []byte
	at     int
	failed bool
}

func (d *decoder) next() byte {
	if d.at >= len(d.code) {
		d.failed = true
		return 0
	}
	d.at++
	return d.code[d.at-1]
}

func (d *decoder) skip(n int) {
	d.at += n
	d.failed = d.failed || d.at > len(d.code)
}

// Length returns the length of the instruction that code begins with, in
// bytes. It is !ok where no instruction is, or only the beginning of one.
func Length(code []byte) (n int, ok bool) {
	in, ok := decode(code)
	return in.length, ok
}

// decode reads the instruction that code begins with.
func decode(code []byte) (in instruction, ok bool) {
	d := decoder{code: code[:min(len(code), maxLength)]}
	op := d.prefixes(&in)
	in.prefixes = d.at - 1
	switch {
	case op == 0x0f:
		d.escaped(&in)
	case op == 0xc4 || op == 0xc5 || op == 0x62:
		d.vector(&in, op)
	case op == 0x8f && len(d.code) > d.at && d.code[d.at]&0x1f >= 8:
		d.xop(&in)
	default:
		in.op = op
		d.operands(&in, operandsOneByte[op])
	}
	in.length = d.at
	return in, !d.failed
}

// prefixes reads what comes before the opcode, which it returns. REX counts
// only directly before it (Intel SDM volume 2, "REX Prefixes").
func (d *decoder) prefixes(in *instruction) byte {
	for {
		b := d.next()
		switch {
		case b&0xf0 == 0x40:
			in.wide, in.extended = b&8 != 0, b&4 != 0
			continue
		case b == 0x66:
			in.size16 = true
		case b == 0x67:
			in.addr32 = true
		case b == 0xf2 || b == 0xf3:
			in.rep = b
		case b == 0xf0 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26 || b == 0x64 || b == 0x65:
		default:
			return b
		}
		in.wide, in.extended = false, false
	}
}

// escaped reads an instruction after the byte 0F.
func (d *decoder) escaped(in *instruction) {
	in.opMap, in.op = map0F, d.next()
	switch in.op {
	case 0x38:
		in.opMap, in.op = map0F38, d.next()
		d.modRM(in)
	case 0x3a:
		in.opMap, in.op = map0F3A, d.next()
		d.modRM(in)
		d.skip(1)
	case 0x78:
		d.modRM(in)
		if in.size16 || in.rep == 0xf2 { // EXTRQ, INSERTQ (AMD64 volume 4)
			d.skip(2)
		}
	default:
		d.operands(in, operands0F[in.op])
	}
}

// operands reads what follows an opcode, by its letter in a table of operands.
func (d *decoder) operands(in *instruction, letter byte) {
	switch letter {
	case '.':
	case 'm', 'M', 'Z', 't', 'T':
		d.modRM(in)
	case 'r':
		in.modRM = d.next() // a register, whatever its first two bits say
	case 'b':
		d.skip(1)
	case 'w':
		d.skip(2)
	case 'e':
		d.skip(3)
	case 'j':
		d.skip(4)
	case 'z':
		d.skip(in.immediate())
	case 'v':
		d.skip(in.longImmediate())
	case 'o':
		d.skip(in.offset())
	default:
		d.failed = true
	}
	switch isTest := in.modRM>>3&7 < 2; {
	case letter == 'M' || letter == 't' && isTest:
		d.skip(1)
	case letter == 'Z' || letter == 'T' && isTest:
		d.skip(in.immediate())
	}
}

// immediate is the size of an immediate operand of the operand's size, in
// bytes; 64-bit operands have one of 32 bits.
func (in *instruction) immediate() int {
	if in.size16 && !in.wide {
		return 2
	}
	return 4
}

// longImmediate is immediate for MOV to a register, which takes 64 bits.
func (in *instruction) longImmediate() int {
	if in.wide {
		return 8
	}
	return in.immediate()
}

// offset is the size of an address in the instruction, in bytes.
func (in *instruction) offset() int {
	if in.addr32 {
		return 4
	}
	return 8
}

// modRM reads a ModRM byte with its SIB byte and displacement (Intel SDM volume
// 2, "ModR/M and SIB Bytes").
func (d *decoder) modRM(in *instruction) {
	in.modRM = d.next()
	mod, base := in.modRM>>6, in.modRM&7
	if mod == 3 {
		return
	}
	if base == 4 {
		base = d.next() & 7
	}
	switch {
	case mod == 1:
		d.skip(1)
	case mod == 2 || base == 5: // with mod 0, base 5 is a displacement alone
		d.skip(4)
	}
}

// vector reads an instruction with a VEX or EVEX prefix (Intel SDM volume 2,
// "Vector Extension (VEX)" and "Intel AVX-512 Encoding").
func (d *decoder) vector(in *instruction, prefix byte) {
	in.opMap = vector
	table := byte(1)
	switch prefix {
	case 0xc5:
		d.next()
	case 0xc4:
		table = d.next() & 0x1f
		d.next()
	default:
		bits := d.next()
		table = bits & 7
		d.failed = d.failed || bits&8 != 0 || d.next()&4 == 0
		d.next()
	}
	in.op = d.next()
	if table == 1 && in.op == 0x77 && prefix != 0x62 { // VZEROUPPER, VZEROALL
		return
	}
	d.modRM(in)
	switch {
	case table == 3 || table == 1 && operands0F[in.op] == 'M':
		d.skip(1)
	case table == 1 || table == 2 || prefix == 0x62 && (table == 5 || table == 6):
	default:
		d.failed = true
	}
}

// xop reads an instruction with an XOP prefix (AMD64 volume 6, "Instruction
// Encoding").
func (d *decoder) xop(in *instruction) {
	in.opMap = vector
	table := d.next() & 0x1f
	d.next()
	in.op = d.next()
	d.modRM(in)
	switch table {
	case 8:
		d.skip(1)
	case 9:
	case 10:
		d.skip(4)
	default:
		d.failed = true
	}
}

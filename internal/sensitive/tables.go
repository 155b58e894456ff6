package sensitive

// What follows each opcode in 64-bit mode (Intel SDM volume 2, "Opcode Map").
// A letter is one opcode:
//
//	.  nothing
//	x  no instruction, or a prefix
//	m  ModRM                      r  a ModRM byte that names registers only
//	M  ModRM, imm8                Z  ModRM, imm16/32
//	t  ModRM, imm8 for TEST       T  ModRM, imm16/32 for TEST
//	b  imm8 or rel8               w  imm16
//	e  imm16 and imm8             z  imm16/32
//	j  rel32                      v  imm16/32/64
//	o  an address
const (
	operandsOneByte = "mmmmbzxxmmmmbzxx" + // 00
		"mmmmbzxxmmmmbzxx" + // 10
		"mmmmbzxxmmmmbzxx" + // 20
		"mmmmbzxxmmmmbzxx" + // 30
		"xxxxxxxxxxxxxxxx" + // 40: REX
		"................" + // 50
		"xxxmxxxxzZbM...." + // 60
		"bbbbbbbbbbbbbbbb" + // 70
		"MZxMmmmmmmmmmmmm" + // 80
		"..........x....." + // 90
		"oooo....bz......" + // A0
		"bbbbbbbbvvvvvvvv" + // B0
		"MMw.xxMZe.w..bx." + // C0
		"mmmmxxx.mmmmmmmm" + // D0
		"bbbbbbbbjjxb...." + // E0
		"x.xx..tT......mm" //   F0
	operands0F = "mmmmx.....x.xm.M" + // 00
		"mmmmmmmmmmmmmmmm" + // 10
		"rrrrxxxxmmmmmmmm" + // 20
		"......x.xxxxxxxx" + // 30
		"mmmmmmmmmmmmmmmm" + // 40
		"mmmmmmmmmmmmmmmm" + // 50
		"mmmmmmmmmmmmmmmm" + // 60
		"MMMMmmm.mmxxmmmm" + // 70
		"jjjjjjjjjjjjjjjj" + // 80
		"mmmmmmmmmmmmmmmm" + // 90
		"...mMmxx...mMmmm" + // A0
		"mmmmmmmmmmMmmmmm" + // B0
		"mmMmMMMm........" + // C0
		"mmmmmmmmmmmmmmmm" + // D0
		"mmmmmmmmmmmmmmmm" + // E0
		"mmmmmmmmmmmmmmmm" //   F0
)

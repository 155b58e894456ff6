package emulate

import (
	"slices"
	"testing"
)

// leaves are the instructions after which RIP is somewhere else.
var leaves = []string{"trap.LRET", "trap.LJMP", "trap.LCALL", "trap.IRET", "trap.IRETD", "trap.IRETQ", "trap.INT", "trap.ICEBP", "trap.SYSCALL", "trap.SYSRET"}

// judge holds one Step to what is promised of all.
func (m *machine) judge(code []byte, names []string) {
	m.t.Helper()
	registers, cpu := m.Regs, m.CPU
	in, whole := decode(code)
	res := m.Step(&m.Regs, code, realGP, &m.testBus)
	moved := m.RIP - registers.RIP
	isString := res.Name == "trap.INS" || res.Name == "trap.OUTS"
	if _, known := slices.BinarySearch(names, res.Name); !known {
		m.t.Errorf("% x: name %q", code, res.Name)
	}
	switch {
	case res.Exception != nil && res.Refused != "":
		m.t.Errorf("% x: both %+v and %q", code, res.Exception, res.Refused)
	case res.Exception != nil || res.Refused != "":
		if m.CPU != cpu || m.Regs != registers && !isString || moved != 0 || res.Halt || res.After != nil {
			m.t.Errorf("% x: %+v has changed something", code, res)
		}
	case slices.Contains(leaves, res.Name):
	case !whole && moved > 0 && moved <= maxLength: // the rest was read from memory
	case moved != uint64(in.length) && !(isString && moved == 0 && m.RCX != 0):
		m.t.Errorf("% x: RIP moved by %d, want %d", code, moved, in.length)
	}
	if m.CPL > 3 || cpu.CPL == 3 && m.CPL != 3 && !slices.Contains(leaves, res.Name) {
		m.t.Errorf("% x: CPL %d", code, m.CPL)
	}
	m.Regs, m.CPU, m.log = registers, cpu, m.log[:0]
}

// Every opcode of one and two bytes with every ModRM, at both CPLs.
func TestSweep(t *testing.T) {
	names := Names()
	for _, cpl := range []uint8{0, 3} {
		m := newMachine(t)
		if cpl == 3 {
			m.user()
		}
		m.RAX, m.RBX, m.RCX, m.RDX, m.RSI, m.RDI = atData, atData+8, 3, kernelCS, atData, atData+16
		m.RSP -= 64
		for _, prefix := range [][]byte{nil, {0x66}, {0x48}, {0xf3}, {0xf2, 0x41}, {0x67, 0x64}, {0xf0}, {0x4d, 0x66}} {
			for op := range 0x200 {
				code := append([]byte(nil), prefix...)
				if op >= 0x100 {
					code = append(code, 0x0f)
				}
				code = append(code, byte(op))
				at := len(code)
				code = append(code, 0, 0x25, 0x11, 0, 1, 0, 0, 0, 0)
				for modrm := range 0x100 {
					code[at] = byte(modrm)
					m.judge(code, names)
				}
			}
		}
	}
}

// bareOpcodes are the instructions of ours without a ModRM byte, and what
// follows their opcode (Intel SDM volume 2D, "Opcode Map").
var bareOpcodes = map[int]int{
	0xfa: 0, 0xfb: 0, 0xf4: 0, 0x9c: 0, 0x9d: 0, 0xcf: 0, 0xcb: 0, 0xca: 2, 0xcc: 0, 0xcd: 1, 0xf1: 0,
	0xe4: 1, 0xe5: 1, 0xe6: 1, 0xe7: 1, 0xec: 0, 0xed: 0, 0xee: 0, 0xef: 0, 0x6c: 0, 0x6d: 0, 0x6e: 0, 0x6f: 0,
	0x105: 0, 0x106: 0, 0x107: 0, 0x108: 0, 0x109: 0, 0x130: 0, 0x132: 0, 0x133: 0, 0x134: 0, 0x135: 0,
	0x1a0: 0, 0x1a1: 0, 0x1a8: 0, 0x1a9: 0, 0x1aa: 0,
}

// operandLength is that of ModRM, SIB and displacement.
func operandLength(op int, modrm, sib byte) int {
	mod, rm := modrm>>6, modrm&7
	if mod == 3 || op&^3 == 0x120 {
		return 1
	}
	n := 1 + []int{0, 1, 4}[mod]
	if rm == 4 {
		n++
	}
	if mod == 0 && (rm == 5 || rm == 4 && sib&7 == 5) {
		n += 4
	}
	return n
}

func TestLengths(t *testing.T) {
	seen := map[int]bool{}
	for _, prefix := range []string{"", "\x66", "\x48", "\x67\xf3", "\x2e\x64\x44", "\x41\x26"} {
		for op := range 0x200 {
			for modrm := range 0x100 {
				code := []byte(prefix)
				if op >= 0x100 {
					code = append(code, 0x0f)
				}
				code = append(code, byte(op))
				want := len(code)
				code = append(code, byte(modrm), byte(op*7+modrm), 3, 4, 5, 6, 7, 8)
				in, ok := decode(code)
				if !ok || in.what.do == nil || op == 0x0f || op == 0x138 || op == 0x1c7 || scan([]byte{byte(op)}).length == 1 && op < 0x100 {
					continue
				}
				seen[op] = true
				if n, bare := bareOpcodes[op]; bare {
					want += n
				} else {
					want += operandLength(op, byte(modrm), code[want+1])
				}
				if in.length != want {
					t.Errorf("% x: %s of %d bytes, want %d", code, in.what.name, in.length, want)
				}
			}
		}
	}
	for op := range bareOpcodes {
		if !seen[op] {
			t.Errorf("opcode %#x is none of ours", op)
		}
	}
}

// What user code may not do, it gets #GP(0) for, whatever the operands.
func TestUserMayNot(t *testing.T) {
	m := newMachine(t)
	m.user()
	m.TSS = Segment{} // and so no port
	m.RAX, m.RBX = atData, atData
	for _, code := range []string{
		"f4", "fa", "fb", "0f 06", "0f 01 13", "0f 01 1b", "0f 00 d0", "0f 00 d8", "0f 01 f0", "0f 01 3b", "0f 08", "0f 09", "0f 30", "0f 32",
		"0f 01 f8", "0f 20 c0", "0f 22 c0", "0f 21 c0", "0f 23 c0", "0f 01 d1", "0f 01 c8", "0f 01 c9", "48 0f 07", "48 0f 35", "e4 60", "ee", "6c", "f3 6e",
	} {
		m.fails(code, vectorGP, 0)
		m.logged()
	}
}

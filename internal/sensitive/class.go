package sensitive

import (
	"fmt"
	"strconv"
)

// Class says what an instruction does at CPL 3 that it does not do at CPL 0.
type Class byte

const (
	// Privileged traps.
	Privileged Class = iota + 1
	// Unprivileged does not trap, or not always, and what it does or reads is
	// another: the hole that Popek and Goldberg's theorem asks about. All that
	// loads or stores a segment register is among them: whether a selector is
	// good is for ring 0's own tables to say.
	Unprivileged
	// Syscall is SYSCALL: whether it traps at CPL 3, and how it enters ring 0,
	// is up to what ring 0 has set.
	Syscall
	// Other shows what machine this is, or leaves it in another way, at any CPL
	// alike.
	Other
)

var classNames = [...]string{Privileged: "privileged", Unprivileged: "sensitive-unprivileged", Syscall: "syscall", Other: "other"}

// String is the class's name.
func (c Class) String() string {
	if c == 0 || int(c) >= len(classNames) {
		return fmt.Sprintf("Class(%d)", byte(c))
	}
	return classNames[c]
}

// MarshalText is String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// kind is what is known of a sensitive instruction; no class for others.
type kind struct {
	class Class
	name  string
}

func privileged(name string) kind   { return kind{Privileged, name} }
func unprivileged(name string) kind { return kind{Unprivileged, name} }
func other(name string) kind        { return kind{Other, name} }

// classify says whether an instruction is sensitive.
func (in *instruction) classify() kind {
	switch in.opMap {
	case oneByte:
		return in.classifyOneByte()
	case map0F:
		return in.classify0F()
	case map0F38:
		return in.classify0F38()
	case map0F3A:
		if in.op == 0xf0 && in.rep == 0xf3 && in.modRM == 0xc0 {
			return privileged("HRESET")
		}
	}
	return kind{}
}

// reg is the field of ModRM that often belongs to the opcode.
func (in *instruction) reg() byte { return in.modRM >> 3 & 7 }

// memory reports whether ModRM names memory.
func (in *instruction) memory() bool { return in.modRM < 0xc0 }

// sized picks the name of an instruction for its operand size.
func (in *instruction) sized(bits16, bits32, bits64 string) string {
	switch {
	case in.wide:
		return bits64
	case in.size16:
		return bits16
	}
	return bits32
}

func (in *instruction) classifyOneByte() kind {
	switch in.op {
	case 0x6c, 0x6d:
		return privileged("INS")
	case 0x6e, 0x6f:
		return privileged("OUTS")
	case 0x8c, 0x8e:
		return in.classifySegmentMove()
	case 0x9c:
		return unprivileged(in.sized("PUSHF", "PUSHFQ", "PUSHFQ"))
	case 0x9d:
		return unprivileged(in.sized("POPF", "POPFQ", "POPFQ"))
	case 0xca, 0xcb:
		return unprivileged("RETF")
	case 0xcd:
		return unprivileged("INT")
	case 0xcf:
		return unprivileged(in.sized("IRETW", "IRETD", "IRETQ"))
	case 0xe4, 0xe5, 0xec, 0xed:
		return privileged("IN")
	case 0xe6, 0xe7, 0xee, 0xef:
		return privileged("OUT")
	case 0xf1:
		return other("INT1")
	case 0xf4:
		return privileged("HLT")
	case 0xfa:
		return privileged("CLI")
	case 0xfb:
		return privileged("STI")
	case 0xff:
		switch {
		case in.memory() && in.reg() == 3:
			return unprivileged("CALLF")
		case in.memory() && in.reg() == 5:
			return unprivileged("JMPF")
		}
	}
	return kind{}
}

var segments = [8]string{"ES", "CS", "SS", "DS", "FS", "GS"}

// classifySegmentMove is for MOV from a segment register (8C) and to one (8E).
func (in *instruction) classifySegmentMove() kind {
	name := segments[in.reg()]
	switch {
	case name == "" || in.op == 0x8e && name == "CS":
		return kind{} // #UD
	case in.op == 0x8e:
		return unprivileged("MOV to " + name)
	}
	return unprivileged("MOV from " + name)
}

func (in *instruction) classify0F() kind {
	switch {
	case in.op == 0x00:
		return in.group6()
	case in.op == 0x01 && in.memory():
		return in.group7Memory()
	case in.op == 0x01:
		return in.group7Register()
	case in.op >= 0x20 && in.op <= 0x23:
		return privileged(in.specialMove())
	case in.op == 0x78 && !in.size16 && in.rep == 0:
		return privileged("VMREAD")
	case in.op == 0x79 && !in.size16 && in.rep == 0:
		return privileged("VMWRITE")
	case in.op == 0xae && in.rep == 0xf3 && in.memory() && in.reg() == 6:
		return privileged("CLRSSBSY")
	case in.op == 0xc7:
		return in.group9()
	}
	return plain0F[in.op]
}

// plain0F are the instructions after 0F that the opcode alone tells.
var plain0F = [256]kind{
	0x02: {Unprivileged, "LAR"}, 0x03: {Unprivileged, "LSL"},
	0x05: {Syscall, "SYSCALL"}, 0x06: {Privileged, "CLTS"}, 0x07: {Privileged, "SYSRET"},
	0x08: {Privileged, "INVD"}, 0x09: {Privileged, "WBINVD"},
	0x30: {Privileged, "WRMSR"}, 0x31: {Other, "RDTSC"}, 0x32: {Privileged, "RDMSR"}, 0x33: {Privileged, "RDPMC"},
	0x34: {Other, "SYSENTER"}, 0x35: {Privileged, "SYSEXIT"}, 0x37: {Privileged, "GETSEC"},
	0xa0: {Unprivileged, "PUSH FS"}, 0xa1: {Unprivileged, "POP FS"}, 0xa2: {Other, "CPUID"},
	0xa8: {Unprivileged, "PUSH GS"}, 0xa9: {Unprivileged, "POP GS"}, 0xaa: {Privileged, "RSM"},
	0xb2: {Unprivileged, "LSS"}, 0xb4: {Unprivileged, "LFS"}, 0xb5: {Unprivileged, "LGS"},
}

// specialMove is the name of a MOV of a control or debug register.
func (in *instruction) specialMove() string {
	number := in.reg()
	if in.extended {
		number += 8
	}
	return moves[in.op-0x20] + strconv.Itoa(int(number))
}

var moves = [4]string{"MOV from CR", "MOV from DR", "MOV to CR", "MOV to DR"}

func (in *instruction) group6() kind {
	if in.reg() == 6 && in.rep == 0xf2 {
		return privileged("LKGS")
	}
	return [8]kind{
		{Unprivileged, "SLDT"}, {Unprivileged, "STR"}, {Privileged, "LLDT"}, {Privileged, "LTR"},
		{Unprivileged, "VERR"}, {Unprivileged, "VERW"},
	}[in.reg()]
}

func (in *instruction) group7Memory() kind {
	if in.reg() == 5 {
		return kind{} // RSTORSSP, a user's shadow stack
	}
	return [8]kind{
		{Unprivileged, "SGDT"}, {Unprivileged, "SIDT"}, {Privileged, "LGDT"}, {Privileged, "LIDT"},
		{Unprivileged, "SMSW"}, {}, {Privileged, "LMSW"}, {Privileged, "INVLPG"},
	}[in.reg()]
}

// group7Register is for 0F 01 with a ModRM byte of C0 or more.
func (in *instruction) group7Register() kind {
	switch {
	case in.reg() == 4:
		return unprivileged("SMSW")
	case in.reg() == 6:
		return privileged("LMSW")
	case in.modRM == 0xca && in.rep == 0xf2:
		return privileged("ERETS")
	case in.modRM == 0xca && in.rep == 0xf3:
		return privileged("ERETU")
	case in.modRM == 0xe8 && in.rep == 0xf3:
		return privileged("SETSSBSY")
	}
	return registerForms[in.modRM-0xc0]
}

var registerForms = [64]kind{
	0x00: {Privileged, "ENCLV"}, 0x01: {Other, "VMCALL"}, 0x02: {Privileged, "VMLAUNCH"}, 0x03: {Privileged, "VMRESUME"},
	0x04: {Privileged, "VMXOFF"}, 0x05: {Privileged, "PCONFIG"}, 0x06: {Privileged, "WRMSRNS"},
	0x08: {Privileged, "MONITOR"}, 0x09: {Privileged, "MWAIT"}, 0x0a: {Privileged, "CLAC"}, 0x0b: {Privileged, "STAC"}, 0x0f: {Privileged, "ENCLS"},
	0x10: {Other, "XGETBV"}, 0x11: {Privileged, "XSETBV"}, 0x14: {Other, "VMFUNC"}, 0x17: {Other, "ENCLU"},
	0x18: {Privileged, "VMRUN"}, 0x19: {Other, "VMMCALL"}, 0x1a: {Privileged, "VMLOAD"}, 0x1b: {Privileged, "VMSAVE"},
	0x1c: {Privileged, "STGI"}, 0x1d: {Privileged, "CLGI"}, 0x1e: {Privileged, "SKINIT"}, 0x1f: {Privileged, "INVLPGA"},
	0x2e: {Other, "RDPKRU"}, 0x2f: {Other, "WRPKRU"},
	0x38: {Privileged, "SWAPGS"}, 0x39: {Other, "RDTSCP"}, 0x3d: {Other, "RDPRU"}, 0x3e: {Privileged, "INVLPGB"}, 0x3f: {Privileged, "TLBSYNC"},
}

// group9 is for 0F C7.
func (in *instruction) group9() kind {
	switch {
	case in.memory() && in.reg() == 3:
		return privileged("XRSTORS")
	case in.memory() && in.reg() == 5:
		return privileged("XSAVES")
	case in.memory() && in.reg() == 6:
		return privileged("VMPTRLD") // VMCLEAR and VMXON with a prefix
	case in.memory() && in.reg() == 7:
		return privileged("VMPTRST")
	case in.reg() == 7 && in.rep == 0xf3:
		return other("RDPID")
	}
	return kind{}
}

func (in *instruction) classify0F38() kind {
	switch {
	case in.op >= 0x80 && in.op <= 0x82 && in.size16 && in.memory():
		return privileged([3]string{"INVEPT", "INVVPID", "INVPCID"}[in.op-0x80])
	case in.op == 0xf5 && in.size16 && in.memory():
		return privileged("WRUSS")
	}
	return kind{}
}

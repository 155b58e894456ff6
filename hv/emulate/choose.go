package emulate

import (
	"sync"

	"golang.org/x/arch/x86/x86asm"
)

// tables are what choose looks in. They are made when the first instruction is
// emulated: most machines have none to.
var tables = sync.OnceValue(func() *operationTables {
	t := &operationTables{
		byName:    byName(),
		movesTo:   map[x86asm.Reg]operation{},
		movesFrom: map[x86asm.Reg]operation{},
		pushes:    map[x86asm.Reg]operation{},
		pops:      map[x86asm.Reg]operation{},
	}
	t.addRegisters()
	return t
})

type operationTables struct {
	byName map[x86asm.Op]operation // those whose name alone says what they do
	// MOV, PUSH and POP of the system's registers, by register.
	movesTo, movesFrom, pushes, pops map[x86asm.Reg]operation
}

func byName() map[x86asm.Op]operation {
	return map[x86asm.Op]operation{
		x86asm.CLI:    {"trap.CLI", (*step).cli, ioLevel},
		x86asm.STI:    {"trap.STI", (*step).sti, ioLevel},
		x86asm.HLT:    {"trap.HLT", (*step).hlt, kernel},
		x86asm.PUSHF:  {"trap.PUSHF", (*step).pushf, everyone},
		x86asm.PUSHFQ: {"trap.PUSHFQ", (*step).pushf, everyone},
		x86asm.POPF:   {"trap.POPF", (*step).popf, everyone},
		x86asm.POPFQ:  {"trap.POPFQ", (*step).popf, everyone},

		x86asm.IN:    {"trap.IN", (*step).input, everyone},
		x86asm.OUT:   {"trap.OUT", (*step).output, everyone},
		x86asm.INSB:  {"trap.INS", (*step).insb, everyone},
		x86asm.INSW:  {"trap.INS", (*step).insw, everyone},
		x86asm.INSD:  {"trap.INS", (*step).insd, everyone},
		x86asm.OUTSB: {"trap.OUTS", (*step).outsb, everyone},
		x86asm.OUTSW: {"trap.OUTS", (*step).outsw, everyone},
		x86asm.OUTSD: {"trap.OUTS", (*step).outsd, everyone},

		x86asm.CLTS:    {"trap.CLTS", (*step).clts, kernel},
		x86asm.LMSW:    {"trap.LMSW", (*step).lmsw, kernel},
		x86asm.SMSW:    {"trap.SMSW", (*step).smsw, everyone},
		x86asm.INVLPG:  {"trap.INVLPG", (*step).invlpg, kernel},
		x86asm.INVD:    {"trap.INVD", (*step).nothing, kernel},
		x86asm.WBINVD:  {"trap.WBINVD", (*step).nothing, kernel},
		x86asm.XSETBV:  {"trap.XSETBV", (*step).xsetbv, everyone},
		x86asm.MONITOR: {"trap.MONITOR", (*step).monitor, kernel},
		x86asm.MWAIT:   {"trap.MWAIT", (*step).mwait, kernel},
		x86asm.RSM:     {"trap.RSM", (*step).none, everyone},

		x86asm.RDMSR:    {"trap.RDMSR.other", (*step).rdmsr, kernel},
		x86asm.WRMSR:    {"trap.WRMSR.other", (*step).wrmsr, kernel},
		x86asm.RDPMC:    {"trap.RDPMC", (*step).rdpmc, everyone},
		x86asm.SWAPGS:   {"trap.SWAPGS", (*step).swapgs, kernel},
		x86asm.RDFSBASE: {"trap.RDFSBASE", (*step).rdfsbase, everyone},
		x86asm.RDGSBASE: {"trap.RDGSBASE", (*step).rdgsbase, everyone},
		x86asm.WRFSBASE: {"trap.WRFSBASE", (*step).wrfsbase, everyone},
		x86asm.WRGSBASE: {"trap.WRGSBASE", (*step).wrgsbase, everyone},

		x86asm.LGDT: {"trap.LGDT", (*step).lgdt, kernel},
		x86asm.LIDT: {"trap.LIDT", (*step).lidt, kernel},
		x86asm.LLDT: {"trap.LLDT", (*step).lldt, kernel},
		x86asm.LTR:  {"trap.LTR", (*step).ltr, kernel},
		x86asm.SGDT: {"trap.SGDT", (*step).sgdt, everyone},
		x86asm.SIDT: {"trap.SIDT", (*step).sidt, everyone},
		x86asm.SLDT: {"trap.SLDT", (*step).sldt, everyone},
		x86asm.STR:  {"trap.STR", (*step).str, everyone},
		x86asm.LAR:  {"trap.LAR", (*step).lar, everyone},
		x86asm.LSL:  {"trap.LSL", (*step).lsl, everyone},
		x86asm.VERR: {"trap.VERR", (*step).verr, everyone},
		x86asm.VERW: {"trap.VERW", (*step).verw, everyone},

		x86asm.LSS: {"trap.LSS", (*step).lss, everyone},
		x86asm.LFS: {"trap.LFS", (*step).lfs, everyone},
		x86asm.LGS: {"trap.LGS", (*step).lgs, everyone},

		x86asm.LRET:     {"trap.LRET", (*step).lret, everyone},
		x86asm.LJMP:     {"trap.LJMP", (*step).ljmp, everyone},
		x86asm.LCALL:    {"trap.LCALL", (*step).lcall, everyone},
		x86asm.IRET:     {"trap.IRET", (*step).iret, everyone},
		x86asm.IRETD:    {"trap.IRETD", (*step).iret, everyone},
		x86asm.IRETQ:    {"trap.IRETQ", (*step).iret, everyone},
		x86asm.INT:      {"trap.INT", (*step).intN, everyone},
		x86asm.ICEBP:    {"trap.ICEBP", (*step).icebp, everyone},
		x86asm.SYSCALL:  {"trap.SYSCALL", (*step).syscall, everyone},
		x86asm.SYSRET:   {"trap.SYSRET", (*step).sysret, everyone},
		x86asm.SYSENTER: {"trap.SYSENTER", (*step).sysenter, everyone},
		x86asm.SYSEXIT:  {"trap.SYSEXIT", (*step).sysenter, kernel},
	}
}

func (t *operationTables) addRegisters() {
	register := func(first, last x86asm.Reg, to, from func(*step) *Exception, level level) {
		for name := first; name <= last; name++ {
			t.movesTo[name] = operation{"trap.MOV_" + name.String(), to, level}
			t.movesFrom[name] = operation{"trap.MOV_from_" + name.String(), from, level}
		}
	}
	register(x86asm.CR0, x86asm.CR15, (*step).toControl, (*step).fromControl, kernel)
	register(x86asm.DR0, x86asm.DR15, (*step).toDebug, (*step).fromDebug, everyone)
	register(x86asm.ES, x86asm.GS, (*step).toSegment, (*step).fromSegment, everyone)
	for _, name := range []x86asm.Reg{x86asm.FS, x86asm.GS} {
		t.pushes[name] = operation{"trap.PUSH_" + name.String(), (*step).pushSegment, everyone}
		t.pops[name] = operation{"trap.POP_" + name.String(), (*step).popSegment, everyone}
	}
}

// choose finds the operation of an instruction, the zero one if it is none of
// ours.
func choose(in x86asm.Inst) operation {
	t := tables()
	first, _ := in.Args[0].(x86asm.Reg)
	second, _ := in.Args[1].(x86asm.Reg)
	switch in.Op {
	case x86asm.MOV:
		if o, ok := t.movesTo[first]; ok {
			return o
		}
		return t.movesFrom[second]
	case x86asm.PUSH:
		return t.pushes[first]
	case x86asm.POP:
		return t.pops[first]
	case x86asm.RDFSBASE, x86asm.RDGSBASE, x86asm.WRFSBASE, x86asm.WRGSBASE:
		if first == 0 { // with memory these are others, which x86asm takes for them
			return operation{}
		}
	}
	return t.byName[in.Op]
}

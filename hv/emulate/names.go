package emulate

import (
	"slices"
	"sync"

	"golang.org/x/arch/x86/x86asm"
)

// nameOther counts what is none of the instructions that are emulated.
const nameOther = "trap.other"

// msrNames are MSRs that get a count of their own (Intel SDM volume 3A, "x2APIC
// Register Address Space", and volume 4).
var msrNames = sync.OnceValue(func() map[uint32]string {
	names := map[uint32]string{
		msrSysenterCS:   "sysenter_cs",
		msrSysenterESP:  "sysenter_esp",
		msrSysenterEIP:  "sysenter_eip",
		msrMiscEnable:   "misc_enable",
		msrPAT:          "pat",
		msrEFER:         "efer",
		msrSTAR:         "star",
		msrLSTAR:        "lstar",
		msrCSTAR:        "cstar",
		msrFMASK:        "fmask",
		msrFSBase:       "fs_base",
		msrGSBase:       "gs_base",
		msrKernelGSBase: "kernel_gs_base",
		msrTSCAux:       "tsc_aux",

		0x10:  "tsc",
		0x1b:  "apic_base",
		0x6e0: "tsc_deadline",
		0x802: "x2apic_id",
		0x803: "x2apic_version",
		0x808: "x2apic_tpr",
		0x80a: "x2apic_ppr",
		0x80b: "x2apic_eoi",
		0x80d: "x2apic_ldr",
		0x80f: "x2apic_svr",
		0x828: "x2apic_esr",
		0x82f: "x2apic_lvt_cmci",
		0x830: "x2apic_icr",
		0x832: "x2apic_lvt_timer",
		0x833: "x2apic_lvt_thermal",
		0x834: "x2apic_lvt_perf",
		0x835: "x2apic_lvt_lint0",
		0x836: "x2apic_lvt_lint1",
		0x837: "x2apic_lvt_error",
		0x838: "x2apic_tmict",
		0x839: "x2apic_tmcct",
		0x83e: "x2apic_tdcr",
		0x83f: "x2apic_self_ipi",
	}
	for i := range uint32(8) {
		names[0x810+i] = "x2apic_isr"
		names[0x818+i] = "x2apic_tmr"
		names[0x820+i] = "x2apic_irr"
	}
	return names
})

// msrName is bounded: MSRs that are not in the table share one name.
func msrName(prefix string, index uint32) string {
	if name, ok := msrNames()[index]; ok {
		return prefix + name
	}
	return prefix + "other"
}

// Names are all names that a Result can have, sorted.
func Names() []string {
	list := []string{nameOther, "trap.RDMSR.other", "trap.WRMSR.other"}
	for _, o := range tables().byName {
		list = append(list, o.name)
	}
	for _, table := range []map[x86asm.Reg]operation{tables().movesTo, tables().movesFrom, tables().pushes, tables().pops} {
		for _, o := range table {
			list = append(list, o.name)
		}
	}
	for _, g := range gaps {
		list = append(list, g.name)
	}
	for _, name := range msrNames() {
		list = append(list, "trap.RDMSR."+name, "trap.WRMSR."+name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

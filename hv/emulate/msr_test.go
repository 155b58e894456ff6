package emulate

import "testing"

func TestMSRs(t *testing.T) {
	for _, c := range []struct {
		index, value uint64
		ok           bool
		name         string
	}{
		{msrSTAR, 0x0010_0008_0000_0000, true, "star"},
		{msrLSTAR, handlers, true, "lstar"},
		{msrLSTAR, 1 << 47, false, "lstar"},
		{msrCSTAR, 1 << 63, false, "cstar"},
		{msrFMASK, flagIF, true, "fmask"},
		{msrFMASK, 1 << 32, false, "fmask"},
		{msrFSBase, handlers, true, "fs_base"},
		{msrGSBase, 5, true, "gs_base"},
		{msrGSBase, 1 << 48, false, "gs_base"},
		{msrKernelGSBase, 7, true, "kernel_gs_base"},
		{msrTSCAux, 1, true, "tsc_aux"},
		{msrTSCAux, 1 << 40, false, "tsc_aux"},
		{msrPAT, 0x0007_0406_0007_0406, true, "pat"},
		{msrPAT, 2, false, "pat"},
		{msrSysenterCS, 8, true, "sysenter_cs"},
		{msrSysenterESP, 9, true, "sysenter_esp"},
		{msrSysenterEIP, 1 << 50, false, "sysenter_eip"},
		{msrMiscEnable, 1, true, "misc_enable"},
		{msrMiscEnable, 1 << 34, false, "misc_enable"},
		{0x80b, 0, true, "x2apic_eoi"},
		{0x838, 99, true, "x2apic_tmict"},
		{0x811, 1, false, "x2apic_isr"},
		{0x1234, 1, false, "other"},
	} {
		m := newMachine(t)
		m.RCX, m.RAX, m.RDX = c.index|1<<40, c.value&0xffffffff|1<<50, c.value>>32|1<<50
		if !c.ok {
			m.fails("0f 30", vectorGP, 0)
			continue
		}
		if res := m.done("0f 30"); res.Name != "trap.WRMSR."+c.name {
			t.Errorf("name %q, want %q", res.Name, c.name)
		}
		if res := m.done("0f 32"); res.Name != "trap.RDMSR."+c.name {
			t.Errorf("name %q, want %q", res.Name, c.name)
		}
		m.equal(c.name, m.RDX<<32|m.RAX, c.value)
		m.user()
		m.fails("0f 30", vectorGP, 0)
		m.fails("0f 32", vectorGP, 0)
	}
}

func TestEFER(t *testing.T) {
	m := newMachine(t)
	was := m.EFER
	m.RCX, m.RAX = msrEFER, was&^(eferSCE|eferLMA)
	m.done("0f 30")
	m.equal("EFER", m.EFER, was&^eferSCE)
	m.logged()
	m.RAX = was &^ eferNXE
	m.done("0f 30")
	m.logged("flush true")
	m.RAX = was &^ eferLME
	m.fails("0f 30", vectorGP, 0)
	m.RAX = was | 1<<12 // SVME
	m.fails("0f 30", vectorGP, 0)
}

func TestBases(t *testing.T) {
	m := newMachine(t)
	m.fs, m.gs, m.KernelGSBase = 1, 2, 3
	m.done("0f 01 f8")
	m.equal("GS base", m.gs, 3)
	m.equal("KERNEL_GS_BASE", m.KernelGSBase, 2)
	m.fails("f3 0f ae c0", vectorUD, 0) // rdfsbase without CR4.FSGSBASE
	m.CR4 |= cr4FSGSBASE
	m.RAX = ^uint64(0)
	m.done("f3 0f ae c8") // rdgsbase eax
	m.equal("RAX", m.RAX, 3)
	m.RBX = handlers
	m.done("f3 48 0f ae d3") // wrfsbase rbx
	m.equal("FS base", m.fs, handlers)
	m.done("f3 0f ae d3") // 32 bits
	m.equal("FS base", m.fs, 0)
	m.RBX = 1 << 60
	m.fails("f3 48 0f ae db", vectorGP, 0)
	m.fails("f3 0f ae 13", vectorGP, 0x7777) // ldmxcsr
	m.fails("0f 33", vectorGP, 0)            // rdpmc
	m.user()
	m.fails("0f 01 f8", vectorGP, 0)
}

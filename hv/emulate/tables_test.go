package emulate

import "testing"

func TestTables(t *testing.T) {
	m := newMachine(t)
	m.RBX = atData
	m.poke(atData, 0x1234_5678_0000_01ff, 0) // limit 0x1ff, base 0x12345678_0000
	m.done("66 0f 01 1b")                    // lidt [rbx]: always 10 bytes
	if want := (Table{0x1234_5678_0000, 0x1ff}); m.IDT != want {
		t.Errorf("IDT %+v, want %+v", m.IDT, want)
	}
	m.poke(atData+8, 0x8000)
	m.fails("0f 01 1b", vectorGP, 0) // base not canonical
	m.fails("0f 01 d8", vectorGP, 0x7777)

	m.RCX = atData + 0x100
	m.done("0f 01 01") // sgdt [rcx]
	m.equal("limit", m.peek(m.RCX)&0xffff, 0xff)
	m.equal("base", m.peek(m.RCX+2), atGDT)
	m.user()
	m.done("0f 01 09") // sidt
	m.equal("base", m.peek(m.RCX+2), 0x1234_5678_0000)
	m.fails("0f 01 11", vectorGP, 0)
	m.RCX = 0x90000
	m.fails("0f 01 09", vectorPF, 6)
	m.RCX = 0x7fff_ffff_fffc
	m.fails("0f 01 09", vectorGP, 0)
	m.RBP = 1 << 63
	m.fails("0f 01 4d 00", vectorSS, 0)
	m.RCX = ^uint64(3)
	m.fails("0f 01 09", vectorGP, 0) // around the end
}

func TestAddresses(t *testing.T) {
	m := newMachine(t)
	m.fs, m.gs = atData, 1<<47
	m.poke(atData+0x80, 0x1234_5678_0000_01ff)
	m.R13, m.R12 = 0x40, 0x20
	m.done("64 43 0f 01 5c 65 00") // lidt fs:[r13+r12*2+0]
	m.equal("IDT", m.IDT.Base, 0x1234_5678_0000)
	m.IDT = Table{}
	m.done("64 2e 0f 01 1c 25 80 00 00 00") // lidt fs:[0x80], CS is null
	m.equal("IDT", m.IDT.Base, 0x1234_5678_0000)
	m.IDT = Table{}
	m.R13 = 0xffff_ffff_0000_0080 - 0x10
	m.done("64 67 41 0f 01 5d 10") // 32-bit address
	m.equal("IDT", m.IDT.Base, 0x1234_5678_0000)
	m.fails("65 0f 01 5d 10", vectorGP, 0) // by GS's base, though RBP
	m.R13 = atData + 0x8000_0080
	m.IDT = Table{}
	m.done("41 0f 01 9d 00 00 00 80") // displacement is sign-extended
	m.equal("IDT", m.IDT.Base, 0x1234_5678_0000)
}

func TestTaskAndLDT(t *testing.T) {
	m := newMachine(t)
	m.TR, m.TSS = 0, Segment{}
	m.RAX = tssSelector
	m.done("0f 00 d8")
	if want := (Segment{atTSS, 0x200, true}); m.TSS != want || m.TR != tssSelector {
		t.Errorf("TR %#x %+v", m.TR, m.TSS)
	}
	m.equal("type", m.peek(atGDT+tssSelector)>>40&15, typeBusyTSS)
	m.fails("0f 00 d8", vectorGP, tssSelector) // busy
	m.RBX = ^uint64(0)
	m.done("48 0f 00 cb") // str rbx
	m.equal("STR", m.RBX, tssSelector)
	for _, c := range []struct{ selector, vector, code uint64 }{
		{0, vectorGP, 0}, {kernelCS, vectorGP, kernelCS}, {tssSelector | 4, vectorGP, tssSelector | 4}, {0xf8, vectorGP, 0xf8}, {0xfff8 | 3, vectorGP, 0xfff8},
	} {
		m.RAX = c.selector
		m.fails("0f 00 d8", uint8(c.vector), c.code)
	}

	m.poke(atGDT+ldtSelector, seg(atData, 0xf, typeLDT, 0, 0, false))
	m.RAX = ldtSelector
	m.fails("0f 00 d0", vectorNP, ldtSelector)
	m.poke(atGDT+ldtSelector, seg(atData, 0xf, typeLDT, 0, 0, true), 0x8000)
	m.fails("0f 00 d0", vectorGP, ldtSelector) // base not canonical
	m.poke(atGDT+ldtSelector+8, 1<<40)
	m.fails("0f 00 d0", vectorGP, ldtSelector) // a type in the upper half
	m.poke(atGDT+ldtSelector+8, 0)
	m.done("0f 00 d0")
	m.poke(atData+8, seg(0, 0x777, 0x12, 0, 0, true))
	m.RAX = 12 // TI, index 1
	m.done("8e d8")
	m.equal("DS", uint64(m.DS), 12)
	m.done("0f 00 c3") // sldt ebx
	m.equal("SLDT", m.RBX, ldtSelector)
	m.RAX = 20
	m.fails("8e d8", vectorGP, 20) // beyond
	m.RAX = 3
	m.done("0f 00 d0")
	m.RAX = 12
	m.fails("8e d8", vectorGP, 12)
	m.user()
	m.fails("0f 00 d8", vectorGP, 0)
	m.fails("0f 00 d0", vectorGP, 0)
	m.RBX = atData
	m.poke(atData, ^uint64(0))
	m.done("48 0f 00 0b") // str [rbx]: two bytes
	m.equal("STR", m.peek(atData), ^uint64(0)&^0xffff|tssSelector)
}

func TestAccessRights(t *testing.T) {
	for _, c := range []struct {
		name           string
		cpl            uint8
		selector       uint64
		lar, lsl, r, w bool
		rights, limit  uint64
	}{
		{"code", 0, kernelCS, true, true, true, false, 0xa09a00, 0xffffffff},
		{"data", 0, kernelSS, true, true, true, true, 0xc09200, 0xffffffff},
		{"data by RPL", 0, kernelSS | 3, false, false, false, false, 0, 0},
		{"data by CPL", 3, kernelSS, false, false, false, false, 0, 0},
		{"conforming", 3, conformingCS, true, true, true, false, 0xa09e00, 0xffffffff},
		{"read only", 3, readOnlyDS, true, true, true, false, 0x00f000, 0x123},
		{"TSS", 0, tssSelector, true, true, false, false, 0x008900, 0x200},
		{"gate", 0, callGate, true, false, false, false, 0x00ec00, 0},
		{"null", 0, 0, false, false, false, false, 0, 0},
		{"beyond", 0, 0xf00, false, false, false, false, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.CPL, m.RBX = c.cpl, c.selector
			for _, i := range []struct {
				code   string
				zf     bool
				result uint64
			}{{"0f 02 c3", c.lar, c.rights}, {"0f 03 c3", c.lsl, c.limit}, {"0f 00 e3", c.r, 0}, {"0f 00 eb", c.w, 0}} {
				m.RAX, m.RFLAGS = 0, m.RFLAGS&^flagZF
				if !i.zf {
					m.RFLAGS |= flagZF
				}
				m.done(i.code)
				if got := m.RFLAGS&flagZF != 0; got != i.zf {
					t.Errorf("%s: ZF %v, want %v", i.code, got, i.zf)
				}
				m.equal(i.code, m.RAX, i.result)
			}
		})
	}
}

func TestSegments(t *testing.T) {
	m := newMachine(t)
	m.RAX = ^uint64(0)
	m.done("8c c8") // mov eax, cs
	m.equal("CS", m.RAX, kernelCS)
	m.RAX = ^uint64(0)
	m.done("66 8c d0") // mov ax, ss
	m.equal("SS", m.RAX, ^uint64(0)&^0xffff|kernelSS)
	m.fails("8e c8", vectorUD, 0)         // mov cs, eax
	m.fails("8c f0", vectorGP, 0x7777)    // no such register
	m.fails("f0 8e d8", vectorUD, 0)      // lock
	m.fails("48 89 c0", vectorGP, 0x7777) // mov rax, rax is none of ours

	for _, c := range []struct {
		cpl          uint8
		code         string // of MOV Sreg, EAX
		selector     uint64
		vector, want uint64 // vector 0: loaded
	}{
		{0, "8e d8", 0, 0, 0},
		{0, "8e d8", kernelSS | 3, vectorGP, kernelSS},
		{0, "8e d8", userSS, 0, userSS},
		{0, "8e d8", kernelCS, 0, kernelCS},
		{3, "8e d8", kernelSS, vectorGP, kernelSS},
		{3, "8e d8", conformingCS, 0, conformingCS},
		{3, "8e c0", readOnlyDS, 0, readOnlyDS},
		{0, "8e d8", absentSS, vectorNP, absentSS},
		{0, "8e d8", tssSelector, vectorGP, tssSelector},
		{0, "8e d0", 0, 0, 0},
		{0, "8e d0", 3, vectorGP, 0},
		{3, "8e d0", 3, vectorGP, 0},
		{0, "8e d0", kernelSS, 0, kernelSS},
		{0, "8e d0", userSS, vectorGP, userSS &^ 3},
		{0, "8e d0", absentSS, vectorSS, absentSS},
		{0, "8e d0", kernelCS, vectorGP, kernelCS},
		{3, "8e d0", readOnlyDS | 3, vectorGP, readOnlyDS},
	} {
		m := newMachine(t)
		m.CPL, m.RAX = c.cpl, c.selector|0xabcd0000
		if c.vector != 0 {
			m.fails(c.code, uint8(c.vector), c.want)
			continue
		}
		m.done(c.code)
		for code, got := range map[string]uint16{"8e d8": m.DS, "8e c0": m.ES, "8e d0": m.SS} {
			if code == c.code {
				m.equal(code, uint64(got), c.want)
			}
		}
		if ss := c.code == "8e d0"; m.Shadow != ss {
			t.Errorf("%s: shadow %v", c.code, m.Shadow)
		}
		if !null(uint16(c.selector)) {
			m.equal("accessed", m.peek(atGDT+c.selector&^7)>>40&1, 1)
		}
	}
}

func TestSegmentsWithBases(t *testing.T) {
	m := newMachine(t)
	m.poke(atStack-8, kernelSS2)
	m.RSP -= 8
	m.fs, m.gs = 1, 2
	m.done("0f a1") // pop fs
	m.equal("FS base", m.fs, 0x12345000)
	m.equal("RSP", m.RSP, atStack)
	m.done("0f a0") // push fs
	m.equal("pushed", m.peek(m.RSP), kernelSS2)
	m.RSP -= 2
	m.poke(m.RSP, 0)
	m.done("66 0f a9") // pop gs, 16 bits
	m.equal("GS base", m.gs, 0)
	m.equal("RSP", m.RSP, atStack-8)

	m.RBX = atData
	m.poke(atData, 0x1122_3344_5566_7788, kernelSS2)
	m.done("48 0f b5 03") // lgs rax, [rbx]
	m.equal("RAX", m.RAX, 0x1122_3344_5566_7788)
	m.equal("GS base", m.gs, 0x12345000)
	m.poke(atData+2, kernelSS)
	m.done("66 0f b2 03") // lss ax, [rbx]
	m.equal("RAX", m.RAX, 0x1122_3344_5566_7788)
	m.equal("SS", uint64(m.SS), kernelSS)
	if m.Shadow {
		t.Error("LSS holds interrupts back")
	}
	m.fails("0f b2 c3", vectorGP, 0x7777)
	m.RSP = 0x90000
	m.fails("0f a1", vectorPF, 0)
}

// Tables that are not there fault as any memory does, at CPL 0.
func TestTablesNotThere(t *testing.T) {
	m := newMachine(t)
	m.RAX, m.RBX, m.RCX = kernelSS, tssSelector, 0x90000
	m.poke(atData, 0, kernelCS)
	m.RSI = atData
	m.GDT.Base = 0x90000
	for _, code := range []string{"8e d8", "8e d0", "0f 02 d0", "0f 03 d0", "0f 00 e0", "0f 00 e8", "0f 00 db", "48 ff 2e", "48 ff 1e"} {
		m.fails(code, vectorPF, 0)
	}
	m.frame(0, kernelCS, 0, 0, kernelSS)
	m.fails("48 cf", vectorPF, 0)
	m.fails("48 cb", vectorPF, 0)
	m.fails("cd 80", vectorPF, 0)
	m.GDT.Base = atGDT
	m.readOnly[atGDT/pageSize] = true
	for _, code := range []string{"8e d8", "0f 00 db", "48 ff 2e", "48 cf", "cd 80"} { // accessed, busy
		m.fails(code, vectorPF, pfWrite|1)
	}
	for _, code := range []string{"8e 19", "0f 02 01", "0f 03 01", "0f 00 11", "0f 00 19", "0f 00 21", "0f 01 31", "0f 01 19", "48 ff 29", "48 0f b2 01"} {
		m.fails(code, vectorPF, 0) // the operand
	}
	m.GDT.Base, m.GDT.Limit = 1<<47-0x10, 0xff
	m.fails("8e d8", vectorGP, kernelSS) // the descriptor's address is not canonical
	m.user()
	m.TSS.Base = 0x90000
	m.fails("ee", vectorPF, 0)
}

package emulate

import "testing"

func TestInterruptFlag(t *testing.T) {
	m := newMachine(t)
	if m.Interruptible(&m.Regs) {
		t.Error("interruptible with IF clear")
	}
	m.done("fb") // sti
	if !m.IF || !m.Shadow || m.Interruptible(&m.Regs) {
		t.Errorf("after STI: IF %v, shadow %v", m.IF, m.Shadow)
	}
	if res := m.done("f4"); !res.Halt || res.Name != "trap.HLT" { // hlt
		t.Errorf("HLT: %+v", res)
	}
	if m.Shadow || !m.Interruptible(&m.Regs) {
		t.Error("not interruptible after STI; HLT")
	}
	m.done("fb")
	if !m.Interruptible(&m.Regs) {
		t.Error("STI with IF set holds interrupts back")
	}
	m.done("66 2e fa") // cli
	if m.IF || m.RFLAGS&flagIF == 0 {
		t.Errorf("after CLI: IF %v, RFLAGS %#x", m.IF, m.RFLAGS)
	}
	m.done("fb")
	m.RIP += 3 // instructions that did not trap
	if !m.Interruptible(&m.Regs) {
		t.Error("the shadow does not lapse")
	}
}

func TestInterruptFlagOfUser(t *testing.T) {
	m := newMachine(t)
	m.user()
	m.fails("fa", vectorGP, 0)
	m.fails("fb", vectorGP, 0)
	m.IOPL = 3
	m.done("fb")
	m.fails("f4", vectorGP, 0)
}

func TestPushf(t *testing.T) {
	m := newMachine(t)
	m.IF, m.IOPL = true, 2
	m.RFLAGS = flagOne | flagCF | flagRF
	m.done("9c")
	m.equal("RSP", m.RSP, atStack-8)
	m.equal("pushed", m.peek(m.RSP), flagOne|flagCF|flagIF|2<<12)
	m.IF = false
	m.done("66 9c")
	m.equal("RSP", m.RSP, atStack-10)
	m.equal("pushed", m.peek(m.RSP)&0xffff, flagOne|flagCF|2<<12)
	m.RSP = 0x8000_0000_0000 + 4
	m.fails("9c", vectorSS, 0)
	m.RSP = 0x90000
	if res := m.step("9c"); res.Exception == nil || res.Exception.Vector != vectorPF || res.Exception.CR2 != 0x90000-8 {
		t.Errorf("without a stack: %+v", res.Exception)
	}
}

func TestPopf(t *testing.T) {
	const all = 0xffff_ffff
	for _, c := range []struct {
		name      string
		cpl, iopl uint8
		code      string
		had, want uint64 // seen before, and after all ones
	}{
		{"kernel", 0, 0, "9d", 0, flagStatus | flagOne | flagTF | flagIF | flagDF | flagIOPL | flagNT | flagAC | flagID},
		{"kernel, 16 bits", 0, 0, "669d", flagAC | flagID, flagAC | flagID | flagStatus | flagOne | flagTF | flagIF | flagDF | flagIOPL | flagNT},
		{"user", 3, 0, "9d", 0, flagStatus | flagOne | flagTF | flagDF | flagNT | flagAC | flagID},
		{"user with IOPL", 3, 3, "9d", 0, flagStatus | flagOne | flagTF | flagIF | flagDF | 3<<12 | flagNT | flagAC | flagID},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.CPL, m.IOPL, m.RSP = c.cpl, c.iopl, atStack-8
			m.poke(m.RSP, all)
			m.RFLAGS |= c.had
			m.done(c.code)
			m.equal("flags", m.Flags(&m.Regs), c.want)
			m.equal("real IF and IOPL", m.RFLAGS&flagsOfOwner, flagIF)
		})
	}
}

func TestSingleStep(t *testing.T) {
	m := newMachine(t)
	m.RFLAGS |= flagTF
	if res := m.done("fa"); res.After == nil || res.After.Vector != vectorDB || m.DR[6]&dr6BS == 0 {
		t.Errorf("no #DB after CLI: %+v", res)
	}
	if res := m.step("cd 80"); res.After != nil || m.RFLAGS&flagTF != 0 {
		t.Errorf("INT: %+v, RFLAGS %#x", res, m.RFLAGS)
	}
	m.poke(m.RSP-8, flagTF)
	m.RSP -= 8
	if res := m.done("9d"); res.After != nil || m.RFLAGS&flagTF == 0 { // popf sets it: after the next
		t.Errorf("POPF: %+v, RFLAGS %#x", res, m.RFLAGS)
	}
	m.poke(m.RSP-8, 0)
	m.RSP -= 8
	if res := m.done("9d"); res.After == nil || m.RFLAGS&flagTF != 0 { // and clears it: still after this one
		t.Errorf("POPF: %+v, RFLAGS %#x", res, m.RFLAGS)
	}
}

func TestMonitorWait(t *testing.T) {
	m := newMachine(t)
	m.RAX = atData
	m.done("0f 01 c8")
	m.RAX = 0x90000
	m.fails("0f 01 c8", vectorPF, 0)
	m.RAX = 1 << 63
	m.fails("0f 01 c8", vectorGP, 0)
	if res := m.done("0f 01 c9"); !res.Halt || res.WakeMasked {
		t.Errorf("MWAIT: %+v", res)
	}
	m.RCX = 1
	if res := m.done("0f 01 c9"); !res.Halt || !res.WakeMasked {
		t.Errorf("MWAIT with ECX 1: %+v", res)
	}
	m.fails("0f 01 c8", vectorGP, 0)
	m.RCX = 2
	m.fails("0f 01 c9", vectorGP, 0)
}

func TestAlignmentFlag(t *testing.T) {
	m := newMachine(t)
	m.fails("0f 01 cb", vectorUD, 0) // stac, without SMAP
	m.CR4Offered |= cr4SMAP
	m.done("0f 01 cb")
	m.equal("AC", m.RFLAGS&flagAC, flagAC)
	m.done("0f 01 ca")
	m.equal("AC", m.RFLAGS&flagAC, 0)
	m.user()
	m.fails("0f 01 ca", vectorUD, 0)
}

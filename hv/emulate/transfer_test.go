package emulate

import "testing"

// frame puts an interrupt's frame on the stack.
func (m *machine) frame(values ...uint64) {
	m.RSP = atStack - 8*uint64(len(values))
	m.poke(m.RSP, values...)
}

// goes runs the bytes and wants RIP at an address.
func (m *machine) goes(code string, rip uint64) Result {
	m.t.Helper()
	res := m.step(code)
	if res.Exception != nil || res.Refused != "" {
		m.t.Fatalf("%s: exception %+v, refused %q", code, res.Exception, res.Refused)
	}
	m.equal("RIP", m.RIP, rip)
	return res
}

func TestReturnFromHandler(t *testing.T) {
	m := newMachine(t)
	m.frame(0x1000, kernelCS, flagIF|flagCF|flagRF|flagNT|flagVM, 0x5555, 0)
	m.goes("48 cf", 0x1000)
	m.equal("RSP", m.RSP, 0x5555)
	m.equal("SS", uint64(m.SS), 0)
	m.equal("flags", m.Flags(&m.Regs), flagOne|flagIF|flagCF|flagRF|flagNT)
	m.frame(0x1000, kernelCS, 0, 0, 0)
	m.fails("48 cf", vectorGP, 0) // NT

	m = newMachine(t)
	m.DS, m.ES, m.GS = kernelSS, userSS, conformingCS
	m.frame(0x1000, userCS, flagIF|3<<12, 0x5555, userSS)
	m.goes("48 cf", 0x1000)
	m.logged("cpl")
	if m.CPL != 3 || m.CS != userCS || m.SS != userSS || m.IOPL != 3 || !m.IF || m.DS != 0 || m.ES != userSS || m.GS != conformingCS {
		t.Errorf("%+v", m.CPU)
	}
	m.IOPL = 0
	m.frame(0x2000, userCS, 0, 0x5555, userSS)
	m.goes("48 cf", 0x2000)
	if !m.IF {
		t.Error("CPL 3 has cleared IF")
	}
	m.frame(0x2000, kernelCS, 0, 0x5555, kernelSS)
	m.fails("48 cf", vectorGP, kernelCS)

	m = newMachine(t)
	m.RSP = atStack - 24
	m.poke(m.RSP, 0x1000|kernelCS<<32, 0x77|0x6666<<32, 0) // iretd
	m.goes("cf", 0x1000)
	m.equal("RSP", m.RSP, 0x6666)
}

func TestReturnFromHandlerChecks(t *testing.T) {
	for _, c := range []struct {
		name         string
		rip, cs, ss  uint64
		vector, code uint64
	}{
		{"null CS", 0, 3, 0, vectorGP, 0},
		{"CS beyond", 0, 0xf00, 0, vectorGP, 0xf00},
		{"CS is data", 0, kernelSS, 0, vectorGP, kernelSS},
		{"RPL not DPL", 0, kernelCS | 3, userSS, vectorGP, kernelCS},
		{"RIP not canonical", 1 << 47, kernelCS, 0, vectorGP, 0},
		{"null SS at CPL 3", 0, userCS, 3, vectorGP, 0},
		{"null SS of another RPL", 0, kernelCS, 3, vectorGP, 0},
		{"SS of another RPL", 0, userCS, userSS &^ 3, vectorGP, userSS &^ 3},
		{"SS of another DPL", 0, userCS, kernelSS | 3, vectorGP, kernelSS},
		{"SS is code", 0, kernelCS, kernelCS, vectorGP, kernelCS},
		{"SS absent", 0, kernelCS, absentSS, vectorSS, absentSS},
		{"SS beyond", 0, kernelCS, 0xf00, vectorGP, 0xf00},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.frame(c.rip, c.cs, 0, 0, c.ss)
			m.fails("48 cf", uint8(c.vector), c.code)
			m.logged()
		})
	}
	m := newMachine(t)
	m.frame(0, narrowCS, 0, 0, 0)
	m.refuses("48 cf", "64-bit")
	m.RSP = 0x90000
	m.fails("48 cf", vectorPF, 0)
	m.poke(atGDT+kernelCS, seg(0, 0, 0x1a, 0, 0xa, false))
	m.frame(0, kernelCS, 0, 0, 0)
	m.fails("48 cf", vectorNP, kernelCS)
	m.poke(atGDT+kernelCS, seg(0, 0, 0x1a, 0, 0xe, true))
	m.fails("48 cf", vectorGP, kernelCS) // L and D
	m.poke(atGDT+kernelCS, seg(0, 0, 0x1e, 3, 0xa, true))
	m.frame(0, kernelCS, 0, 0, 0)
	m.fails("48 cf", vectorGP, kernelCS) // conforming, of a lower privilege
	m.poke(atGDT+kernelCS, seg(0, 0, 0x1a, 1, 0xa, true))
	m.frame(0, kernelCS|1, 0, 0, 0)
	m.refuses("48 cf", "CPL 1")
}

func TestFarTransfers(t *testing.T) {
	m := newMachine(t)
	m.RSP = atStack - 16
	m.poke(m.RSP, 0x1234, kernelCS)
	m.goes("48 ca 10 80", 0x1234)
	m.equal("RSP", m.RSP, atStack+0x8010)

	m = newMachine(t)
	m.RSP = atStack - 8
	m.poke(m.RSP, 0x1234|kernelCS<<32)
	m.goes("cb", 0x1234)
	m.frame(0, userCS)
	m.refuses("48 cb", "another CPL")
	m.frame(1<<47, kernelCS)
	m.fails("48 cb", vectorGP, 0)

	m = newMachine(t)
	m.RBX = atData
	m.poke(atData, handlers, conformingCS)
	m.goes("48 ff 2b", handlers) // ljmp
	m.equal("CS", uint64(m.CS), conformingCS)
	m = newMachine(t)
	m.RBX = atData
	m.poke(atData, 0x5555|kernelCS<<32)
	m.goes("ff 1b", 0x5555) // lcall m16:32
	m.equal("pushed", m.peek(m.RSP), atCode+2|kernelCS<<32)
	m.equal("RSP", m.RSP, atStack-8)

	m = newMachine(t)
	m.RBX = atData
	for _, c := range []struct{ selector, vector, code uint64 }{
		{0, vectorGP, 0}, {kernelSS, vectorGP, kernelSS}, {userCS, vectorGP, userCS &^ 3}, {kernelCS | 3, vectorGP, kernelCS}, {tssSelector, vectorGP, tssSelector},
	} {
		m.poke(atData, 0, c.selector)
		m.fails("48 ff 2b", uint8(c.vector), c.code)
		m.fails("48 ff 1b", uint8(c.vector), c.code)
	}
	m.poke(atData, 0, callGate)
	m.refuses("48 ff 1b", "call gates")
	m.poke(atData, 0, narrowCS)
	m.refuses("48 ff 2b", "64-bit")
	m.poke(atData, 1<<47, kernelCS)
	m.fails("48 ff 1b", vectorGP, 0)
}

func TestSyscall(t *testing.T) {
	m := newMachine(t)
	m.STAR, m.LSTAR, m.FMASK = kernelCS<<32|(userSS-11)<<48, handlers, flagIF|flagCF|flagOne|flagTF
	m.user()
	m.IF, m.RFLAGS = true, flagOne|flagCF|flagZF|flagTF
	if res := m.goes("0f 05", handlers); res.After != nil {
		t.Error("a single step though TF is masked")
	}
	m.equal("RCX", m.RCX, atCode+2)
	m.equal("R11", m.R11, flagOne|flagCF|flagZF|flagIF|flagTF)
	m.equal("flags", m.Flags(&m.Regs), flagOne|flagZF)
	if m.CPL != 0 || m.CS != kernelCS || m.SS != kernelSS {
		t.Errorf("%+v", m.CPU)
	}
	m.R11 = ^uint64(0)
	m.goes("48 0f 07", atCode+2)
	m.equal("flags", m.Flags(&m.Regs), 0x3c7fd7&^(flagVIF|flagVIP))
	if m.CPL != 3 || m.CS != (userSS-11+16)|3 || m.SS != userSS {
		t.Errorf("%+v", m.CPU)
	}
	m.logged("cpl", "cpl")
	m.fails("48 0f 07", vectorGP, 0)

	m = newMachine(t)
	m.RCX = 1 << 47
	m.fails("48 0f 07", vectorGP, 0)
	m.refuses("0f 07", "64-bit")
	m.fails("0f 34", vectorGP, 0)
	m.SysenterCS = 8
	m.refuses("0f 34", "SYSENTER")
	m.EFER &^= eferSCE
	m.fails("0f 05", vectorUD, 0)
	m.fails("48 0f 07", vectorUD, 0)
}

func TestSoftwareInterrupts(t *testing.T) {
	m := newMachine(t)
	m.IF, m.RFLAGS = true, flagOne|flagRF|flagCF
	m.goes("cd 80", handlers+0x80)
	if m.IF {
		t.Error("an interrupt gate leaves IF set")
	}
	for i, want := range []uint64{atCode + 2, kernelCS, flagOne | flagIF | flagCF, atStack, kernelSS} {
		m.equal("frame", m.peek(m.RSP+uint64(8*i)), want)
	}
	m.IF = true
	m.goes("cc", handlers+3)
	if !m.IF {
		t.Error("a trap gate clears IF")
	}
	m.goes("f1", handlers+1)
	m.RIP = atCode
	m.user()
	m.fails("cd 80", vectorGP, 0x80<<3|2)
	m.goes("cc", handlers+3)
	m.equal("RSP", m.RSP, atRSP0-40)
	m.IDT.Limit = 0x7ff
	m.fails("cd 80", vectorGP, 0x80<<3|2)
	m.fails("ce", vectorGP, 0x7777) // INTO is none
	m.setGate(9, kernelCS, typeInterrupt, 0, 0)
	m.poke(atGDT+kernelCS, seg(0, 0, 0x1a, 1, 0xa, true))
	m.user()
	m.setGate(9, kernelCS, typeInterrupt, 3, 0)
	m.refuses("cd 09", "CPL 1")
}

package emulate

import (
	"fmt"
	"testing"
)

func TestPorts(t *testing.T) {
	m := newMachine(t)
	m.RAX, m.RDX = 0x1122_3344_5566_7788, 0xffff_0000_0000_03f8
	for _, c := range []struct {
		code  string
		port  uint16
		write bool
		log   string
		rax   uint64
	}{
		{"e6 80", 0x80, true, "out 0x80 1 0x88", 0x1122_3344_5566_7788},
		{"66 e7 ff", 0xff, true, "out 0xff 2 0x7788", 0x1122_3344_5566_7788},
		{"48 e7 70", 0x70, true, "out 0x70 4 0x55667788", 0x1122_3344_5566_7788},
		{"ee", 0x3f8, true, "out 0x3f8 1 0x88", 0x1122_3344_5566_7788},
		{"66 ef", 0x3f8, true, "out 0x3f8 2 0x7788", 0x1122_3344_5566_7788},
		{"ec", 0x3f8, false, "in 0x3f8 1", 0x1122_3344_5566_7701},
		{"66 ed", 0x3f8, false, "in 0x3f8 2", 0x1122_3344_5566_0002},
		{"e5 c0", 0xc0, false, "in 0xc0 4", 3},
		{"e4 60", 0x60, false, "in 0x60 1", 4},
	} {
		res := m.done(c.code)
		if !res.IO || res.Port != c.port || res.Write != c.write {
			t.Errorf("%s: %+v", c.code, res)
		}
		m.logged(c.log)
		m.equal("RAX", m.RAX, c.rax)
	}
}

func TestPortsOfUser(t *testing.T) {
	m := newMachine(t)
	m.user()
	m.RDX = 0x3f8
	m.poke(atTSS+0x80+0x3f8/8, ^uint64(1)) // port 0x3f8 alone
	m.done("ee")
	m.done("ec")
	m.log = nil
	m.fails("66 ef", vectorGP, 0)
	m.fails("66 ed", vectorGP, 0)
	m.RDX = 0x3f9
	m.fails("ee", vectorGP, 0)
	m.fails("f3 6e", vectorGP, 0)
	m.RDX = 0xffff // beyond the limit
	m.fails("ec", vectorGP, 0)
	m.TSS.Limit = 0x80 + 0x3f8/8
	m.RDX = 0x3f8
	m.fails("ee", vectorGP, 0) // the map's last byte does not count
	m.TSS = Segment{}
	m.fails("ee", vectorGP, 0)
	m.logged()
	m.IOPL = 3
	m.done("ee")
}

func TestStringOutput(t *testing.T) {
	m := newMachine(t)
	m.poke(atData, 0x8877_6655_4433_2211)
	m.RDX, m.RSI = 0x3f8, atData
	m.done("6e")
	m.equal("RSI", m.RSI, atData+1)
	m.logged("out 0x3f8 1 0x11")
	m.RCX = 2
	m.done("f3 66 6f")
	m.logged("out 0x3f8 2 0x3322", "out 0x3f8 2 0x5544")
	m.equal("RSI", m.RSI, atData+5)
	m.equal("RCX", m.RCX, 0)
	m.done("f3 6e")
	m.logged()
	m.RCX, m.RFLAGS = 2, m.RFLAGS|flagDF
	m.done("f2 6e") // backwards
	m.logged("out 0x3f8 1 0x66", "out 0x3f8 1 0x55")
	m.equal("RSI", m.RSI, atData+3)

	m.RFLAGS &^= flagDF
	m.fs, m.RSI, m.RCX = atData, 0xdead_beef_0000_0000, 0xffff_0000_0000_0001
	m.done("f3 64 67 6f") // fs:[esi], ecx
	m.logged("out 0x3f8 4 0x44332211")
	m.equal("RSI", m.RSI, 4)
	m.equal("RCX", m.RCX, 0)
}

// A write of a console's line is one copy and one Step, and a long one does
// not hold the caller up.
func TestStringIsBounded(t *testing.T) {
	m := newMachine(t)
	m.RDX, m.RSI, m.RCX = 0x3f8, atData, 1000
	m.done("f3 6e")
	m.equal("reads", uint64(m.reads), 1)
	m.RSI, m.RCX = atData+100, maxIterations+7
	m.RIP = atCode
	if res := m.step("f3 6e"); res.Exception != nil || m.RIP != atCode {
		t.Fatalf("%+v, RIP %#x", res, m.RIP)
	}
	m.equal("RCX", m.RCX, 7)
	m.equal("RSI", m.RSI, atData+100+maxIterations)
	m.done("f3 6e")
	m.equal("RCX", m.RCX, 0)

	m.RSI, m.RCX, m.RIP = atData, 5, atCode
	m.RFLAGS |= flagTF
	if res := m.step("f3 6e"); res.After == nil || m.RIP != atCode || m.RCX != 4 {
		t.Errorf("single step: %+v, RIP %#x, RCX %d", res, m.RIP, m.RCX)
	}
}

func TestStringInput(t *testing.T) {
	m := newMachine(t)
	m.RDX, m.RDI, m.RCX = 0x1f0, atData+pageSize-1, 4 // an element across two pages
	m.fs = 0x5555                                     // INS has no override
	m.done("64 f3 66 6d")
	m.equal("memory", m.peek(atData+pageSize-1), 0x0004_0003_0002_0001)
	m.equal("RDI", m.RDI, atData+pageSize+7)

	m.log = nil
	m.RDI, m.RCX, m.RIP = atData+2*pageSize-4, 4, atCode // the second half is not there
	res := m.step("f3 66 6d")
	if res.Exception == nil || res.Exception.Vector != vectorPF || res.Exception.Error != pfWrite || m.RIP != atCode {
		t.Errorf("%+v, RIP %#x", res.Exception, m.RIP)
	}
	m.equal("RCX", m.RCX, 2)
	m.equal("RDI", m.RDI, atData+2*pageSize)
	m.logged("in 0x1f0 2", "in 0x1f0 2") // nothing was taken that could not be stored
	m.readOnly[atData/pageSize] = true
	m.RDI = atData
	if res = m.step("6c"); res.Exception == nil || res.Exception.Error != pfWrite|1 {
		t.Errorf("read-only: %+v", res.Exception)
	}
	m.logged()
	m.RDI = 1<<47 - 2
	if res = m.step("6d"); fmt.Sprint(res.Exception) != fmt.Sprint(gp(0)) {
		t.Errorf("not canonical: %+v", res.Exception)
	}
}

package emulate

import "testing"

func TestControlRegisters(t *testing.T) {
	m := newMachine(t)
	m.CR2, m.CR3 = 0x1234, 0x5000
	for _, c := range []struct {
		code string
		want uint64
	}{
		{"0f 20 c0", m.CR0}, {"0f 20 d0", 0x1234}, {"0f 20 d8", 0x5000}, {"0f 20 e0", m.CR4},
		{"0f 20 10", 0x1234}, // mod is ignored
		{"66 f3 0f 20 d0", 0x1234},
		{"48 66 0f 20 d0", 0x1234},
	} {
		m.RAX = ^uint64(0)
		m.done(c.code)
		m.equal(c.code, m.RAX, c.want)
	}
	m.tpr = 9
	m.done("45 0f 20 c7") // mov r15, cr8
	m.equal("R15", m.R15, 9)
	m.R15 = 3
	m.done("45 0f 22 c7")
	m.equal("TPR", uint64(m.tpr), 3)
	m.R15 = 16
	m.fails("45 0f 22 c7", vectorGP, 0)
	for _, code := range []string{"0f 20 c8", "0f 20 e8", "0f 22 f8", "44 0f 20 c8", "f0 0f 20 c0"} {
		m.fails(code, vectorUD, 0)
	}
	m.RAX = 0xdead
	m.done("0f 22 d0")
	m.equal("CR2", m.CR2, 0xdead)
	m.user()
	m.fails("0f 20 c0", vectorGP, 0)
	m.fails("0f 22 d8", vectorGP, 0)
}

func TestCR0(t *testing.T) {
	m := newMachine(t)
	was := m.CR0
	m.RAX = was &^ (cr0WP | cr0ET)
	m.done("0f 22 c0")
	m.equal("CR0", m.CR0, was&^cr0WP)
	m.logged("flush true")
	m.RAX = was | 1<<7 | 1<<32
	m.fails("0f 22 c0", vectorGP, 0)
	m.RAX = was | cr0NW
	m.fails("0f 22 c0", vectorGP, 0)
	m.RAX = was &^ cr0PE
	m.fails("0f 22 c0", vectorGP, 0)
	m.RAX = was &^ (cr0PE | cr0PG)
	m.refuses("0f 22 c0", "paging")
	m.RAX = was | cr0TS
	m.refuses("0f 22 c0", "TS")

	m.CR0 |= cr0TS
	m.done("0f 06")
	m.equal("TS", m.CR0&cr0TS, 0)
	m.RAX = cr0MP
	m.done("0f 01 f0") // lmsw ax
	m.equal("CR0", m.CR0, was&^cr0WP|cr0MP)
	m.RAX = ^uint64(0)
	m.done("0f 01 e0") // smsw eax
	m.equal("RAX", m.RAX, m.CR0)
	m.RAX = ^uint64(0)
	m.done("66 0f 01 e0")
	m.equal("RAX", m.RAX, ^uint64(0)&^0xffff|m.CR0&0xffff)
	m.user()
	m.done("0f 01 e0")
	m.fails("0f 01 f0", vectorGP, 0)
	m.fails("0f 06", vectorGP, 0)
}

func TestCR3AndCR4(t *testing.T) {
	m := newMachine(t)
	m.R8 = 0x7000 | 0x18
	m.done("41 0f 22 d8")
	m.equal("CR3", m.CR3, 0x7018)
	m.logged("flush false")
	m.R8 = 1 << 52
	m.fails("41 0f 22 d8", vectorGP, 0)

	m.RAX = m.CR4 | cr4PGE
	m.done("0f 22 e0")
	m.logged("flush true")
	m.RAX |= cr4OSFXSR
	m.done("0f 22 e0")
	m.equal("CR4", m.CR4, m.RAX)
	m.logged()
	m.RAX = m.CR4 | 1<<17 // PCIDE, not offered
	m.fails("0f 22 e0", vectorGP, 0)
	m.RAX = m.CR4 &^ cr4PAE
	m.fails("0f 22 e0", vectorGP, 0)
	m.RAX = m.CR4 | cr4TSD
	m.refuses("0f 22 e0", "TSD")
	m.RAX = m.CR4 &^ cr4OSXSAVE // which the processor would go on to have
	m.refuses("0f 22 e0", "OSXSAVE")
}

func TestDebugRegisters(t *testing.T) {
	m := newMachine(t)
	m.RAX = 0x1234
	m.done("0f 23 c0")
	m.equal("DR0", m.DR[0], 0x1234)
	m.RAX = 0
	m.done("0f 23 f0")
	m.done("0f 21 f0")
	m.equal("DR6", m.RAX, dr6One)
	m.RAX = 0x300
	m.done("0f 23 f8")
	m.done("0f 21 e9") // dr5 is dr7
	m.equal("DR7", m.RCX, 0x300|dr7One)
	m.RAX = 1
	m.refuses("0f 23 f8", "breakpoints")
	m.RAX = 1 << 32
	m.fails("0f 23 f8", vectorGP, 0)
	m.fails("44 0f 21 c0", vectorUD, 0) // dr8
	m.CR4 |= cr4DE
	m.fails("0f 21 e9", vectorUD, 0)
	m.user()
	m.fails("0f 21 c0", vectorGP, 0)
}

func TestInvalidate(t *testing.T) {
	m := newMachine(t)
	m.RBX, m.RSI = 0x10000, 0x10
	m.done("0f 01 7c b3 f8") // invlpg [rbx+rsi*4-8]
	m.logged("invlpg 0x10038")
	m.done("0f 01 3d 00 01 00 00") // invlpg [rip+0x100]
	m.logged("invlpg 0x40010c")
	m.gs = 0x2000
	m.done("65 67 0f 01 bb ff ff ff ff") // invlpg gs:[ebx-1]
	m.logged("invlpg 0x11fff")
	m.gs, m.RBX = 0, 4
	m.done("67 0f 01 7b f8") // invlpg [ebx-8]
	m.logged("invlpg 0xfffffffc")
	m.RBX = 1 << 62
	m.done("0f 01 3b")
	m.logged()
	for _, code := range []string{"0f 08", "0f 09", "f3 0f 09"} {
		m.done(code)
	}
	m.user()
	m.fails("0f 01 3b", vectorGP, 0)
	m.fails("0f 09", vectorGP, 0)
}

func TestXSETBV(t *testing.T) {
	m := newMachine(t)
	m.RAX = 7
	m.done("0f 01 d1")
	m.RAX = 3
	m.refuses("0f 01 d1", "XCR0")
	for _, v := range []uint64{0, 6, 5, 15} {
		m.RAX = v
		m.fails("0f 01 d1", vectorGP, 0)
	}
	m.RAX, m.RCX = 7, 1
	m.fails("0f 01 d1", vectorGP, 0)
	m.CR4 &^= cr4OSXSAVE
	m.fails("0f 01 d1", vectorUD, 0)
}

package proc

import (
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// TestCall: a call changes what the host changes, and nothing else.
func TestCall(t *testing.T) {
	m := newTestMachine(t, asm{}.set(rbx, 11).set(rbp, 12).call(99).raw(0xeb, 0xfc))
	r := m.Regs()
	*r = engine.Regs{RIP: textAt, RSP: dataAt + pageSize, RFLAGS: 2 | 1<<10 | 1, RCX: 1, RDX: 2, RSI: 3, RDI: 4, R8: 5, R9: 6, R10: 7, R12: 8, R13: 9, R14: 10, R15: 1 << 63}
	m.SetBases(dataAt, 1<<46)
	want := *r
	want.RFLAGS |= 1 << 9 // interrupts are on, for whoever looks
	if e := m.out(t); e.Reason != engine.Hypercall {
		t.Fatal(e)
	}
	want.RAX, want.RBX, want.RBP, want.R11 = 99, 11, 12, uint64(hypercall.HypercallGVA)
	want.RIP, want.RSP = uint64(hypercall.HypercallGVA)+pageReturn, want.RSP-8
	if got := *m.Regs(); got != want {
		t.Errorf("got\n%v, want\n%v", &got, &want)
	}
	if fs, gs := m.Bases(); fs != dataAt || gs != 1<<46 {
		t.Errorf("bases %#x, %#x", fs, gs)
	}
}

// TestExceptions: signals are the exceptions that they were.
func TestExceptions(t *testing.T) {
	for _, test := range []struct {
		name   string
		code   asm
		vector uint8
		code64 uint64
		cr2    uint64
		rip    uint64
	}{
		{"UD2", asm{}.raw(0x0f, 0x0b), 6, 0, 0, textAt},
		{"divide by zero", asm{}.raw(0x31, 0xc9, 0xf7, 0xf1), 0, 0, 0, textAt + 2},
		{"INT3", asm{}.raw(0xcc), 3, 0, 0, textAt + 1},
		{"HLT", asm{}.raw(0xf4), 13, 0, 0, textAt},
		{"IN", asm{}.raw(0xec), 13, 0, 0, textAt},
		{"read nothing", asm{}.raw(0x8b, 0x04, 0x25, 0, 0, 0, 1), 14, 4, 0x1000000, textAt},
		{"write text", asm{}.raw(0x89, 0x04, 0x25, 0, 0, 0x40, 0), 14, 7, textAt, textAt},
		{"execute data", asm{}.jump(dataAt), 14, 0x15, dataAt, dataAt},
		{"upper half", asm{}.set(r11, 0xffff_8000_0000_0000).raw(0x49, 0x8b, 0x03), 14, 4, 0xffff_8000_0000_0000, textAt + 10},
		{"no canonical address", asm{}.set(r11, 1<<62).raw(0x49, 0x8b, 0x03), 13, 0, 0, textAt + 10},
		{"single step", asm{}.raw(0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0x90, 0x90), 1, 0, 0, textAt + 8}, // set TF; nop
	} {
		m := newTestMachine(t, test.code)
		e := m.out(t)
		if e.Reason != engine.Exception || e.Vector != test.vector || e.Error != test.code64 || e.CR2 != test.cr2 || m.Regs().RIP != test.rip {
			t.Errorf("%s: %v, vector %d, error %#x, CR2 %#x at %#x %s", test.name, e.Reason, e.Vector, e.Error, e.CR2, m.Regs().RIP, e.Detail)
		}
	}
}

// TestKick: no kick is lost, whenever it comes: without a tick, a Run that missed one
// would not end.
func TestKick(t *testing.T) {
	// Calls in a loop with some turns of another in between.
	loop := asm{}.set(rax, 99).set(r11, uint64(hypercall.HypercallGVA)).raw(0x41, 0xff, 0xd3, 0xb9, 0, 1, 0, 0, 0xff, 0xc9, 0x75, 0xfc)
	loop = loop.raw(0xeb, byte(-len(loop)-2))
	for name, code := range map[string]asm{"calls": loop, "spin": asm{}.spin(), "exceptions": asm{}.raw(0x0f, 0x0b)} {
		t.Run(name, func(t *testing.T) {
			m := newTestMachine(t, code)
			for i := range 300 {
				kicked := make(chan struct{})
				time.AfterFunc(time.Duration(i%50)*3*time.Microsecond, func() { m.Kick(); close(kicked) })
				for {
					e, err := m.Run()
					if err != nil {
						t.Fatal(err)
					}
					if e.Reason == engine.Interrupted {
						break
					}
				}
				<-kicked
				m.kicked.Store(false)
			}
		})
	}
}

// TestInvalidate: a page that was taken away, protected or exchanged is not what it
// was. Without invalidate it would be.
func TestInvalidate(t *testing.T) {
	read := asm{}.set(r11, dataAt).raw(0x4d, 0x8b, 0x23).call(1) // mov r12, [r11]
	m := newTestMachine(t, read)
	file, err := unix.Mmap(m.Machine.(*Machine).mem.File, 0, guestFrames*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(file)
	file[4*pageSize], file[5*pageSize] = 4, 5
	look := func(want uint64) {
		t.Helper()
		m.Regs().RIP, m.Regs().RSP = textAt, dataAt+2*pageSize
		if e := m.out(t); e.Reason != engine.Hypercall || m.Regs().R12 != want {
			t.Fatalf("%v, vector %d: %d, want %d", e.Reason, e.Vector, m.Regs().R12, want)
		}
	}
	root := uint64(m.tables.root)
	look(4)
	m.place(root, dataAt, 5, ptePresent|pteUser|pteNX)
	m.Machine.(*Machine).Invalidate(engine.MemoryBase+4*pageSize, 1)
	look(5)
	m.place(root, dataAt, 0, 0)
	m.Machine.(*Machine).Invalidate(engine.MemoryBase+5*pageSize, 1)
	m.Regs().RIP = textAt
	if e := m.out(t); e.Reason != engine.Exception || e.CR2 != dataAt {
		t.Fatalf("%v: %+v", e.Reason, e)
	}
	m.place(root, dataAt, 4, ptePresent|pteUser|pteNX) // as a page that was faulted in
	look(4)
	m.place(root, dataAt, 5, ptePresent|pteUser|pteNX)
	m.ForgetTranslations()
	look(5)
}

// TestManyMappings: more mappings than a process may have are made, one after the other.
func TestManyMappings(t *testing.T) {
	m := newTestMachine(t, asm{}.set(rbx, 11).call(1))
	tlb := m.Machine.(*Machine).tlb
	tlb.maps = maxMaps + 1
	if e := m.out(t); e.Reason != engine.Hypercall || tlb.maps > 100 {
		t.Errorf("%v %s, %d mappings", e.Reason, e.Detail, tlb.maps)
	}
}

// TestClosed: nothing is left of a machine.
func TestClosed(t *testing.T) {
	newTestMachine(t, nil) // what is made once
	before := children(t)
	for range 20 {
		newTestMachine(t, asm{}.spin()).Machine.Close()
	}
	if n := children(t); n > before {
		t.Errorf("%d processes more", n-before)
	}
}

// TestNotLockedDown: a child that cannot be locked down runs nothing.
func TestNotLockedDown(t *testing.T) {
	m := newTestMachine(t, asm{}.spin())
	c, err := startChild(m.Machine.(*Machine).mem.File)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.run([]command{{unix.SYS_SECCOMP, 99}}); err == nil {
		t.Error("no error")
	}
}

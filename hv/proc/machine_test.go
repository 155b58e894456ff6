package proc

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// A machine of a few pages: code at textAt, data at dataAt, the hypercall page, and
// page tables behind them, out of the guest's reach.
const (
	textAt, dataAt = 0x400000, 0x600000

	guestFrames = 16 // the last is the hypercall page
	tableFrames = 16
)

// testMachine is one, with its vCPU at the beginning of the code.
type testMachine struct {
	engine.Machine
	*VCPU
	data []byte
	next uint64 // frame for a table
}

func newTestMachine(t testing.TB, code []byte) *testMachine {
	t.Helper()
	fd, err := memfd("pvrun-memory", 0)
	if err != nil {
		t.Fatal(err)
	}
	m := &testMachine{next: guestFrames}
	const shared, all = guestFrames * pageSize, (guestFrames + tableFrames) * pageSize
	if err := unix.Ftruncate(fd, shared); err != nil {
		t.Fatal(err)
	}
	file, err := unix.Mmap(fd, 0, shared, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	// The engine wants one slice: a file's mapping over the first part of another.
	if m.data, err = unix.Mmap(-1, 0, all, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		t.Fatal(err)
	}
	copy(file, code)
	Engine.HypercallPage(file[(guestFrames-1)*pageSize:])
	root := m.table()
	for i := range uint64(4) {
		m.place(root, textAt+i*pageSize, i, ptePresent|pteUser)
	}
	for i := uint64(4); i < guestFrames-1; i++ {
		m.place(root, dataAt+(i-4)*pageSize, i, ptePresent|pteUser|pteWrite|pteNX)
	}
	m.place(root, uint64(hypercall.HypercallGVA), guestFrames-1, ptePresent|pteUser)
	if m.Machine, err = Engine.New(engine.Memory{Data: m.data, File: fd, Shared: shared}); err != nil {
		t.Fatal(err)
	}
	v, err := m.NewVCPU(0, engine.Boot{Root: hypercall.GPA(root), HostTSC: rdtsc})
	if err != nil {
		t.Fatal(err)
	}
	m.VCPU = v.(*VCPU)
	m.Regs().RIP, m.Regs().RSP = textAt, dataAt+2*pageSize
	t.Cleanup(func() {
		if err := m.Machine.Close(); err != nil {
			t.Error(err)
		}
		unix.Munmap(file)
		unix.Munmap(m.data)
		unix.Close(fd)
	})
	return m
}

// table takes a frame for a page table, and is its physical address.
func (m *testMachine) table() uint64 {
	m.next++
	return uint64(engine.MemoryBase) + (m.next-1)*pageSize
}

// place maps a frame.
func (m *testMachine) place(root, a, f, bits uint64) {
	at := root
	entry := func(shift int) []byte { return m.data[at-uint64(engine.MemoryBase)+a>>shift&511*8:] }
	for shift := 39; shift > 12; shift -= 9 {
		e := entry(shift)
		if binary.LittleEndian.Uint64(e) == 0 {
			binary.LittleEndian.PutUint64(e, m.table()|ptePresent|pteWrite|pteUser)
		}
		at = binary.LittleEndian.Uint64(e) & pteAddr
	}
	binary.LittleEndian.PutUint64(entry(12), uint64(engine.MemoryBase)+f*pageSize|bits)
}

// out runs the guest until something happens, but for interruptions. What does not end
// is ended.
func (m *testMachine) out(t testing.TB) engine.Exit {
	t.Helper()
	m.SetTick(10*time.Millisecond, 10*time.Millisecond)
	for begin := time.Now(); time.Since(begin) < 30*time.Second; {
		e, err := m.Run()
		if err != nil {
			t.Fatal(err)
		}
		if e.Reason != engine.Interrupted {
			return e
		}
	}
	t.Fatal("the guest goes on")
	return engine.Exit{}
}

// asm is guest code in bytes.
type asm []byte

func (a asm) raw(b ...byte) asm { return append(a, b...) }

// set is MOV r64, imm64; registers are numbered as in instructions.
func (a asm) set(reg byte, v uint64) asm {
	return binary.LittleEndian.AppendUint64(a.raw(0x48|reg>>3, 0xb8|reg&7), v)
}

// Numbers of registers.
const (
	rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi = 0, 1, 2, 3, 4, 5, 6, 7
	r8, r9, r10, r11                       = 8, 9, 10, 11
)

// jump goes to an address by R11.
func (a asm) jump(to uint64) asm { return a.set(r11, to).raw(0x41, 0xff, 0xe3) }

// call is a hypercall with a number.
func (a asm) call(n uint64) asm {
	return a.set(rax, n).set(r11, uint64(hypercall.HypercallGVA)).raw(0x41, 0xff, 0xd3)
}

func (a asm) spin() asm { return a.raw(0xeb, 0xfe) }

// stubCall makes a system call by the stub's own instruction.
func (a asm) stubCall(n uint64, args ...uint64) asm {
	for i, v := range args {
		a = a.set([]byte{rdi, rsi, rdx, r10, r8, r9}[i], v)
	}
	at := slices.Index(stubCode()[stubPublish:], 0x0f)
	for code := stubCode()[stubPublish:]; code[at+1] != 0x05; {
		at += 1 + slices.Index(code[at+1:], 0x0f)
	}
	return a.set(rax, n).jump(stubAt + stubPublish + uint64(at))
}

// children counts this process's.
func children(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children")
	if err != nil {
		t.Fatal(err)
	}
	return len(strings.Fields(string(text)))
}

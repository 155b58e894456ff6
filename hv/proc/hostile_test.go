package proc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
	"golang.org/x/sys/unix"
)

// wantGone demands that the machine ended, for a reason with part in it.
func wantGone(t *testing.T, e engine.Exit, part string) {
	t.Helper()
	if e.Reason != engine.Internal || !strings.Contains(e.Detail, part) {
		t.Errorf("%v (vector %d): %q, want …%s…", e.Reason, e.Vector, e.Detail, part)
	}
}

// TestSystemCalls: guest code's own SYSCALL is exception 6 at the instruction, whatever
// its number.
func TestSystemCalls(t *testing.T) {
	m := newTestMachine(t, asm{}.raw(0x0f, 0x05))
	numbers := []uint64{0x40000000, 0x40000000 | unix.SYS_MMAP, 1 << 32, ^uint64(0), 0x7fffffff}
	for n := range uint64(600) {
		// uretprobe and uprobe are not shown to seccomp. They do nothing where the kernel
		// has not put them: SIGILL, and ENXIO.
		if n != 335 && n != 336 {
			numbers = append(numbers, n)
		}
	}
	for _, n := range numbers {
		r := m.Regs()
		r.RAX, r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9 = n, dataAt, 64, 1, 0x11, 0, 0
		r.RBX = 0x1234
		e := m.out(t)
		if e.Reason != engine.Exception || e.Vector != vectorInvalid || r.RIP != textAt || r.RAX != n || r.RBX != 0x1234 {
			t.Fatalf("system call %#x: %v, vector %d (%s) at %#x", n, e.Reason, e.Vector, e.Detail, r.RIP)
		}
	}
}

// TestOtherGates: the other ways into the kernel lead nowhere either.
func TestOtherGates(t *testing.T) {
	for _, test := range []struct {
		name string
		code asm
	}{
		{"int 0x80", asm{}.set(rax, 4).set(rbx, 2).set(rcx, dataAt).set(rdx, 4).raw(0xcd, 0x80)},
		{"SYSENTER", asm{}.set(rax, 4).set(rbp, dataAt).raw(0x0f, 0x34)},
		{"int 0x80 in 32-bit code", asm{}.raw(0x6a, 0x23, 0x68, 9, 0, 0x40, 0, 0x48, 0xcb, 0xb8, 1, 0, 0, 0, 0xcd, 0x80)}, // push 0x23; push 0x400009; retf
		{"SYSENTER in 32-bit code", asm{}.raw(0x6a, 0x23, 0x68, 9, 0, 0x40, 0, 0x48, 0xcb, 0xb8, 1, 0, 0, 0, 0x0f, 0x34)},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newTestMachine(t, test.code).out(t)
			if e.Reason != engine.Exception && e.Reason != engine.Internal {
				t.Errorf("%v: %s", e.Reason, e.Detail)
			}
		})
	}
	for _, at := range []uint64{0, 0x400, 0x800} {
		m := newTestMachine(t, asm{}.set(r11, 0xffff_ffff_ff60_0000+at).raw(0x41, 0xff, 0xd3))
		e := m.out(t)
		if e.Reason != engine.Exception || e.Vector != vectorPageFault || e.CR2 != 0xffff_ffff_ff60_0000+at || m.Regs().RIP != e.CR2 {
			t.Errorf("vsyscall %#x: %v, vector %d, CR2 %#x, %s", at, e.Reason, e.Vector, e.CR2, e.Detail)
		}
	}
}

// TestStubCalls: who jumps to the stub's SYSCALL instruction gets no further.
func TestStubCalls(t *testing.T) {
	const rw, x = unix.PROT_READ | unix.PROT_WRITE, unix.PROT_EXEC
	list := []struct {
		name string
		args []uint64
	}{
		{"map executable and writable", []uint64{unix.SYS_MMAP, dataAt, pageSize, rw | x, mapFlags, 0, 0}},
		{"map with a protection's upper half", []uint64{unix.SYS_MMAP, dataAt, pageSize, 1<<32 | 1, mapFlags, 0, 0}},
		{"map with flags' upper half", []uint64{unix.SYS_MMAP, dataAt, pageSize, 1, 1<<32 | mapFlags, 0, 0}},
		{"map anonymous memory", []uint64{unix.SYS_MMAP, dataAt, pageSize, rw, mapFlags | unix.MAP_ANONYMOUS, 0, 0}},
		{"map privately", []uint64{unix.SYS_MMAP, dataAt, pageSize, rw, unix.MAP_PRIVATE | unix.MAP_FIXED, 0, 0}},
		{"map anywhere", []uint64{unix.SYS_MMAP, 0, pageSize, rw, unix.MAP_SHARED, 0, 0}},
		{"map growing down", []uint64{unix.SYS_MMAP, dataAt, pageSize, rw, mapFlags | unix.MAP_GROWSDOWN, 0, 0}},
		{"map another descriptor", []uint64{unix.SYS_MMAP, dataAt, pageSize, rw, mapFlags, 1, 0}},
		{"map over the stub", []uint64{unix.SYS_MMAP, stubAt, pageSize, rw, mapFlags, 0, 0}},
		{"map over the control page", []uint64{unix.SYS_MMAP, controlAt, pageSize, rw, mapFlags, 0, 0}},
		{"map up to the stub", []uint64{unix.SYS_MMAP, guestEnd - pageSize, 1 << 32, rw, mapFlags, 0, 0}},
		{"map the upper half", []uint64{unix.SYS_MMAP, 1 << 63, pageSize, rw, mapFlags, 0, 0}},
		{"map far beyond the file", []uint64{unix.SYS_MMAP, dataAt, pageSize, rw, mapFlags, 0, 1 << 40}},
		{"unmap the stub", []uint64{unix.SYS_MUNMAP, stubAt, pageSize}},
		{"unmap all", []uint64{unix.SYS_MUNMAP, 0, taskEnd}},
		{"unmap nearly all", []uint64{unix.SYS_MUNMAP, pageSize, guestEnd}},
		{"protect", []uint64{unix.SYS_MPROTECT, textAt, pageSize, rw}},
		{"wait elsewhere", []uint64{unix.SYS_FUTEX, dataAt, 0, 0}},
		{"requeue", []uint64{unix.SYS_FUTEX, controlAt, 3, 0}},
		{"wait for another's", []uint64{unix.SYS_FUTEX, 1<<63 | controlAt, 0, 0}},
		{"x32", []uint64{0x40000000 | unix.SYS_MUNMAP, dataAt, pageSize}},
	}
	for _, n := range []uint64{unix.SYS_READ, unix.SYS_WRITE, unix.SYS_OPEN, unix.SYS_OPENAT, unix.SYS_EXECVE, unix.SYS_CLONE, unix.SYS_FORK, unix.SYS_CLONE3,
		unix.SYS_SOCKET, unix.SYS_PTRACE, unix.SYS_KILL, unix.SYS_PRCTL, unix.SYS_ARCH_PRCTL, unix.SYS_IO_URING_SETUP, unix.SYS_BPF, unix.SYS_MREMAP,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_FTRUNCATE, unix.SYS_DUP, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_USERFAULTFD, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, 1 << 20} {
		list = append(list, struct {
			name string
			args []uint64
		}{fmt.Sprint("system call ", n), []uint64{n, 0, 0, 0}})
	}
	for _, test := range list {
		t.Run(test.name, func(t *testing.T) {
			m := newTestMachine(t, asm{}.stubCall(test.args[0], test.args[1:]...))
			wantGone(t, m.out(t), "not allowed")
		})
	}
}

// word stores a value at an address.
func (a asm) word(at, v uint64) asm { return a.set(rax, v).set(r11, at).raw(0x49, 0x89, 0x03) }

// byStub makes a system call that the stub may make, and goes on at next: a hostile
// guest has the stub leave as it likes.
func (a asm) byStub(next uint64, n uint64, args ...uint64) asm {
	a = a.word(controlAt+ctlCommands, 0).word(controlAt+ctlKicked, 0).word(controlAt+regRIP, next).word(controlAt+regRSP, dataAt+pageSize)
	return a.raw(0x4d, 0x31, 0xed).set(rbx, controlAt).stubCall(n, args...) // xor r13, r13
}

// TestOwnMemory: what the filter allows leads to the guest's own memory and no further.
func TestOwnMemory(t *testing.T) {
	const hole = 0x10_0000_0000
	next := asm{}.set(r11, hole).raw(0x4d, 0x8b, 0x23).call(7) // mov r12, [r11]
	code := asm{}.byStub(textAt+1024, unix.SYS_MMAP, hole, pageSize, unix.PROT_READ, mapFlags, 0, 0)
	if len(code) > 1024 {
		t.Fatal(len(code))
	}
	code = append(append(code, make([]byte, 1024-len(code))...), next...)
	m := newTestMachine(t, code)
	if e := m.out(t); e.Reason != engine.Hypercall || m.Regs().RAX != 7 || m.Regs().R12 != binary.LittleEndian.Uint64(code) {
		t.Fatalf("%v %q at %#x: %#x", e.Reason, e.Detail, m.Regs().RIP, m.Regs().R12)
	}
	// A page beyond the file is no memory.
	code = asm{}.byStub(textAt+1024, unix.SYS_MMAP, hole, pageSize, unix.PROT_READ, mapFlags, 0, guestFrames*pageSize)
	code = append(append(code, make([]byte, 1024-len(code))...), next...)
	m = newTestMachine(t, code)
	if e := m.out(t); e.Reason != engine.Exception || e.Vector != vectorPageFault || e.CR2 != hole {
		t.Fatalf("%v, vector %d, %q", e.Reason, e.Vector, e.Detail)
	}
}

// TestGarbage: a guest that writes anything into the control page ends, or is asked to
// do things that it does or does not do.
func TestGarbage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		v := random.Uint64() >> (i % 64)
		code := asm{}.set(rdi, controlAt).set(rcx, 0x800).set(rax, v).raw(0xf3, 0x48, 0xab) // rep stosq
		switch i % 3 {
		case 0:
			code = code.spin()
		case 1:
			code = code.call(1)
		case 2:
			code = code.jump(stubAt + uint64(random.IntN(stubSize)))
		}
		m := newTestMachine(t, code)
		m.SetTick(10*time.Millisecond, 10*time.Millisecond)
		for range 20 {
			if e, err := m.Run(); err != nil || e.Reason == engine.Internal {
				break
			}
		}
	}
}

// TestHeldBack: a guest that holds signals back by a frame of its own to return from is
// ended when it does not come out.
func TestHeldBack(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	patience = 300 * time.Millisecond
	var frame bytes.Buffer // struct ucontext
	words := make([]uint64, 38)
	words[0] = 6 // SS is there, and right
	cs, ss := selectors()
	words[ucRIP/8], words[ucRSP/8], words[ucRFLAGS/8], words[ucSegments/8] = textAt+1024, dataAt+pageSize, 2, cs|ss<<48
	words[37] = ^uint64(0) // the mask
	_ = binary.Write(&frame, binary.LittleEndian, words)
	code := asm{}.set(rsp, textAt+2048).stubCall(unix.SYS_RT_SIGRETURN)
	code = append(append(code, make([]byte, 1024-len(code))...), asm{}.spin()...)
	code = append(append(code, make([]byte, 2048-len(code))...), frame.Bytes()...)
	wantGone(t, newTestMachine(t, code).out(t), "interrupted")
}

// TestKilled: a child that is killed from outside ends its machine, with a word why.
func TestKilled(t *testing.T) {
	m := newTestMachine(t, asm{}.spin())
	time.AfterFunc(20*time.Millisecond, func() { syscall.Kill(m.c.pid, syscall.SIGKILL) })
	wantGone(t, m.out(t), "signal: killed")
	if e := m.out(t); e.Reason != engine.Internal {
		t.Errorf("again: %v", e.Reason)
	}
}

// TestOutsideSignals: other signals from outside change nothing.
func TestOutsideSignals(t *testing.T) {
	m := newTestMachine(t, asm{}.spin())
	for _, s := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGUSR1} {
		time.AfterFunc(5*time.Millisecond, func() { syscall.Kill(m.c.pid, s) })
		for range 5 {
			if e, err := m.Run(); err != nil || e.Reason != engine.Interrupted {
				t.Errorf("%v: %v %d %s", s, e.Reason, e.Vector, e.Detail)
			}
			m.SetTick(10*time.Millisecond, 10*time.Millisecond)
		}
	}
}

// TestLockedDown looks at the child from outside.
func TestLockedDown(t *testing.T) {
	m := newTestMachine(t, asm{}.spin())
	proc := func(name string) string {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(m.c.pid) + "/" + name)
		if err != nil {
			t.Skip(err)
		}
		return string(b)
	}
	for line := range strings.Lines(proc("maps")) {
		var lo, hi uint64
		fmt.Sscanf(line, "%x-%x", &lo, &hi)
		if (lo < stubAt || hi > stubEnd) && !strings.Contains(line, "[vsyscall]") {
			t.Errorf("mapped: %s", line)
		}
	}
	status := proc("status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "SigBlk:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "Threads:\t1"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	list, err := os.ReadDir("/proc/" + strconv.Itoa(m.c.pid) + "/fd")
	if err != nil || len(list) != 1 || list[0].Name() != "0" {
		t.Errorf("descriptors %v, %v", list, err)
	}
}

// TestNoHostAddresses: nothing that the child shares with the host says where the host
// has anything.
func TestNoHostAddresses(t *testing.T) {
	m := newTestMachine(t, asm{}.call(1).raw(0x0f, 0x0b))
	m.out(t)
	m.out(t)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	type span struct{ lo, hi uint64 }
	var spans []span
	for line := range strings.Lines(string(maps)) {
		var s span
		if fmt.Sscanf(line, "%x-%x", &s.lo, &s.hi); s.lo >= 1<<36 && s.hi-s.lo < 1<<40 { // smaller ones are numbers; the race detector has larger
			spans = append(spans, s)
		}
	}
	for at := 0; at+8 <= len(m.c.ctl.b); at += 8 {
		v := binary.LittleEndian.Uint64(m.c.ctl.b[at:])
		for _, s := range spans {
			if v >= s.lo && v < s.hi && (v < stubAt || v >= stubEnd) {
				t.Errorf("control page, offset %#x: %#x", at, v)
			}
		}
	}
}

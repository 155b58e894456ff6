package kvm

import (
	"encoding/binary"
	"os"
	"runtime"
	"testing"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(need.Main(m)) }

// Where the machine of a test has its code and the end of its stack.
const (
	codeGVA  = 4 << 20
	stackGVA = codeGVA + 2*hypercall.PageSize
)

// newMachine makes a machine that has nothing but code, a page of stack, the system
// pages and page tables. Its thread is the test's until the end.
func newMachine(t *testing.T, code []byte) *VCPU {
	need.KVM(t)
	need.Count(1)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	const pages, codePage, systemPage = 16, 7, 9
	mem, err := unix.Mmap(-1, 0, pages*hypercall.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	gpa := func(page int) uint64 { return uint64(engine.MemoryBase) + uint64(page)*hypercall.PageSize }
	const present, write, user, used = 1, 2, 4, 0x60
	put := func(table, i, page int, bits uint64) {
		binary.LittleEndian.PutUint64(mem[table*hypercall.PageSize+8*i:], gpa(page)|bits|present|write)
	}
	put(0, 0, 1, user)
	put(1, 0, 2, user)
	put(2, codeGVA>>21, 3, user)
	put(3, 0, codePage, user|used)
	put(3, 1, codePage+1, user|used)
	put(0, 256, 4, 0) // SystemGVA
	put(4, 0, 5, 0)
	put(5, 0, 6, 0)
	for i := range SystemPages {
		put(6, i, systemPage+i, used)
	}
	copy(mem[codePage*hypercall.PageSize:], code)
	vm, err := New(mem)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Close() })
	system := mem[systemPage*hypercall.PageSize:][:SystemPages*hypercall.PageSize]
	cpu, err := vm.NewVCPU(0, engine.Boot{Root: hypercall.GPA(gpa(0)), System: system, HostTSC: func() uint64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	v := cpu.(*VCPU)
	t.Cleanup(func() { v.Close() })
	v.Regs().RIP, v.Regs().RSP = codeGVA, stackGVA
	v.RegsChanged()
	return v
}

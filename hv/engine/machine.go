package engine

import (
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// MemoryBase is where a machine's memory begins on its physical bus: above
// everything that legacy and KVM's own pages claim below 4 GiB.
const MemoryBase hypercall.GPA = 1 << 32

// SystemGVA is the first address of the kernel half. An engine's system pages are
// there, for the supervisor alone.
const SystemGVA uint64 = 0xffff_8000_0000_0000

// Engine makes machines. Its methods may be called from any goroutine.
type Engine interface {
	// Name is how flags and statistics call it.
	Name() string
	// SharedMemory says whether Memory has to have a file.
	SharedMemory() bool
	// SystemPages is how many pages, mapped at SystemGVA, each machine's processor
	// wants for itself; SystemPageExecutable says which of them hold code.
	SystemPages() int
	SystemPageExecutable(i int) bool
	// HypercallPage fills the page that guest code calls.
	HypercallPage(b []byte)
	// New creates a machine. The error is an *UnavailableError where the host cannot.
	New(mem Memory) (Machine, error)
}

// Memory is what an engine is given as a machine's memory. It belongs to the caller,
// who keeps it until the machine is closed.
type Memory struct {
	Data []byte // begins at MemoryBase

	// With Engine.SharedMemory, the first Shared bytes are those of a file in memory,
	// which guest code can reach whatever page tables say. What the host relies on,
	// page tables above all, is behind them.
	File   int
	Shared int
}

// Machine is one machine of an engine's.
type Machine interface {
	// NewVCPU adds a vCPU, which is closed before the machine.
	NewVCPU(id int, boot Boot) (VCPU, error)
	// PhysBits is how many bits a physical address has.
	PhysBits() int
	// ForgetTranslations makes vCPUs forget everything that they know of translated
	// addresses. No Run may be under way.
	ForgetTranslations() error
	// Doorbell has hypercalls whose number is call, modulo 256, end in the host's
	// kernel, which adds 1 to the eventfd. After an error they exit as before.
	Doorbell(eventfd int, call uint8) error
	// AddMemory gives the machine more memory, in a slot from 1 on; mem stays mapped
	// until the machine is closed, whatever of it can be touched.
	AddMemory(slot int, at hypercall.GPA, mem []byte) error
	Close() error
}

// Invalidator is a Machine that does not learn from the host's own mappings what its
// vCPUs have to forget.
type Invalidator interface {
	// Invalidate makes vCPUs forget translations to n pages of the machine's memory.
	// No Run may be under way.
	Invalidate(at hypercall.GPA, n int) error
}

// Ticker is a VCPU that has guest code come out at times by itself. Others are sent a
// signal.
type Ticker interface {
	// SetTick has Run return Interrupted after first, and every so often from then on;
	// 0 and 0 for not at all, before the thread that calls Run does something else.
	SetTick(first, every time.Duration)
}

// Boot is the state in which a vCPU begins. General registers are set through
// Regs.
type Boot struct {
	Root    hypercall.GPA // of the page tables
	System  []byte        // the system pages
	GSBase  hypercall.GVA
	HostTSC func() uint64
}

// TSC describes the guest's time-stamp counter.
type TSC struct {
	Hz     uint64
	Offset uint64 // guest TSC minus host TSC, modulo 2^64
}

// VCPU is one virtual CPU, at CPL 3. Run is called from one locked OS thread at a
// time; Kick from anywhere.
type VCPU interface {
	// Run enters the guest and returns when it comes out.
	Run() (Exit, error)
	// Kick makes a Run that is under way, or the next one, return Interrupted.
	Kick()

	// Regs are the guest code's registers. Changes take effect at the next Run if
	// RegsChanged is called.
	Regs() *Regs
	RegsChanged()
	// FromHypercallPage says whether a Hypercall exit came from the page that the
	// engine filled.
	FromHypercallPage() bool

	// Bases are the bases of FS and GS; SetBases changes them, only while no
	// exception is in flight.
	Bases() (fs, gs uint64)
	SetBases(fs, gs uint64)
	// SetRoot changes where address translation begins, with the same condition.
	SetRoot(root hypercall.GPA)
	// SetSyscallEntry says where a SYSCALL instruction of the guest goes where it
	// raises no exception.
	SetSyscallEntry(entry hypercall.GVA) error

	// ControlRegisters are those that guest code runs with.
	ControlRegisters() (cr0, cr4, efer, xcr0 uint64)
	// TSC describes the time-stamp counter as it was when the vCPU was made.
	TSC() TSC
	// KernelStats are what is counted below the host: the kernel's own statistics of
	// KVM. A histogram has several values.
	KernelStats() map[string][]uint64
	// Close gives the vCPU back; no Run may be under way.
	Close() error
}

// UnavailableError says why an engine cannot be used here and what to do.
type UnavailableError struct {
	Name string // of the engine, for people
	Hint string
	Err  error
}

func (e *UnavailableError) Error() string {
	return e.Name + " is not available: " + e.Err.Error() + ": " + e.Hint
}

func (e *UnavailableError) Unwrap() error { return e.Err }

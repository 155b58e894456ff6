// Package emulate carries out privileged and sensitive instructions on a
// virtual processor in 64-bit mode, and delivers exceptions and interrupts to
// it as the processor does: through its IDT, TSS and page tables. It is the
// part of trap and emulate that needs no hypervisor; everything outside of the
// processor is behind Bus.
//
// The guest's code really runs at CPL 3. What it believes to be is in CPU: a
// virtual CPL, interrupt flag, control registers and tables. The general
// registers are the real ones (engine.Regs); in RFLAGS the bits IF and IOPL
// are the caller's affair and never changed here: the guest's own are CPU.IF
// and CPU.IOPL.
//
// Nothing a guest does makes this package panic, loop without bound or take
// memory without bound. What is not supported is refused, with the instruction
// and its address; it is never guessed.
package emulate

import "github.com/pvrun/pvrun/hv/engine"

// Access says for what memory is touched.
type Access int

const (
	Read Access = iota
	Write
	Execute
)

// Exception is one that the guest is to get.
type Exception struct {
	Vector   uint8
	Error    uint64
	HasError bool
	CR2      uint64 // of a page fault: the address
}

// Bus is what a virtual processor reaches outside itself.
type Bus interface {
	// ReadMemory and WriteMemory copy guest-virtual memory, by the guest's own
	// page tables and with the rights of cpl, which is 0 also for what the
	// processor reads itself: descriptor tables and task state. They return nil
	// or the page fault that the guest is to get; after one, b and memory may
	// be done in part. Addresses are canonical. a is Read or Execute.
	ReadMemory(gva uint64, b []byte, a Access, cpl uint8) *Exception
	WriteMemory(gva uint64, b []byte, cpl uint8) *Exception

	// In and Out reach ports; size is 1, 2 or 4 bytes.
	In(port uint16, size int) uint32
	Out(port uint16, size int, v uint32)

	// ReadMSR and WriteMSR are asked for what CPU does not hold: the local APIC
	// and the TSC deadline. Not ok is #GP.
	ReadMSR(index uint32) (v uint64, ok bool)
	WriteMSR(index uint32, v uint64) (ok bool)

	// TaskPriority and SetTaskPriority are CR8, 0 to 15.
	TaskPriority() uint8
	SetTaskPriority(v uint8)

	// InvalidatePage is INVLPG. FlushTLB comes after CPU.CR0, CR3 or CR4 has
	// changed; global when entries for global pages are to go too.
	InvalidatePage(gva uint64)
	FlushTLB(global bool)

	// Bases and SetBases are the real bases of FS and GS.
	Bases() (fs, gs uint64)
	SetBases(fs, gs uint64)

	// CPLChanged comes after CPU.CPL has changed.
	CPLChanged()
}

// Table is GDTR or IDTR: the limit is the last byte's offset.
type Table struct {
	Base  uint64
	Limit uint16
}

// Segment is what a processor keeps of a system segment's descriptor.
type Segment struct {
	Base  uint64
	Limit uint32 // the last byte's offset
	Valid bool   // not: no such segment, the selector is null
}

// CPU is the virtual processor's state that is not in engine.Regs. It is the
// owner's: Step and Deliver change it, and the owner may between them.
type CPU struct {
	CR0, CR2, CR3, CR4, EFER, XCR0 uint64

	// CR4Offered are the bits of CR4 that the guest may set: those that its
	// CPUID promises. Others are #GP.
	CR4Offered uint64

	// DR are the debug registers, 4 and 5 unused. Breakpoints are never on.
	DR [8]uint64

	CPL, IOPL uint8
	IF        bool

	// Shadow holds interrupts back for one instruction, the one at ShadowRIP,
	// after STI, MOV SS and POP SS; see Interruptible.
	Shadow    bool
	ShadowRIP uint64

	// Selectors. FS and GS have their bases in the Bus.
	ES, CS, SS, DS, FS, GS, LDTR, TR uint16

	GDT, IDT Table
	LDT, TSS Segment

	STAR, LSTAR, CSTAR, FMASK             uint64
	KernelGSBase, TSCAux, PAT, MiscEnable uint64
	SysenterCS, SysenterESP, SysenterEIP  uint64
}

// Result is what became of a trapped instruction.
type Result struct {
	Name string // for a count, one of Names

	// IO: the instruction reached Port, to write or to read. The name of the
	// count is then better made from the port.
	IO    bool
	Port  uint16
	Write bool

	// Halt: wait for an interrupt. With WakeMasked (MWAIT with ECX bit 0) one
	// that is masked by IF ends the wait too, and is not delivered.
	Halt       bool
	WakeMasked bool

	// Exception, if not nil, is to be delivered in place of the instruction.
	// Registers are as before it, but for string I/O, whose finished iterations
	// count.
	Exception *Exception

	// After, if not nil, is to be delivered after the instruction, whose effect
	// is complete: a single step.
	After *Exception

	// Refused, if not empty, says what is not supported and where: the machine
	// ends.
	Refused string
}

// Interruptible reports whether an external interrupt can be delivered now. The
// shadow of STI, MOV SS and POP SS lapses with the next emulated instruction,
// or when RIP has moved on: instructions between two traps run unobserved, so
// the owner sees to it that there is a next trap (a kick) and asks again then.
func (c *CPU) Interruptible(r *engine.Regs) bool {
	if c.Shadow && r.RIP != c.ShadowRIP {
		c.Shadow = false
	}
	return c.IF && !c.Shadow
}

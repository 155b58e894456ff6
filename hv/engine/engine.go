// Package engine has the terms in which the host and the engines that run
// guest code speak of a vCPU: registers and exits. It knows no engine.
package engine

import "fmt"

// Regs are a vCPU's general registers, in the order of struct kvm_regs
// (Linux, arch/x86/include/uapi/asm/kvm.h).
type Regs struct {
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	RIP, RFLAGS        uint64
}

// String shows the registers on five lines.
func (r *Regs) String() string {
	return fmt.Sprintf("rip %016x  rsp %016x  rbp %016x  rflags %08x\n"+
		"rax %016x  rbx %016x  rcx %016x  rdx %016x\n"+
		"rsi %016x  rdi %016x  r8  %016x  r9  %016x\n"+
		"r10 %016x  r11 %016x  r12 %016x  r13 %016x\n"+
		"r14 %016x  r15 %016x",
		r.RIP, r.RSP, r.RBP, r.RFLAGS, r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI,
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15)
}

// Reason is why a vCPU stopped running guest code.
type Reason int

const (
	Hypercall   Reason = iota // the guest called the hypercall page
	Exception                 // the guest's code faulted
	Interrupted               // a kick or a signal
	IO                        // a port that is not ours
	MMIO                      // an address without memory
	Halt                      // HLT
	Shutdown                  // triple fault
	Internal                  // the engine gave up
	NoPage                    // the host has no page for the machine's memory
	Reasons                   // how many there are
)

var reasonNames = [Reasons]string{
	"hypercall", "exception", "interrupted", "io", "mmio", "hlt", "shutdown", "internal", "no_page",
}

func (r Reason) String() string { return reasonNames[r] }

// Exit is one return of the vCPU to the host. The vCPU's registers are those
// of the guest's own code at CPL 3, also after an exception.
type Exit struct {
	Reason Reason
	Vector uint8  // Exception
	Error  uint64 // Exception: error code, 0 where the vector has none
	CR2    uint64 // Exception 14
	Detail string // IO, MMIO and Internal: what the engine knows

	// InFlight: an exception is being delivered and comes out at the next Run.
	// The registers must not be redirected meanwhile.
	InFlight bool
}

// PushesError says whether a vector's frame begins with an error code (Intel
// SDM volume 3A, table "Protected-Mode Exceptions and Interrupts").
func PushesError(v uint8) bool {
	switch v {
	case 8, 10, 11, 12, 13, 14, 17, 21, 29, 30:
		return true
	}
	return false
}

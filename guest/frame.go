package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// frame is a thread's general registers while it does not run.
type frame struct {
	rax, rbx, rcx, rdx uintptr
	rsi, rdi, rbp, rsp uintptr
	r8, r9, r10, r11   uintptr
	r12, r13, r14, r15 uintptr
	rip, rflags        uintptr
}

// kernelG is what the compiler's stack checks read through R14: the first
// words of a runtime.g. Its address also fills the rest of a g, zero, so that
// a read beyond is harmless.
type kernelG struct {
	stackLo, stackHi         uintptr
	stackGuard0, stackGuard1 uintptr
	_                        [60]uintptr
}

// cpu is what the guest keeps a vCPU. It is reached through GS.
type cpu struct {
	g     kernelG
	stack [kernelStack]byte
	// trapStack is where a bare machine interrupts: above the kernel's stack, so
	// that the same stack checks pass.
	trapStack [trapStackSize]byte
}

const (
	kernelStack   = 32 << 10
	trapStackSize = 16 << 10
	// stackGuard is what a function without a check may use below its caller
	// (internal/abi, StackNosplitBase, and StackSmall).
	stackGuard = 928
)

// Words of a vCPU's page that are the guest's own.
const (
	offThread  = hypercall.VCPUPrivate + 8*iota // *thread that runs
	offScratch                                  // one register, on the way in
	offKernelG                                  // &cpu.g
	offStack                                    // top of cpu.stack
	offCS                                       // the selectors that guest code runs with
	offSS
	offTrapAX // registers that a bare machine's trap needs
	offTrapCX
	offIdle // not 0: the kernel halts until an interrupt
)

// Fields of the contract that assembly needs.
const (
	offMask    = unsafe.Offsetof(hypercall.VCPUInfo{}.Mask)
	offPending = unsafe.Offsetof(hypercall.VCPUInfo{}.Pending)
	offRIP     = unsafe.Offsetof(hypercall.VCPUInfo{}.RIP)
	offRSP     = unsafe.Offsetof(hypercall.VCPUInfo{}.RSP)
	offRFLAGS  = unsafe.Offsetof(hypercall.VCPUInfo{}.RFLAGS)
	offVector  = unsafe.Offsetof(hypercall.VCPUInfo{}.Vector)
	offError   = unsafe.Offsetof(hypercall.VCPUInfo{}.Error)
	offCR2     = unsafe.Offsetof(hypercall.VCPUInfo{}.CR2)
	offMode    = unsafe.Offsetof(hypercall.StartInfo{}.Mode)

	modeTrap = hypercall.ModeTrap
	bootCS   = hypercall.BootCS
	bootSS   = hypercall.BootSS

	bootStackSize = hypercall.BootStackSize
	hypercallPage = hypercall.HypercallGVA
	clockAddr     = hypercall.SharedInfoGVA
	offSeq        = unsafe.Offsetof(hypercall.ClockInfo{}.Seq)
	offTSCBase    = unsafe.Offsetof(hypercall.ClockInfo{}.TSCBase)
	offNSBase     = unsafe.Offsetof(hypercall.ClockInfo{}.NSBase)
	offMult       = unsafe.Offsetof(hypercall.ClockInfo{}.Mult)
	offWallOffset = unsafe.Offsetof(hypercall.ClockInfo{}.WallOffset)
)

// How a thread's frame is to be left: in the order of cost.
const (
	leaveCall  = iota // came by CALL: RCX, R11, flags and vector state are free
	leaveFull         // all registers and flags
	leaveState        // and the extended state from its XSAVE area
)

// codeAddrs are places in the assembly. A Go func value would name the
// compiler's wrapper instead.
type codeAddrs struct {
	entry                    uintptr // of the Go runtime
	upcall, rawGate, restart uintptr
	critical, criticalEnd    uintptr
	leaveTail, leaveTailEnd  uintptr
	text, data               uintptr // of the image
}

// code is written once, in boot.
var code codeAddrs

// Assembly; see gate_amd64.s and rt0_amd64.s.
func gate()
func exitGate()
func rt0()
func offerClock()

//go:noescape
func findCode(c *codeAddrs)

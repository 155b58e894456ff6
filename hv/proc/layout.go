package proc

import "github.com/pvrun/pvrun/hypercall"

// The child's address space. The guest has what is below guestEnd; the contract's own
// pages end below it.
const (
	guestEnd  = 0x7ffe_0000_0000
	stubAt    = 0x7fff_0000_0000 // the stub's code, one page
	controlAt = stubAt + 0x10_000
	stackAt   = stubAt + 0x20_000 // for signal handlers
	stubEnd   = stubAt + 0x40_000
	taskEnd   = 0x7fff_ffff_f000 // of user addresses (Linux, TASK_SIZE_MAX)

	// elfAt is where the child's executable is mapped until the stub has moved.
	elfAt = 0x1000_0000

	controlSize = stubEnd - controlAt
	pageSize    = hypercall.PageSize
)

// Descriptors that the child begins with. The last two are closed before the guest runs.
const (
	fdMemory = iota
	fdControl
	fdStub
)

// Where the stub's parts begin: each is aligned to a slot.
const (
	slot        = 512
	stubBoot    = 0 * slot
	stubArrive  = 1 * slot
	stubGate    = 2 * slot
	stubPublish = 3 * slot
	stubTail    = 4 * slot
	stubTailEnd = 5 * slot
	stubHandler = 5 * slot
	stubSize    = 7 * slot
)

// Offsets in the control page.
const (
	ctlTurn       = 0x00 // uint32: 0 the child's, 1 the host's
	ctlChildWaits = 0x04 // uint32
	ctlHostWaits  = 0x08 // uint32
	ctlSpin       = 0x0c // uint32: turns for which the child looks before it sleeps
	ctlKicked     = 0x10 // uint32: a kick came while the stub ran
	ctlReason     = 0x14 // uint32
	ctlCommands   = 0x18 // uint32: how many
	ctlFlags      = 0x1c // uint32
	ctlSignal     = 0x20 // uint32
	ctlCode       = 0x24 // int32: si_code
	ctlTrap       = 0x28
	ctlError      = 0x30
	ctlCR2        = 0x38
	ctlFS         = 0x40
	ctlGS         = 0x48
	ctlFailed     = 0x50 // a command's result that was an error
	ctlAddr       = 0x58 // si_addr, si_call_addr
	ctlRegs       = 0x80 // engine.Regs
	ctlIRET       = 0x140
	ctlCS         = ctlIRET + 8
	ctlSS         = ctlIRET + 32
	ctlStack      = 0x400 // the stub's own, downwards
	ctlSetup      = 0x400 // what commands before the guest runs point to
	ctlList       = 0x1000
	commandSize   = 64
	maxCommands   = (stackAt - controlAt - ctlList) / commandSize
)

// Places in engine.Regs.
const (
	regRAX = ctlRegs + 8*iota
	regRBX
	regRCX
	regRDX
	regRSI
	regRDI
	regRSP
	regRBP
	regR8
	regR9
	regR10
	regR11
	regR12
	regR13
	regR14
	regR15
	regRIP
	regRFLAGS
)

// Why the child gives the turn to the host.
const (
	reasonCall   = iota // the hypercall page
	reasonSignal        // of guest code
	reasonStub          // a signal that the stub's own code got
	reasonKicked        // between a call and the guest
	reasonDone          // commands are carried out, with flagReport
)

// What the host wants with its commands.
const (
	flagBases  = 1 // set FS and GS
	flagReport = 2 // give the turn back at once
)

// kickSignal interrupts guest code.
const kickSignal = 10 // SIGUSR1

// Offsets in what a signal handler gets (Linux, arch/x86/include/uapi/asm/sigcontext.h,
// struct sigcontext behind the 40 bytes that struct ucontext begins with).
const (
	ucR8 = 40 + 8*iota
	ucR9
	ucR10
	ucR11
	ucR12
	ucR13
	ucR14
	ucR15
	ucRDI
	ucRSI
	ucRBP
	ucRBX
	ucRDX
	ucRAX
	ucRCX
	ucRSP
	ucRIP
	ucRFLAGS
	ucSegments
	ucError
	ucTrap
	ucMask
	ucCR2
)

const (
	siCode = 8
	siAddr = 16
)

// The hypercall page: a jump to the gate, and the RET that the guest goes on at.
const (
	pageReturn = 14
)

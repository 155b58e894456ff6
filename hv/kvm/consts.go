package kvm

// KVM's ioctl numbers and structures, from Linux, include/uapi/linux/kvm.h and
// arch/x86/include/uapi/asm/kvm.h, API version 12; only those in use.
const (
	apiVersion = 12

	kvmGetAPIVersion       = 0xae00
	kvmCreateVM            = 0xae01
	kvmCheckExtension      = 0xae03
	kvmGetVCPUMmapSize     = 0xae04
	kvmGetSupportedCPUID   = 0xc008ae05
	kvmCreateVCPU          = 0xae41
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmSetTSSAddr          = 0xae47
	kvmIOEventFD           = 0x4040ae79
	kvmGetTSCKHz           = 0xaea3
	kvmEnableCap           = 0x4068aea3
	kvmRun                 = 0xae80
	kvmSetRegs             = 0x4090ae82
	kvmGetSregs            = 0x8138ae83
	kvmSetSregs            = 0x4138ae84
	kvmGetMSRs             = 0xc008ae88
	kvmSetMSRs             = 0x4008ae89
	kvmSetCPUID2           = 0x4008ae90
	kvmSetXCRs             = 0x4188aea7
	kvmGetStatsFD          = 0xaece
)

// Capabilities (KVM_CHECK_EXTENSION).
const (
	CapSetTSSAddr    = 4
	CapExtCPUID      = 7
	CapIOEventFD     = 36
	CapSyncRegs      = 74
	CapImmediateExit = 136
	CapBinaryStatsFD = 203

	capSplitIRQChip = 121
)

// Flags of struct kvm_ioeventfd.
const (
	ioeventDatamatch = 1 << 0
	ioeventPIO       = 1 << 1
)

// ioapicPins is the smallest number of routes that a split controller takes.
const ioapicPins = 24

// Exit reasons (kvm_run.exit_reason).
const (
	exitIO            = 2
	exitHLT           = 5
	exitMMIO          = 6
	exitShutdown      = 8
	exitFailEntry     = 9
	exitIntr          = 10
	exitInternalError = 17
)

const (
	syncRegs   = 1 << 0 // KVM_SYNC_X86_REGS
	syncSregs  = 1 << 1 // KVM_SYNC_X86_SREGS
	syncEvents = 1 << 2 // KVM_SYNC_X86_EVENTS
)

// Offsets in struct kvm_run.
const (
	runImmediateExit = 1
	runExitReason    = 8
	runUnion         = 32
	runValidRegs     = 288
	runDirtyRegs     = 296
	runRegs          = 304
	runSregs         = 304 + 144
	runEvents        = 304 + 144 + 312
)

// Bits of the control registers and EFER (Intel SDM volume 3A, "Control
// Registers"; AMD APM volume 2, "System-Control Registers").
const (
	cr0PE = 1 << 0
	cr0MP = 1 << 1
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0WP = 1 << 16
	cr0AM = 1 << 18
	cr0PG = 1 << 31

	cr4PAE        = 1 << 5
	cr4OSFXSR     = 1 << 9
	cr4OSXMMEXCPT = 1 << 10
	cr4FSGSBASE   = 1 << 16
	cr4OSXSAVE    = 1 << 18

	eferLME = 1 << 8
	eferLMA = 1 << 10
	eferNXE = 1 << 11
)

// Model-specific registers.
const (
	msrTSC   = 0x10
	msrSTAR  = 0xc0000081
	msrLSTAR = 0xc0000082
	msrFMASK = 0xc0000084
)

type segment struct {
	base     uint64
	limit    uint32
	selector uint16
	typ      uint8
	present  uint8
	dpl      uint8
	db       uint8
	s        uint8
	l        uint8
	g        uint8
	avl      uint8
	unusable uint8
	_        uint8
}

// Offsets in struct kvm_vcpu_events, of exception.injected, nr and pending, and the
// structure's size.
const (
	eventsInjected = 0
	eventsVector   = 1
	eventsPending  = 3
	eventsSize     = 64
)

type dtable struct {
	base  uint64
	limit uint16
	_     [3]uint16
}

type sregs struct {
	cs, ds, es, fs, gs, ss segment
	tr, ldt                segment
	gdt, idt               dtable
	cr0, cr2, cr3, cr4     uint64
	cr8, efer, apicBase    uint64
	interruptBitmap        [4]uint64
}

type userMemoryRegion struct {
	slot, flags                   uint32
	guestPhysAddr, size, userAddr uint64
}

type ioeventFD struct {
	datamatch, addr uint64
	len             uint32
	fd              int32
	flags           uint32
	_               [36]uint8
}

type enableCap struct {
	cap, flags uint32
	args       [4]uint64
	_          [64]uint8
}

type cpuidEntry struct {
	function, index, flags uint32
	eax, ebx, ecx, edx     uint32
	_                      [3]uint32
}

type cpuid2 struct {
	nent, _ uint32
	entries [256]cpuidEntry
}

type msrs1 struct {
	nmsrs, _ uint32
	index, _ uint32
	data     uint64
}

type xcrs struct {
	nr, flags uint32
	xcr       [16]struct {
		xcr, _ uint32
		value  uint64
	}
	_ [16]uint64
}

package kvm

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// VCPU is one virtual CPU, at CPL 3. Run is called from one locked OS thread;
// Kick from anywhere.
type VCPU struct {
	fd     int
	run    run
	sys    []byte // the system pages
	sregs  sregs  // of guest code at CPL 3
	thread atomic.Int32
	tsc    engine.TSC
	xcr0   uint64
}

// NewVCPU adds a vCPU to the machine.
func (vm *VM) NewVCPU(id int, boot engine.Boot) (engine.VCPU, error) {
	fd, err := ioctl(vm.fd, kvmCreateVCPU, uintptr(id))
	if err != nil {
		return nil, fmt.Errorf("kvm: create vCPU %d: %w", id, err)
	}
	v := &VCPU{fd: fd, sys: boot.System}
	if v.run, err = mapRun(fd, vm.runSize); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := v.setup(vm, boot); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

func (v *VCPU) setup(vm *VM, boot engine.Boot) error {
	if _, err := ioctlPtr(v.fd, kvmSetCPUID2, vm.cpuid); err != nil {
		return fmt.Errorf("kvm: set CPUID: %w", err)
	}
	fillSystem(boot.System)
	if err := v.setSregs(vm, boot); err != nil {
		return err
	}
	if err := v.setXCR0(vm.cpuid); err != nil {
		return err
	}
	*v.run.u64(runValidRegs) = syncRegs | syncSregs | syncEvents
	v.run.regs().RFLAGS = 2
	*v.run.u64(runDirtyRegs) = syncRegs
	return v.readTSC(boot.HostTSC)
}

func (v *VCPU) setSregs(vm *VM, boot engine.Boot) error {
	if _, err := ioctlPtr(v.fd, kvmGetSregs, &v.sregs); err != nil {
		return fmt.Errorf("kvm: get special registers: %w", err)
	}
	s := &v.sregs
	s.gdt = dtable{base: systemAddr(pageGDT), limit: gdtEntries*8 - 1}
	s.idt = dtable{base: systemAddr(pageIDT), limit: vectors*16 - 1}
	s.tr = taskSegment()
	s.cs, s.ss = userSegments()
	s.ds, s.es, s.fs, s.gs = s.ss, s.ss, s.ss, s.ss
	s.gs.base = uint64(boot.GSBase)
	s.cr0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0WP | cr0AM | cr0PG
	s.cr3 = uint64(boot.Root)
	s.cr4 = cr4PAE | cr4OSFXSR | cr4OSXMMEXCPT | vm.cpuid.cr4()
	s.efer = eferLME | eferLMA | eferNXE // SCE stays clear: SYSCALL is no way out
	if _, err := ioctlPtr(v.fd, kvmSetSregs, s); err != nil {
		return fmt.Errorf("kvm: set special registers: %w", err)
	}
	return nil
}

// cr4 is the optional bits that the vCPU's CPUID allows.
func (c *cpuid2) cr4() uint64 {
	cr4 := uint64(0)
	if _, ebx, _, _ := c.leaf(7, 0); ebx&1 != 0 {
		cr4 |= cr4FSGSBASE
	}
	if _, _, ecx, _ := c.leaf(1, 0); ecx&(1<<26) != 0 {
		cr4 |= cr4OSXSAVE
	}
	return cr4
}

func (c *cpuid2) leaf(function, index uint32) (eax, ebx, ecx, edx uint32) {
	for _, e := range c.entries[:c.nent] {
		if e.function == function && e.index == index {
			return e.eax, e.ebx, e.ecx, e.edx
		}
	}
	return 0, 0, 0, 0
}

// setXCR0 enables all the extended state that the vCPU's CPUID offers (Intel
// SDM volume 1, "XSAVE-Supported Features and State-Component Bitmaps").
func (v *VCPU) setXCR0(id *cpuid2) error {
	if id.cr4()&cr4OSXSAVE == 0 {
		return nil
	}
	lo, _, _, hi := id.leaf(0xd, 0)
	const dynamic = 1<<17 | 1<<18 // AMX: needs leave from the host's kernel first
	x := xcrs{nr: 1}
	v.xcr0 = (uint64(hi)<<32 | uint64(lo)) &^ dynamic
	x.xcr[0].value = v.xcr0
	if _, err := ioctlPtr(v.fd, kvmSetXCRs, &x); err != nil {
		return fmt.Errorf("kvm: set XCR0 to %#x: %w", x.xcr[0].value, err)
	}
	return nil
}

func (v *VCPU) readTSC(hostTSC func() uint64) error {
	khz, err := ioctl(v.fd, kvmGetTSCKHz, 0)
	if err != nil {
		return fmt.Errorf("kvm: TSC frequency: %w", err)
	}
	before := hostTSC()
	m := msrs1{nmsrs: 1, index: msrTSC}
	if n, err := ioctlPtr(v.fd, kvmGetMSRs, &m); err != nil || n != 1 {
		return fmt.Errorf("kvm: read TSC: %w", err)
	}
	after := hostTSC()
	v.tsc = engine.TSC{Hz: uint64(khz) * 1000, Offset: m.data - after}
	// The MSR was read before the second look, so that the guest's counter is at
	// least what the offset makes of the host's. Where both are one, the offset
	// is only the time of reading.
	if slack := after - before; -v.tsc.Offset <= slack {
		v.tsc.Offset = 0
	}
	return nil
}

// TSC describes the vCPU's time-stamp counter as it was at creation.
func (v *VCPU) TSC() engine.TSC { return v.tsc }

// Regs are the guest code's registers. Changes take effect at the next Run if
// RegsChanged is called.
func (v *VCPU) Regs() *engine.Regs { return v.run.regs() }

// RegsChanged tells that Regs were written.
func (v *VCPU) RegsChanged() { *v.run.u64(runDirtyRegs) |= syncRegs }

// ControlRegisters are those that guest code runs with.
func (v *VCPU) ControlRegisters() (cr0, cr4, efer, xcr0 uint64) {
	return v.sregs.cr0, v.sregs.cr4, v.sregs.efer, v.xcr0
}

// Bases are the bases of FS and GS.
func (v *VCPU) Bases() (fs, gs uint64) {
	s := v.run.sregs()
	return s.fs.base, s.gs.base
}

// SetBases changes them. Only while no exception is in flight.
func (v *VCPU) SetBases(fs, gs uint64) {
	v.sregs.fs.base, v.sregs.gs.base = fs, gs
	v.sregsChanged()
}

// SetRoot changes where address translation begins, with the same condition. The
// bases may have changed without an exit.
func (v *VCPU) SetRoot(root hypercall.GPA) {
	v.sregs.fs.base, v.sregs.gs.base = v.Bases()
	v.sregs.cr3 = uint64(root)
	v.sregsChanged()
}

func (v *VCPU) sregsChanged() {
	*v.run.sregs() = v.sregs
	*v.run.u64(runDirtyRegs) |= syncSregs
}

// SetSyscallEntry says where a SYSCALL instruction of the guest goes, on back
// ends where it stays at CPL 3 (kvm_pvm). Elsewhere it is #UD, since EFER.SCE
// is clear, and this does nothing.
func (v *VCPU) SetSyscallEntry(entry hypercall.GVA) error {
	for _, m := range []msrs1{
		{nmsrs: 1, index: msrSTAR, data: 0x1b<<48 | selKernelCode<<32},
		{nmsrs: 1, index: msrLSTAR, data: uint64(entry)},
		{nmsrs: 1, index: msrFMASK, data: 0x40700}, // TF, IF, DF, AC
	} {
		if n, err := ioctlPtr(v.fd, kvmSetMSRs, &m); err != nil || n != 1 {
			return fmt.Errorf("kvm: set MSR %#x: %w", m.index, err)
		}
	}
	return nil
}

// Run enters the guest and returns when it comes out.
func (v *VCPU) Run() (engine.Exit, error) {
	v.thread.Store(int32(unix.Gettid()))
	_, err := ioctl(v.fd, kvmRun, 0)
	v.thread.Store(0)
	*v.run.u64(runDirtyRegs) = 0
	switch {
	case err == unix.EINTR || err == unix.EAGAIN:
		v.run.setImmediateExit(false)
		return engine.Exit{Reason: engine.Interrupted, InFlight: v.inFlight()}, nil
	case err == unix.EFAULT:
		// The host has no page where the machine has memory.
		return engine.Exit{Reason: engine.NoPage, InFlight: v.inFlight()}, nil
	case err != nil:
		return engine.Exit{}, fmt.Errorf("kvm: run: %w", err)
	}
	return v.exit(), nil
}

func (v *VCPU) exit() engine.Exit {
	switch reason := *v.run.u32(runExitReason); reason {
	case exitIO:
		return v.ioExit()
	case exitHLT:
		return engine.Exit{Reason: engine.Halt}
	case exitIntr:
		return engine.Exit{Reason: engine.Interrupted, InFlight: v.inFlight()}
	case exitMMIO:
		addr, kind := *v.run.u64(runUnion), "read"
		if v.run.b[runUnion+20] != 0 {
			kind = "write"
		}
		return engine.Exit{Reason: engine.MMIO, Detail: fmt.Sprintf("%s of %d bytes at %#x", kind, *v.run.u32(runUnion + 16), addr)}
	case exitShutdown:
		return engine.Exit{Reason: engine.Shutdown}
	case exitFailEntry:
		return engine.Exit{Reason: engine.Internal, Detail: fmt.Sprintf("entry failed, hardware reason %#x", *v.run.u64(runUnion))}
	case exitInternalError:
		return engine.Exit{Reason: engine.Internal, Detail: fmt.Sprintf("KVM internal error %d", *v.run.u32(runUnion))}
	default:
		return engine.Exit{Reason: engine.Internal, Detail: fmt.Sprintf("KVM exit reason %d", reason)}
	}
}

func (v *VCPU) ioExit() engine.Exit {
	dir, size := v.run.b[runUnion], v.run.b[runUnion+1]
	port := binary.LittleEndian.Uint16(v.run.b[runUnion+2:])
	const out = 1
	switch {
	case dir == out && size == 1 && port == hypercallPort:
		v.afterOut()
		return engine.Exit{Reason: engine.Hypercall}
	case dir == out && port >= exceptionPort && port < exceptionPort+vectors && v.run.sregs().cs.dpl == 0:
		return v.exception(uint8(port - exceptionPort))
	}
	return engine.Exit{Reason: engine.IO, Detail: fmt.Sprintf("port %#x, %d bytes, direction %d", port, size, dir)}
}

// outSize is the length of the hypercall page's OUT.
const outSize = 2

// afterOut moves RIP past the OUT, which some back ends do before the exit and
// others only when the vCPU is entered again, unless RIP has changed: an upcall
// would then interrupt the guest before the call and make it twice.
func (v *VCPU) afterOut() {
	if r := v.run.regs(); r.RIP == uint64(hypercall.HypercallGVA) {
		r.RIP += outSize
		v.RegsChanged()
	}
}

// FromHypercallPage says whether a Hypercall exit came from the page that the
// host filled, and not from an OUT of the guest's own.
func (v *VCPU) FromHypercallPage() bool {
	return v.run.regs().RIP == uint64(hypercall.HypercallGVA)+outSize
}

// Kick makes a Run that is under way, or the next one, return Interrupted.
func (v *VCPU) Kick() {
	v.run.setImmediateExit(true)
	if t := v.thread.Load(); t != 0 {
		// The Go runtime takes SIGURG on every thread and ignores it.
		_ = unix.Tgkill(unix.Getpid(), int(t), unix.SIGURG)
	}
}

// Close gives the vCPU back; no Run may be under way.
func (v *VCPU) Close() error {
	if v.fd < 0 {
		return nil
	}
	fd := v.fd
	v.fd = -1
	return closeAll(v.run.close, func() error { return unix.Close(fd) })
}

// EnterRingZero makes the vCPU go on at CPL 0, which no guest ever does: it is
// for measuring what that costs.
func (v *VCPU) EnterRingZero() error {
	s := v.sregs
	s.cs.selector, s.cs.dpl = selKernelCode, 0
	s.ss.selector, s.ss.dpl = selKernelData, 0
	if _, err := ioctlPtr(v.fd, kvmSetSregs, &s); err != nil {
		return fmt.Errorf("kvm: enter ring 0: %w", err)
	}
	return nil
}

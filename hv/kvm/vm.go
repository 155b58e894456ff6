// Package kvm runs guest code with Linux's KVM, at CPL 3 only: ring 0 of the
// machine holds descriptor tables and one stub a vector, which the guest can
// neither reach nor change.
package kvm

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/hashicorp/go-multierror"
	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// Device is where KVM is found.
const Device = "/dev/kvm"

const name = "KVM" // for people

// Engine is KVM as an engine.
var Engine engine.Engine = kvmEngine{}

type kvmEngine struct{}

func (kvmEngine) Name() string                    { return "kvm" }
func (kvmEngine) SharedMemory() bool              { return false }
func (kvmEngine) SystemPages() int                { return SystemPages }
func (kvmEngine) SystemPageExecutable(i int) bool { return i == pageStubs }
func (kvmEngine) HypercallPage(b []byte)          { HypercallPage(b) }

func (kvmEngine) New(mem engine.Memory) (engine.Machine, error) {
	vm, err := New(mem.Data)
	if err != nil {
		return nil, err
	}
	return vm, nil
}

// VM is one KVM virtual machine. It does not own the memory it is given.
type VM struct {
	fd      int
	runSize int
	mem     []byte
	cpuid   *cpuid2
}

// facts is what /dev/kvm answers to questions whose answers do not change. They
// are asked once: the CPUID of each leaf alone is an exit of the host's own.
type facts struct {
	runSize int
	cpuid   *cpuid2
}

var known atomic.Pointer[facts]

// openDevice opens /dev/kvm and learns what is not known yet. The caller closes
// the descriptor.
func openDevice() (fd int, f *facts, err error) {
	fd, err = unix.Open(Device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil, unavailable(err)
	}
	if f = known.Load(); f != nil {
		return fd, f, nil
	}
	if f, err = ask(fd); err != nil {
		unix.Close(fd)
		return 0, nil, err
	}
	known.Store(f)
	return fd, f, nil
}

// Usable says why KVM cannot be used; nil where it can.
func Usable() error {
	fd, _, err := openDevice()
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func unavailable(err error) error {
	hint := "see 'pvrun doctor'"
	switch {
	case errors.Is(err, os.ErrNotExist):
		hint = "load kvm_intel, kvm_amd or kvm_pvm, or enable virtualization in the firmware"
	case errors.Is(err, os.ErrPermission):
		hint = "add yourself to the group that owns " + Device + " (often kvm) and log in again"
	}
	return &engine.UnavailableError{Name: name, Hint: hint, Err: &os.PathError{Op: "open", Path: Device, Err: err}}
}

func ask(fd int) (*facts, error) {
	if v, err := ioctl(fd, kvmGetAPIVersion, 0); err != nil || v != apiVersion {
		return nil, &engine.UnavailableError{Name: name, Hint: "a Linux kernel with KVM API 12 is needed", Err: fmt.Errorf("KVM API version %d", v)}
	}
	for _, c := range requiredCaps {
		if n, err := ioctl(fd, kvmCheckExtension, uintptr(c.Cap)); err != nil || n < c.Min {
			return nil, &engine.UnavailableError{Name: name, Hint: "a newer Linux kernel is needed", Err: fmt.Errorf("capability %s is missing", c.Name)}
		}
	}
	size, err := ioctl(fd, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return nil, fmt.Errorf("kvm: size of kvm_run: %w", err)
	}
	id := &cpuid2{nent: 256}
	if _, err := ioctlPtr(fd, kvmGetSupportedCPUID, id); err != nil {
		return nil, fmt.Errorf("kvm: supported CPUID: %w", err)
	}
	return &facts{size, id}, nil
}

// New creates a machine whose memory is mem, at engine.MemoryBase. Close it before
// mem is unmapped.
func New(mem []byte) (*VM, error) {
	device, f, err := openDevice()
	if err != nil {
		return nil, err
	}
	defer unix.Close(device)
	fd, err := ioctl(device, kvmCreateVM, 0)
	for err == unix.EINTR {
		fd, err = ioctl(device, kvmCreateVM, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("kvm: create machine: %w", err)
	}
	vm := &VM{fd: fd, runSize: f.runSize, mem: mem, cpuid: f.cpuid}
	if err := vm.setup(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return vm, nil
}

func (vm *VM) setup() error {
	// Three pages below 4 GiB that VT-x without unrestricted guest wants.
	if _, err := ioctl(vm.fd, kvmSetTSSAddr, 0xfffbd000); err != nil {
		return fmt.Errorf("kvm: set TSS address: %w", err)
	}
	// The guest has no interrupt controller. Without one in the kernel either,
	// KVM patches its own code when the first such vCPU comes and the last goes,
	// which interrupts every processor of the host.
	split := enableCap{cap: capSplitIRQChip, args: [4]uint64{ioapicPins}}
	if _, err := ioctlPtr(vm.fd, kvmEnableCap, &split); err != nil {
		return fmt.Errorf("kvm: split interrupt controller: %w", err)
	}
	return vm.setMemory()
}

func (vm *VM) setMemory() error { return vm.setRegion(uint64(len(vm.mem))) }

// ForgetTranslations makes vCPUs forget everything that they know of translated
// addresses: the memory is taken away and given back. No Run may be under way.
func (vm *VM) ForgetTranslations() error {
	if err := vm.setRegion(0); err != nil {
		return err
	}
	return vm.setMemory()
}

// PhysBits is how many bits a physical address has (CPUID leaf 80000008H).
func (vm *VM) PhysBits() int {
	eax, _, _, _ := vm.cpuid.leaf(0x80000008, 0)
	return max(36, min(int(eax&0xff), 52))
}

// setRegion sets the size of the one memory region; 0 takes it away.
func (vm *VM) setRegion(size uint64) error {
	r := userMemoryRegion{guestPhysAddr: uint64(engine.MemoryBase), size: size, userAddr: sliceAddr(vm.mem)}
	if _, err := ioctlPtr(vm.fd, kvmSetUserMemoryRegion, &r); err != nil {
		return fmt.Errorf("kvm: set memory of %d MiB: %w", len(vm.mem)>>20, err)
	}
	return nil
}

// Doorbell has hypercalls whose number is call, modulo 256, end in the kernel, which
// adds 1 to the eventfd. After an error they come to user space as before.
func (vm *VM) Doorbell(eventfd int, call uint8) error {
	e := ioeventFD{datamatch: uint64(call), addr: hypercallPort, len: 1, fd: int32(eventfd), flags: ioeventDatamatch | ioeventPIO}
	if _, err := ioctlPtr(vm.fd, kvmIOEventFD, &e); err != nil {
		return fmt.Errorf("kvm: bind doorbell: %w", err)
	}
	return nil
}

// AddMemory gives the machine more memory. Slot 0 is what it was made with; mem stays
// mapped until the machine is closed, whatever of it can be touched.
func (vm *VM) AddMemory(slot int, at hypercall.GPA, mem []byte) error {
	r := userMemoryRegion{slot: uint32(slot), guestPhysAddr: uint64(at), size: uint64(len(mem)), userAddr: sliceAddr(mem)}
	if _, err := ioctlPtr(vm.fd, kvmSetUserMemoryRegion, &r); err != nil {
		return fmt.Errorf("kvm: add %d MiB of memory: %w", len(mem)>>20, err)
	}
	return nil
}

// Close destroys the machine; its vCPUs are closed before it.
func (vm *VM) Close() error {
	if vm.fd < 0 {
		return nil
	}
	err := unix.Close(vm.fd)
	vm.fd = -1
	return err
}

// Capability is one that this engine asks KVM for.
type Capability struct {
	Name string
	Cap  int
	Min  int // smallest answer that will do
}

var requiredCaps = []Capability{
	{"KVM_CAP_SYNC_REGS", CapSyncRegs, syncRegs | syncSregs | syncEvents},
	{"KVM_CAP_IMMEDIATE_EXIT", CapImmediateExit, 1},
	{"KVM_CAP_EXT_CPUID", CapExtCPUID, 1},
	{"KVM_CAP_SET_TSS_ADDR", CapSetTSSAddr, 1},
	{"KVM_CAP_SPLIT_IRQCHIP", capSplitIRQChip, 1},
}

func closeAll(closers ...func() error) error {
	var all *multierror.Error
	for _, c := range closers {
		all = multierror.Append(all, c())
	}
	return all.ErrorOrNil()
}

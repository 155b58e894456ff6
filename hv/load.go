package hv

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/image"
)

// offered are the features of this host in a mode.
func offered(mode hypercall.Mode) hypercall.Feature {
	const all = hypercall.FeatureConsole | hypercall.FeatureHostFile | hypercall.FeatureAlias
	if mode == hypercall.ModeTrap {
		return all
	}
	return all | hypercall.FeatureSuspend | hypercall.FeatureBlock | hypercall.FeatureNet | hypercall.FeatureMessage | hypercall.FeatureStream
}

// openImage parses an image and checks that this host can run it.
func openImage(f *os.File, mode hypercall.Mode) (*image.Image, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &image.Error{Reason: "not a regular file"}
	}
	img, err := image.Parse(f, st.Size())
	if err != nil {
		return nil, err
	}
	if v := img.Note.ABIVersion; v != hypercall.Version {
		return nil, &image.Error{Reason: fmt.Sprintf("built for ABI version %d, this pvrun speaks version %d: build it again", v, hypercall.Version)}
	}
	if missing := img.Note.Required &^ offered(mode); missing != 0 {
		return nil, &image.Error{Reason: fmt.Sprintf("requires features that this host lacks in %v mode: %v", mode, missing)}
	}
	if mode == hypercall.ModeTrap && img.Note.Usable&hypercall.FeatureTrapMode == 0 {
		return nil, &image.Error{Reason: "cannot run in trap mode"}
	}
	return img, nil
}

// loader is where the guest's memory and its first mappings come from.
type loader struct {
	mem *memory
	mapper
}

// load fills the machine's memory: the image, its root file system, the
// contract's pages and the first stack.
func (vm *VM) load(f *os.File) error {
	if need := vm.loadSize(); need > vm.cfg.Memory {
		return &HostError{"load " + vm.cfg.Image, fmt.Errorf("%w: it needs %d MiB to start and has %d (-m)",
			ErrMemory, (need+1<<20-1)>>20, vm.cfg.Memory>>20)}
	}
	steps := []func() error{
		func() error { return vm.loadSegments(f) },
		func() error { return vm.loadRootFS(f) },
		vm.loadHypercallPage,
		vm.loadBootStack,
		vm.startVCPU,
		vm.loadRings,
		vm.loadNet,
		vm.loadMessages,
		vm.loadStartInfo,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return loadError(vm.cfg.Image, err)
		}
	}
	return nil
}

// loadError says what was being done, unless the error says so itself.
func loadError(path string, err error) error {
	var none *engine.UnavailableError
	if errors.As(err, &none) {
		return err
	}
	return &HostError{"load " + path, err}
}

// loadSize is the least memory that the image needs to be loaded, in bytes.
func (vm *VM) loadSize() int64 {
	rings := int64(vm.ringCount())*ringPages + int64(vm.netRingCount())*netRingPages
	return vm.filledSize() + hypercall.BootStackSize + rings*pageSize
}

// filledSize is how much of that is filled from the image, in bytes.
func (vm *VM) filledSize() (n int64) {
	for _, s := range vm.img.Segments {
		n += eagerSize(s)
	}
	return n + int64(max(len(vm.cfg.RootFS), int(vm.rootFSSize())))
}

func (vm *VM) rootFSSize() int64 {
	if vm.cfg.RootFS != nil {
		return int64(len(vm.cfg.RootFS))
	}
	return vm.img.RootFS.Size
}

// place takes frames for n bytes, backs them with memory and maps them at a.
func (vm *VM) place(a hypercall.GVA, n int64, bits entry) (frame, []byte, error) {
	pages := int((n + pageSize - 1) / pageSize)
	first, err := vm.reserve(a, pages, bits)
	if err != nil {
		return 0, nil, err
	}
	vm.mem.populate(first, pages)
	if vm.shadow != nil && bits&pteNX == 0 {
		vm.shadow.addText(first, pages)
	}
	return first, vm.mem.run(first, pages), nil
}

// reserve takes frames in a row and maps them at a. They cost the host nothing until
// they are touched.
func (vm *VM) reserve(a hypercall.GVA, pages int, bits entry) (frame, error) {
	first, ok := vm.boot.mem.takeRun(pages)
	if !ok {
		return 0, errTooSmall
	}
	return first, vm.boot.mapFrames(a, first, pages, bits)
}

func segmentBits(p image.Perm) entry {
	bits := pteNX
	if p&image.PermX != 0 {
		bits = pteFinal
	}
	if p&image.PermW != 0 {
		bits |= pteWrite
	}
	return bits
}

// eagerZero is how much of a segment that is zero at the start gets its memory
// at once, in bytes. Large tables that a program may never touch lie there.
const eagerZero = 512 << 10

func (vm *VM) loadSegments(f *os.File) error {
	for _, s := range vm.img.Segments {
		n := eagerSize(s)
		first, b, err := vm.place(s.Addr, n, segmentBits(s.Perm))
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(io.NewSectionReader(f, s.Offset, int64(s.FileSize)), b[:s.FileSize]); err != nil {
			return fmt.Errorf("read segment at %#x: %w", s.Addr, err)
		}
		if vm.cfg.Mode == hypercall.ModeTrap && s.Perm&image.PermX != 0 {
			if err := vm.patch(b[:s.FileSize], s.Addr, first, f); err != nil {
				return err
			}
		}
		if err := vm.boot.mapLazily(s.Addr+hypercall.GVA(n), s.End(), segmentBits(s.Perm)); err != nil {
			return err
		}
	}
	return nil
}

// eagerSize is how much of a segment gets its memory at the start, in whole
// pages.
func eagerSize(s image.Segment) int64 {
	n := int64(min(s.MemSize, s.FileSize+eagerZero))
	return (n + pageSize - 1) &^ (pageSize - 1)
}

func (vm *VM) loadRootFS(f *os.File) error {
	n := vm.rootFSSize()
	if n == 0 {
		return nil
	}
	if n > int64(hypercall.HypercallGVA-hypercall.RootFSGVA) {
		return errTooSmall
	}
	_, b, err := vm.place(hypercall.RootFSGVA, n, pteNX)
	if err != nil {
		return err
	}
	vm.start.info.RootFS = hypercall.Extent{Addr: hypercall.RootFSGVA, Len: uint64(n)}
	if vm.cfg.RootFS != nil {
		copy(b, vm.cfg.RootFS)
		vm.cfg.RootFS = nil
		return nil
	}
	if _, err := io.ReadFull(io.NewSectionReader(f, vm.img.RootFS.Offset, n), b[:n]); err != nil {
		return fmt.Errorf("read root file system: %w", err)
	}
	return nil
}

func (vm *VM) loadHypercallPage() error {
	_, b, err := vm.place(hypercall.HypercallGVA, pageSize, pteFinal)
	if err == nil {
		vm.engine.HypercallPage(b)
	}
	return err
}

func (vm *VM) loadBootStack() error {
	_, _, err := vm.place(hypercall.BootStackTop-hypercall.BootStackSize, hypercall.BootStackSize, pteWrite|pteNX)
	return err
}

// startVCPU loads the shared pages and puts the vCPU at the image's entry.
func (vm *VM) startVCPU() error {
	first, _, err := vm.place(hypercall.SharedInfoGVA, pageSize, pteWrite|pteNX)
	if err != nil {
		return err
	}
	vm.shared = vm.mem.sharedInfo(first)
	if first, _, err = vm.place(hypercall.VCPUInfoGVA, pageSize, pteWrite|pteNX); err != nil {
		return err
	}
	if err := vm.made(); err != nil {
		return err
	}
	vm.cpu = &vcpu{vm: vm, hw: vm.hw}
	regs := vm.hw.Regs()
	regs.RIP, regs.RSP, regs.RDI = uint64(vm.img.Entry), uint64(hypercall.BootStackTop), uint64(hypercall.StartInfoGVA)
	if vm.cfg.Mode == hypercall.ModeTrap {
		vm.clock.init(vm.hw.TSC(), new(hypercall.ClockInfo)) // the guest has its own
		vm.cpu.guest = newTrapGuest(vm.cpu)
		return nil
	}
	info := vm.mem.vcpuInfo(first)
	*info = hypercall.VCPUInfo{Mask: 1, Deadline: hypercall.Forever, Self: hypercall.VCPUInfoGVA}
	vm.clock.init(vm.hw.TSC(), &vm.shared.Clock)
	vm.cpu.guest = &pvGuest{vcpu: vm.cpu, info: info}
	return nil
}

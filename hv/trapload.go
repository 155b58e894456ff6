package hv

import (
	"errors"
	"os"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/sensitive"
)

// maxTrapMemory is how much physical memory a guest in trap mode can see at
// DirectMapGVA, in bytes.
const maxTrapMemory = int64(hypercall.HypercallGVA - hypercall.DirectMapGVA)

// createTrapMemory makes the guest's physical memory with its first page tables,
// and beside it, out of the guest's sight, the shadow's.
func (vm *VM) createTrapMemory() (system frame, err error) {
	if vm.cfg.Memory > maxTrapMemory {
		return 0, &HostError{"memory of the machine", errors.New("more than 500 GiB in trap mode")}
	}
	if vm.mem, err = vm.newMachineMemory(vm.cfg.Memory, shadowPages*pageSize); err != nil {
		return 0, err
	}
	vm.phys = vm.mem.split(vm.cfg.Memory)
	system, ok := vm.mem.takeRun(vm.engine.SystemPages())
	if !ok {
		return 0, &HostError{"create machine", errTooSmall}
	}
	tables, err := newBootTables(vm.phys)
	if err != nil {
		return 0, &HostError{"create machine", err}
	}
	if err := tables.mapDirectly(); err != nil {
		return 0, &HostError{"create machine", err}
	}
	guest := guestTables{mem: vm.phys, cr3: uint64(tables.root) << pageShift, wp: true, nxe: true}
	if vm.shadow, err = newShadow(vm.engine, vm.mem, guest, system); err != nil {
		return 0, &HostError{"create machine", err}
	}
	vm.tables = vm.shadow.views[0]
	vm.space, vm.boot = guestMemory{&vm.shadow.guest}, loader{vm.phys, tables}
	return system, nil
}

// patch changes what the processor would not trap in the image's text, which is
// loaded at addr into frames from first on, and remembers what was there.
func (vm *VM) patch(text []byte, addr hypercall.GVA, first frame, f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sites, err := sensitive.Patch(text, uint64(addr), sensitive.Functions(f, st.Size()))
	if err != nil {
		return err
	}
	if vm.sites == nil {
		vm.sites = map[uint64]sensitive.Site{}
	}
	for _, site := range sites {
		vm.sites[uint64(first)<<pageShift+site.Addr-uint64(addr)] = site
	}
	return nil
}

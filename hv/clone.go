package hv

import (
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// Clone says what a machine made from a snapshot has of its own.
type Clone struct {
	Stdin           io.Reader // as in Config
	Stdout, Stderr  io.Writer
	Hostname        string // the snapshot's when empty; 64 bytes at most
	CollectKVMStats bool

	// NICs are as many as the snapshot has, in their order, and need not be like those
	// it was booted with. With none given the links of all of them are down.
	NICs []NIC
}

// New makes a machine that goes on where the snapshot was made, with an instance ID,
// randomness and a wall clock of its own. Run it, or Invoke. Connections of the
// snapshot's over NICs are reset in it.
func (s *Snapshot) New(c Clone) (*VM, error) {
	begin, r := time.Now(), &s.state
	vm := &VM{from: s, engine: snapshotEngine, cfg: Config{
		Mode: hypercall.ModePV, Memory: r.Memory, Args: r.Args, Env: r.Env, Hostname: orDefault(c.Hostname, r.Hostname),
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
		Messages: r.Messages, CollectKVMStats: c.CollectKVMStats,
		Ready: r.Ready, ReadyPort: r.Port, ServicePort: r.Service,
	}}
	var err error
	if vm.cfg.NICs, err = s.cloneNICs(c.NICs); err != nil {
		return nil, err
	}
	if err := vm.restore(); err != nil {
		return nil, errors.Join(err, vm.Close())
	}
	vm.stats.create = time.Since(begin)
	return vm, nil
}

func (vm *VM) restore() (err error) {
	s := vm.from
	if err := vm.kick.open(); err != nil {
		return err
	}
	if err := vm.takeMemory(); err != nil {
		return err
	}
	vm.tables = &pageTables{mem: vm.mem, root: s.state.Root, seen: make([]uint64, len(vm.mem.free))}
	vm.space, vm.boot = guestMemory{vm.tables}, loader{vm.mem, vm.tables}
	vm.findPages()
	if err := vm.createHardware(s.seen.system); err != nil {
		return err
	}
	vm.openConsole()
	vm.cpu = &vcpu{vm: vm, hw: vm.hw}
	if err := vm.resume(); err != nil {
		return err
	}
	return vm.connectNICs(s.pages.rings)
}

// takeMemory gives the machine the snapshot's memory, or memory like it.
func (vm *VM) takeMemory() (err error) {
	s := vm.from
	if s.once != nil {
		return s.once.take(vm)
	}
	if vm.mem, err = s.memory(true); err != nil {
		return &HostError{"resume", err}
	}
	s.warm(vm.mem)
	vm.mem.frames = s.seen.frames.clone()
	vm.mem.notTables = s.seen.used()
	return nil
}

func (f *frames) clone() frames {
	c := *f
	c.free, c.extra = slices.Clone(f.free), maps.Clone(f.extra)
	return c
}

package hv

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hv/proc"
)

// Names of engines, for Config.Engine.
const (
	EngineKVM  = "kvm"  // a virtual machine
	EngineProc = "proc" // a process of its own, behind seccomp
	EngineAuto = "auto" // KVM where it can be used, else a process
)

// Engines are the names that Config.Engine can have.
var Engines = []string{EngineKVM, EngineProc, EngineAuto}

// snapshotEngine is the only engine whose machines can be snapshotted and cloned.
var snapshotEngine engine.Engine = kvm.Engine

// chooseEngine is the engine of a name; empty is KVM.
func chooseEngine(name string) (engine.Engine, error) {
	switch name {
	case EngineProc:
		return proc.Engine, nil
	case EngineAuto:
		if kvm.Usable() != nil {
			return proc.Engine, nil
		}
	case EngineKVM, "":
	default:
		return nil, &HostError{"create machine", fmt.Errorf("there is no engine %q, only %q", name, Engines)}
	}
	return kvm.Engine, nil
}

// KVMUsable says why KVM cannot be used here; nil where it can.
func KVMUsable() error { return kvm.Usable() }

// Engine names the engine that the machine has.
func (vm *VM) Engine() string { return vm.engine.Name() }

var errOnlyKVM = errors.New("functions and snapshots need KVM")

// onlyKVM refuses what machines of a process cannot do.
func (c *Config) onlyKVM() error {
	if slices.Contains([]string{"", EngineKVM}, c.Engine) || c.Engine == EngineAuto && kvm.Usable() == nil {
		return nil
	}
	return errOnlyKVM
}

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pvrun/pvrun/hv"
)

const engineUsage = "`ENGINE` that runs the guest: kvm, a virtual machine; proc, a process behind seccomp; auto, kvm where it can be used and else proc; $PVRUN_ENGINE, or auto, when not given"

// envEngine names the engine where no flag does.
const envEngine = "PVRUN_ENGINE"

// engineValue is a flag for what runs the guest.
type engineValue string

func (e *engineValue) String() string { return string(*e) }
func (e *engineValue) Type() string   { return "engine" }

func (e *engineValue) Set(s string) error {
	if !slices.Contains(hv.Engines, s) {
		return fmt.Errorf("one of %s", strings.Join(hv.Engines, ", "))
	}
	*e = engineValue(s)
	return nil
}

// choose is the engine to use. That there is no KVM, and another engine has been left
// to choose, is said on stderr.
func (e engineValue) choose(stderr io.Writer) (string, error) {
	if e == "" {
		if s := os.Getenv(envEngine); s != "" {
			if err := e.Set(s); err != nil {
				return "", usageError{"pvrun", fmt.Errorf("$%s is %q: %w", envEngine, s, err)}
			}
		}
	}
	if e != "" && e != hv.EngineAuto {
		return string(e), nil
	}
	if err := hv.KVMUsable(); err != nil {
		fmt.Fprintf(stderr, "pvrun: no virtual machine but a process, behind seccomp alone (--engine proc): %v\n", err)
		return hv.EngineProc, nil
	}
	return hv.EngineKVM, nil
}

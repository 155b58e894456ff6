package main

import (
	"errors"

	"github.com/pvrun/pvrun/hypercall"
)

const modeUsage = "`MODE` of the machine: pv, on hypercalls; trap, a bare PC whose privileged instructions are trapped and emulated"

// modeValue is a flag for what the machine's guest runs on.
type modeValue hypercall.Mode

func (m *modeValue) String() string { return hypercall.Mode(*m).String() }
func (m *modeValue) Type() string   { return "mode" }

func (m *modeValue) Set(s string) error {
	for _, mode := range []hypercall.Mode{hypercall.ModePV, hypercall.ModeTrap} {
		if s == mode.String() {
			*m = modeValue(mode)
			return nil
		}
	}
	return errors.New("pv or trap")
}

package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/hv/kvm"
)

// costs are the measured prices of this machine's KVM, in ns.
type costs struct {
	RingZeroNS float64 `json:"ring_zero_ns"` // an instruction at ring 0
	ExitNS     float64 `json:"exit_ns"`      // an exit to user space and back
	PageNS     float64 `json:"page_ns"`      // the first touch of a page
}

func (c costs) String() string {
	return fmt.Sprintf("ring-0 instruction %.1f ns, exit %.1f µs, first touch of a page %.1f µs",
		c.RingZeroNS, c.ExitNS/1e3, c.PageNS/1e3)
}

// measure makes a machine and measures it.
func measure() (costs, error) {
	mem, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return costs{}, err
	}
	defer unix.Munmap(mem)
	vm, err := kvm.New(mem)
	if err != nil {
		return costs{}, err
	}
	return costs{}, vm.Close()
}

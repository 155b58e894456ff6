package sys

import (
	"sync/atomic"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/hypercall"
)

// rested is whether the machine came to rest by itself.
var rested atomic.Bool

// RestAt has the machine come to rest if the program has reached the first of the
// moments that the host asked for. It returns when the machine goes on, in which life
// ever. Goroutines that wait for the caller wait as long.
func RestAt(moment hypercall.Ready) {
	si := guest.Info()
	if si.Ready&moment == 0 || si.Features&hypercall.FeatureSuspend == 0 || !rested.CompareAndSwap(false, true) {
		return
	}
	rest()
}

// rest stops the world and suspends the machine.
func rest() {}

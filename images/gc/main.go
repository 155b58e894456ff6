// Command gc makes the garbage collector work hard for its memory.
package main

import (
	"runtime"
	"runtime/debug"

	"github.com/pvrun/pvrun/images/internal/ops"
)

const (
	piece  = 1 << 10
	live   = 8 << 20  // bytes in use at any time
	limit  = 24 << 20 // bytes that the runtime tries not to exceed
	amount = 1 << 20  // bytes that an operation allocates
)

// The limit alone, and not the growth of the heap, makes the runtime collect.
func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(limit)
	ops.Main(churn)
}

// churn allocates a MiB in pieces of a KiB, n times, and lets go of as much.
func churn(n int) error {
	keep := make([][]byte, live/piece)
	for i := range n * (amount / piece) {
		keep[i%len(keep)] = make([]byte, piece)
	}
	runtime.KeepAlive(keep)
	return nil
}

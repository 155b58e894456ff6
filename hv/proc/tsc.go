package proc

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The TSC's frequency is measured against the host's clock, over as long as this
// process has known the engine.
var began struct {
	once sync.Once
	tsc  uint64
	ns   int64
}

// measureFor is over how long it is measured at least.
const measureFor = 2 * time.Millisecond

func startClock() { began.once.Do(func() { began.tsc, began.ns = readClocks() }) }

// readClocks reads both at the same moment: the best of a few tries.
func readClocks() (tsc uint64, ns int64) {
	best := ^uint64(0)
	for range 5 {
		before := rdtsc()
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
		if took := rdtsc() - before; took < best {
			best, tsc, ns = took, before+took/2, ts.Nano()
		}
	}
	return tsc, ns
}

// tscHz is the frequency in Hz.
func tscHz() uint64 {
	tsc, ns := readClocks()
	for ns-began.ns < int64(measureFor) {
		time.Sleep(measureFor - time.Duration(ns-began.ns))
		tsc, ns = readClocks()
	}
	return uint64(float64(tsc-began.tsc) * 1e9 / float64(ns-began.ns))
}

// fsgsbase says whether programs may use RDFSBASE and its like (Linux,
// Documentation/arch/x86/x86_64/fsgs.rst).
var fsgsbase = sync.OnceValue(func() bool {
	const atHWCAP2, bit = 26, 2 // getauxval(3)
	list, err := unix.Auxv()
	return err == nil && slices.ContainsFunc(list, func(kv [2]uintptr) bool { return kv[0] == atHWCAP2 && kv[1]&bit != 0 })
})

package hv

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// hostMemory is what this host has, in bytes, swap included; MaxMemory if it is more,
// or cannot be told (sysinfo(2)).
var hostMemory = sync.OnceValue(func() int64 {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return MaxMemory
	}
	pages := (s.Totalram + s.Totalswap) / pageSize * uint64(max(1, s.Unit))
	return int64(min(pages, MaxMemory>>pageShift)) << pageShift
})

// fitsHost refuses machines that have more memory than the host. What a small file
// says there costs tables with an element for each frame.
func fitsHost(memory int64) error {
	if host := hostMemory(); memory > host {
		return fmt.Errorf("a machine with %d MiB of memory; this host has %d MiB", memory>>20, host>>20)
	}
	return nil
}

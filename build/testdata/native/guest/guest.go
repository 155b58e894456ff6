// Package guest stands for the guest library in tests of the builder: its
// gate asks the Linux that the test runs on, so that images run without a VM.
package guest

import "github.com/pvrun/pvrun/hypercall"

var Main = hypercall.MainText

// MainStarting is called when main.main is about to run.
func MainStarting() {
	if Main[0] != 'm' {
		panic("not initialized")
	}
}

// MemoryLimit is no limit, as math.MaxInt64 means to the Go runtime.
func MemoryLimit() int64 { return 1<<63 - 1 }

// OnWritten and OnCrashFD are hooks of the library's door, which is not there.
var (
	OnWritten func()
	OnCrashFD func(fd uintptr)
	OnRest    func()
)

// Rests, RestWanted, SysmonSleeps and Rest are of machines that come to rest.
func Rests() uint64        { return 0 }
func RestWanted() bool     { return false }
func SysmonSleeps(uintptr) {}
func Rest(*[64]byte)       {}

package socket

import _ "unsafe"

// What package runtime supplies in the derived tree. Tests do not wait in its poller.

//go:linkname pollOpen github.com/pvrun/pvrun/guest/sys.pollOpen
func pollOpen(uintptr) (uintptr, int) { return 0, 1 }

//go:linkname pollReset github.com/pvrun/pvrun/guest/sys.pollReset
func pollReset(uintptr, int) int { return 0 }

//go:linkname pollWait github.com/pvrun/pvrun/guest/sys.pollWait
func pollWait(uintptr, int) int { return 0 }

//go:linkname sleepNS github.com/pvrun/pvrun/guest/sys.sleepNS
func sleepNS(int64) {}

//go:linkname atExit github.com/pvrun/pvrun/guest/sys.atExit
func atExit(func()) {}

//go:linkname pin github.com/pvrun/pvrun/guest/sys.pin
func pin() {}

//go:linkname unpin github.com/pvrun/pvrun/guest/sys.unpin
func unpin() {}

//go:linkname comeToRest github.com/pvrun/pvrun/guest/sys.comeToRest
func comeToRest() {}

// No test has a machine that could come to rest.
func init() { atAccept = func(*inet) {} }

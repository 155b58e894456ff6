package proc

import "unsafe"

func stub()
func stubAddr() uintptr
func selectors() (cs, ss uint64)
func rdtsc() uint64
func xgetbv() uint64
func pause(n uint32)

// stubCode is the stub's machine code. Safe because stub is that long, which a test
// looks at, and text is never unmapped.
func stubCode() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), stubAddr())), stubSize)
}

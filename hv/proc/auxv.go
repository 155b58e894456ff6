package proc

import (
	"encoding/binary"
	"os"
)

// auxv is a value of the auxiliary vector (getauxval(3)).
func auxv(key uint64) (value uint64, ok bool) {
	b, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return 0, false
	}
	for ; len(b) >= 16; b = b[16:] {
		if binary.NativeEndian.Uint64(b) == key {
			return binary.NativeEndian.Uint64(b[8:]), true
		}
	}
	return 0, false
}

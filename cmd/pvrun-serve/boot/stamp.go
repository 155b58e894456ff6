package boot

import (
	"os"
	"syscall"
)

// Stamp tells a file from what it is later.
type Stamp struct {
	size, time int64
	inode      uint64
}

// Stamp is of the file that the program is booted from; zero if it is a package, or not
// there.
func (p Program) Stamp() (s Stamp) {
	info, err := os.Stat(p.From)
	if err != nil || !info.Mode().IsRegular() {
		return s
	}
	s = Stamp{size: info.Size(), time: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

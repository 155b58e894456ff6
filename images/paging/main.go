// Command paging maps memory, writes to each page, makes it read-only and
// unmaps it.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/pvrun/pvrun/images/internal/ops"
)

const pageSize = 4096

func main() { ops.Main(cycle) }

// cycle does it n times with as many bytes as the second argument says: one
// page without it.
func cycle(n int) error {
	size := pageSize
	if len(os.Args) > 2 {
		var err error
		if size, err = strconv.Atoi(os.Args[2]); err != nil || size < 1 {
			return fmt.Errorf("size %q: must be a number of bytes", os.Args[2])
		}
	}
	for range n {
		b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return os.NewSyscallError("mmap", err)
		}
		for at := 0; at < size; at += pageSize {
			b[at] = 1
		}
		if err := syscall.Mprotect(b, syscall.PROT_READ); err != nil {
			return os.NewSyscallError("mprotect", err)
		}
		if err := syscall.Munmap(b); err != nil {
			return os.NewSyscallError("munmap", err)
		}
	}
	return nil
}

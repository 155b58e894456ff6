package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

var _ = add("fileops", func(args []string) { fileOps(args[0], args[1], args[2]) })

// fileOps does one thing with a file n times.
func fileOps(name, what, times string) {
	n := must(strconv.Atoi(times))
	flags := os.O_RDWR | os.O_CREATE
	switch what {
	case "append":
		flags |= os.O_APPEND
	case "dsync":
		flags |= unix.O_DSYNC
	}
	f := must(os.OpenFile(name, flags, 0o644))
	fd := int(f.Fd())
	b := make([]byte, 4096)
	must(f.Write(b))
	fl := unix.Flock_t{Type: unix.F_WRLCK, Start: 100, Len: 10}
	do := map[string]func() error{
		"pwrite":    func() error { _, err := f.WriteAt(b, 0); return err },
		"pread":     func() error { _, err := f.ReadAt(b, 0); return err },
		"append":    func() error { _, err := f.Write(b[:100]); return err },
		"dsync":     func() error { _, err := f.WriteAt(b[:100], 0); return err },
		"fdatasync": func() error { return unix.Fdatasync(fd) },
		"fsync":     f.Sync,
		"end":       func() error { _, err := f.Seek(0, io.SeekEnd); return err },
		"fstat":     func() error { _, err := f.Stat(); return err },
		"stat":      func() error { _, err := os.Stat(name); return err },
		"truncate":  func() error { return f.Truncate(8192) },
		"allocate":  func() error { return unix.Fallocate(fd, 0, 0, 8192) },
		"lock": func() error {
			fl.Type = unix.F_WRLCK ^ unix.F_UNLCK ^ fl.Type // one, then the other
			return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &fl)
		},
		"flock": func() error { return syscall.Flock(fd, syscall.LOCK_EX) },
		"map": func() error {
			m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			m[0]++
			_ = unix.Munmap(m)
			return err
		},
	}[what]
	for range n {
		check(do())
	}
	fmt.Println(n)
}

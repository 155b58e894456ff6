// Package sys stands for the library's door in tests of the builder.
package sys

func pollOpen(fd uintptr) (uintptr, int)
func pollReset(pd uintptr, mode int) int
func pollWait(pd uintptr, mode int) int
func sleepNS(ns int64)
func atExit(f func())

// Linked keeps the runtime's side of the seam reachable.
var Linked = []any{pollOpen, pollReset, pollWait, sleepNS, atExit}

// Lives are those of a machine, which a process has none of.
func Lives() uint64 { return 0 }

// Sockets are Linux's, so there is nothing to be found here.
var Sockets func()

// Syscall asks Linux.
//
//go:nosplit
func Syscall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)

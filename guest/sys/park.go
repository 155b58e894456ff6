package sys

import "unsafe"

// Package runtime supplies these through linkname. The semantics of the first
// three are those of internal/poll's runtime_poll functions; mode is 'r' or
// 'w', and a result other than 0 means that the descriptor is closing.

func pollOpen(fd uintptr) (pd uintptr, errno int)
func pollReset(pd uintptr, mode int) int
func pollWait(pd uintptr, mode int) int

// atExit has f called when main returns, and by os.Exit; not by a program that dies.
func atExit(f func())

// sleepNS parks the goroutine for ns.
func sleepNS(ns int64)

// A goroutine in a bubble of testing/synctest passes its fake time, and the bubble itself,
// on to what it starts. The guest works outside: what waits in a system call does not
// count as blocked, and timers and goroutines of the network serve all programs.

func leaveBubble() (bubble unsafe.Pointer) // nil if it is in none
func enterBubble(bubble unsafe.Pointer)

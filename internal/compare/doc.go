// Package compare runs the same image in several modes of a machine and tells
// what an operation costs in each: exits by reason, the kernel's own count of
// them, time and CPU time.
//
// An operation is isolated by running a program twice, with and without: once
// with N operations, once with none. What the second run takes, the start and
// the end of the machine, is taken off the first, and the rest divided by N.
// Only the time of an operation is the program's own measurement. Where one run
// is the operation, nothing is taken off.
package compare

// Package sys is the library's door: what syscall.Syscall and its sisters
// call in an image, in the place of Linux. [Syscall] takes a Linux system call
// by number and answers it from the file system of package fs, from the
// gate of package guest, or by a hypercall.
//
// It runs on ordinary goroutines, whose stacks move. An argument that points
// into the caller's own stack is therefore carried as a pointer from the first
// instruction on; see door.go. Such memory is never stored, handed to another
// goroutine or given to the host.
package sys

// Package guest stands under the Go runtime where the kernel stood. It is the
// runtime's door: every SYSCALL of the runtime's assembly is a CALL of gate.
// The library's door, for package syscall, is guest/sys.
//
// # Phases
//
//	rt0      first instruction, no Go environment. Sets FS, a stack and the
//	         kernel's g, then calls boot.
//	boot     Go code on the kernel stack. No runtime exists: no allocation, no
//	         maps, no interfaces, no panics, no writes of Go pointers.
//	gate     a thread's system call. Events are masked; the thread's registers
//	         are in its frame; Go code runs on the vCPU's kernel stack under
//	         the same prohibitions.
//	upcall   an event or exception. As gate, with the extended state saved.
//	leave    back to the thread that shall run, which need not be the one that
//	         came.
//
// The kernel is of the interrupt model: one kernel stack a vCPU and nothing on
// it outlives a visit, because everything that a thread waits for can be
// completed by whoever wakes it. Kernel code therefore never blocks halfway.
//
// It is ordinary compiled Go, with stack checks against the kernel's own g
// (kernelG) instead of nosplit, and without write barriers because no kernel
// structure holds a Go pointer; a test of package build reads the machine code
// for both.
//
// The package imports only unsafe and the contract, so that package runtime
// can import it.
package guest

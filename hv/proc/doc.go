// Package proc runs guest code in a process of its own, where there is no KVM.
//
// Guest code runs at CPL 3 and reaches its host by a call alone, so a process can
// stand in for a vCPU. The child process has nothing but the guest's memory, one page
// of code (the stub, stub_amd64.s) and a control page that it shares with the host. It
// is locked down by seccomp: what guest code itself executes as SYSCALL comes back as
// an exception, and the stub may map the guest's memory, wait and return from signals.
//
//	guest code   CALL hypercall page, which jumps to the stub's gate
//	stub         registers → control page; wakes the host, waits for its turn
//	host         VCPU.Run returns; the call is answered; VCPU.Run
//	stub         does what the host has listed (mmap, munmap), goes back
//
// Exceptions are signals, whose handler is the stub's too. The child's address space
// is a TLB: a page that the guest's tables have and the child does not is mapped when
// it is touched (tlb.go), and the host hears nothing of it above this package.
//
// All that the child writes is the guest's: it can write the control page, jump into
// the stub and map any page of its memory with any rights. Nothing that the host
// relies on is in that memory; what is read from the control page is copied once and
// checked. What the kernel enforces is the filter's (filter.go).
package proc

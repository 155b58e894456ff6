package proc

import "golang.org/x/sys/unix"

// What seccomp looks at (Linux, include/uapi/linux/seccomp.h, struct seccomp_data).
const (
	dataNumber = 0
	dataArch   = 4
	dataIP     = 8
	dataArgs   = 16
)

const (
	auditX8664   = 0xc000003e // AUDIT_ARCH_X86_64
	retAllow     = 0x7fff0000
	retTrap      = 0x00030000
	retKill      = 0x80000000 // the process
	futexWait    = 0
	futexWake    = 1
	mapFlags     = unix.MAP_SHARED | unix.MAP_FIXED
	mapPopulated = mapFlags | unix.MAP_POPULATE
)

// filter is the program that decides about each system call of the child. A call from
// outside the stub is guest code's SYSCALL and becomes a signal, which the host takes
// for the exception that it is on a machine. The stub, and guest code that jumps into
// it, may
//
//   - map pages of the guest's memory, shared, below guestEnd, never to be written and
//     executed at once, and unmap there;
//   - wait at the control page's first word, and wake who waits there;
//   - return from a signal.
//
// Everything else kills the process: int 0x80 and x32 from the stub too.
func filter(memory uint64) []unix.SockFilter {
	f := program{}
	f.load(dataIP + 4)
	f.unless(unix.BPF_JEQ, stubAt>>32, retTrap)
	f.load(dataIP)
	f.unless(unix.BPF_JGE, stubAt&0xffffffff, retTrap)
	f.when(unix.BPF_JGT, stubAt&0xffffffff+pageSize, retTrap)
	f.load(dataArch)
	f.unless(unix.BPF_JEQ, auditX8664, retKill)
	f.call(unix.SYS_MMAP, allowMap(memory))
	f.call(unix.SYS_MUNMAP, allowUnmap())
	f.call(unix.SYS_FUTEX, allowFutex())
	f.call(unix.SYS_RT_SIGRETURN, program{{Code: unix.BPF_RET | unix.BPF_K, K: retAllow}})
	f.end(retKill)
	return f
}

func allowMap(memory uint64) (f program) {
	f.below(0, guestEnd)
	f.load(arg(1) + 4) // less than 4 GiB
	f.unless(unix.BPF_JEQ, 0, retKill)
	f.load(arg(2))
	f.oneOf(unix.PROT_READ, unix.PROT_READ|unix.PROT_WRITE, unix.PROT_READ|unix.PROT_EXEC)
	f.load(arg(2) + 4)
	f.unless(unix.BPF_JEQ, 0, retKill)
	f.load(arg(3))
	f.oneOf(mapFlags, mapPopulated)
	f.load(arg(3) + 4)
	f.unless(unix.BPF_JEQ, 0, retKill)
	f.load(arg(4))
	f.unless(unix.BPF_JEQ, fdMemory, retKill)
	f.below(5, (memory+1<<32-1)&^(1<<32-1)) // what is beyond its end cannot be touched
	f.end(retAllow)
	return f
}

// allowUnmap lets less than 4 GiB be unmapped, or all.
func allowUnmap() (f program) {
	f.below(0, guestEnd)
	f.load(arg(1) + 4)
	f.when(unix.BPF_JEQ, 0, retAllow)
	f.unless(unix.BPF_JEQ, guestEnd>>32, retKill)
	f.load(arg(1))
	f.unless(unix.BPF_JEQ, guestEnd&0xffffffff, retKill)
	f.load(arg(0) + 4)
	f.unless(unix.BPF_JEQ, 0, retKill)
	f.load(arg(0))
	f.unless(unix.BPF_JEQ, 0, retKill)
	f.end(retAllow)
	return f
}

func allowFutex() (f program) {
	f.load(arg(0) + 4)
	f.unless(unix.BPF_JEQ, (controlAt+ctlTurn)>>32, retKill)
	f.load(arg(0))
	f.unless(unix.BPF_JEQ, (controlAt+ctlTurn)&0xffffffff, retKill)
	f.load(arg(1))
	f.oneOf(futexWait, futexWake)
	f.end(retAllow)
	return f
}

func arg(i int) uint32 { return dataArgs + 8*uint32(i) }

// program is a filter being written. All jumps are forwards, over one instruction.
type program []unix.SockFilter

func (f *program) add(code uint16, k uint32, yes, no uint8) {
	*f = append(*f, unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k})
}

func (f *program) load(offset uint32) { f.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }
func (f *program) end(ret uint32)     { f.add(unix.BPF_RET|unix.BPF_K, ret, 0, 0) }

// when ends with ret if the comparison of what was loaded with k is true, unless if not.
func (f *program) when(compare uint16, k, ret uint32) {
	f.add(unix.BPF_JMP|unix.BPF_K|compare, k, 0, 1)
	f.end(ret)
}

func (f *program) unless(compare uint16, k, ret uint32) {
	f.add(unix.BPF_JMP|unix.BPF_K|compare, k, 1, 0)
	f.end(ret)
}

// oneOf ends with a kill if what was loaded is none of these.
func (f *program) oneOf(list ...uint32) {
	for i, k := range list {
		f.add(unix.BPF_JMP|unix.BPF_K|unix.BPF_JEQ, k, uint8(len(list)-i), 0)
	}
	f.end(retKill)
}

// below ends with a kill unless argument i is below a limit, a multiple of 4 GiB.
func (f *program) below(i int, limit uint64) {
	f.load(arg(i) + 4)
	f.when(unix.BPF_JGE, uint32(limit>>32), retKill)
}

// call appends what decides about one system call.
func (f *program) call(number uint32, decide program) {
	f.load(dataNumber)
	f.add(unix.BPF_JMP|unix.BPF_K|unix.BPF_JEQ, number, 0, uint8(len(decide)))
	*f = append(*f, decide...)
}

package proc

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/pvrun/pvrun/hv/engine"
	"golang.org/x/sys/unix"
)

// control is the host's view of what it shares with a child. The child may write all of
// it at any time, so each word is read once. Safe because the mapping is as long as the
// file, which is sealed, and offsets are constants or checked.
type control struct{ b []byte }

func mapControl(fd int) (control, error) {
	if err := unix.Ftruncate(fd, controlSize); err != nil {
		return control{}, err
	}
	if err := seal(fd, 0); err != nil {
		return control{}, err
	}
	b, err := unix.Mmap(fd, 0, controlSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return control{b}, err
}

func (c control) close() error {
	if c.b == nil {
		return nil
	}
	return unix.Munmap(c.b)
}

func (c control) u32(at int) *uint32 { return (*uint32)(unsafe.Pointer(&c.b[at])) }
func (c control) u64(at int) *uint64 { return (*uint64)(unsafe.Pointer(&c.b[at])) }

func (c control) load32(at int) uint32     { return atomic.LoadUint32(c.u32(at)) }
func (c control) load64(at int) uint64     { return atomic.LoadUint64(c.u64(at)) }
func (c control) store32(at int, v uint32) { atomic.StoreUint32(c.u32(at), v) }
func (c control) store64(at int, v uint64) { *c.u64(at) = v }

// regs are copied to and from the control page as a whole.
func (c control) getRegs(r *engine.Regs) { *r = *(*engine.Regs)(unsafe.Pointer(&c.b[ctlRegs])) }
func (c control) putRegs(r *engine.Regs) { *(*engine.Regs)(unsafe.Pointer(&c.b[ctlRegs])) = *r }

// command is a system call that the child is to make.
type command [7]uint64 // number and arguments

// putCommands lists commands for the child.
func (c control) putCommands(list []command) {
	for i, cmd := range list {
		*(*command)(unsafe.Pointer(&c.b[ctlList+i*commandSize])) = cmd
	}
	c.store32(ctlCommands, uint32(len(list)))
}

// setup puts data where commands can point to, and returns where the child has it.
func (c control) setup(at int, b []byte) uint64 {
	copy(c.b[at:ctlList], b)
	return controlAt + uint64(at)
}

// give hands the turn to the child.
func (c control) give() {
	atomic.SwapUint32(c.u32(ctlTurn), 0)
	if c.load32(ctlChildWaits) != 0 {
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, c.turn(), futexWake, 1, 0, 0, 0)
	}
}

func (c control) turn() uintptr { return uintptr(unsafe.Pointer(c.u32(ctlTurn))) }

// mine says whether it is the host's turn.
func (c control) mine() bool { return c.load32(ctlTurn) != 0 }

// wait waits until it is the host's turn, for d at the most.
func (c control) wait(d time.Duration) {
	atomic.SwapUint32(c.u32(ctlHostWaits), 1)
	if !c.mine() {
		ts := unix.NsecToTimespec(int64(max(d, 1)))
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, c.turn(), futexWait, 0, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	c.store32(ctlHostWaits, 0)
}

// currentCPU is the processor that the calling thread runs on. Safe because the kernel
// writes the local only.
func currentCPU() int {
	var cpu uint32
	_, _, _ = unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0)
	return int(cpu)
}

// bytesOf is a value as the kernel reads it. Safe for structures without pointers.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

package proc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// Where what the child's first system calls point to is in the control page.
const (
	setupAction = ctlSetup
	setupStack  = ctlSetup + 0x40
	setupMask   = ctlSetup + 0x60
	setupLimit  = ctlSetup + 0x80
	setupSpace  = ctlSetup + 0x90
	setupFilter = ctlSetup + 0x100 // struct sock_fprog, and behind it the program
)

// faults are the signals that exceptions come as, and seccomp's.
var faults = []syscall.Signal{
	syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS,
}

// lockDown has the stub make the child what guest code may run in: nothing mapped but
// the stub, the control page and the stack of signal handlers, no descriptor but the
// guest's memory, handlers for exceptions and kicks, and the filter.
func (c *child) lockDown(memory uint64) error {
	cs, ss := selectors()
	c.ctl.store64(ctlCS, cs)
	c.ctl.store64(ctlSS, ss)
	if err := c.run(c.setupCommands(memory)); err != nil {
		return err
	}
	return c.run(nil) // the first of those that the filter has let through
}

func (c *child) setupCommands(memory uint64) (list []command) {
	call := func(number int, args ...uint64) {
		cmd := command{uint64(number)}
		copy(cmd[1:], args)
		list = append(list, cmd)
	}
	call(unix.SYS_CLOSE_RANGE, fdMemory+1, 1<<32-1, 0) // what this process has inherited, too
	call(unix.SYS_MUNMAP, 0, stubAt)
	call(unix.SYS_MUNMAP, stubAt+pageSize, controlAt-stubAt-pageSize)
	call(unix.SYS_MUNMAP, stubEnd, taskEnd-stubEnd)
	stack := struct{ at, flags, size uint64 }{stackAt, 0, stubEnd - stackAt} // stack_t
	call(unix.SYS_SIGALTSTACK, c.ctl.setup(setupStack, bytesOf(&stack)), 0)
	action := struct{ handler, flags, restorer, mask uint64 }{ // struct sigaction
		stubAt + stubHandler, saSigInfo | saOnStack | saRestorer, stubAt + stubHandler, ^uint64(0)}
	at := c.ctl.setup(setupAction, bytesOf(&action))
	for _, s := range append(faults, kickSignal) {
		call(unix.SYS_RT_SIGACTION, uint64(s), at, 0, 8)
	}
	none := c.ctl.setup(setupMask, make([]byte, 8))
	call(unix.SYS_RT_SIGPROCMASK, 2, none, 0, 8) // SIG_SETMASK
	limit := c.ctl.setup(setupLimit, make([]byte, 16))
	for _, r := range []uint64{unix.RLIMIT_CORE, unix.RLIMIT_NPROC, unix.RLIMIT_NOFILE, unix.RLIMIT_FSIZE, unix.RLIMIT_DATA, unix.RLIMIT_MEMLOCK} {
		call(unix.SYS_PRLIMIT64, 0, r, limit, 0)
	}
	space := uint64(mostMapped(int(memory/pageSize)))*pageSize + stubEnd - stubAt
	call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_AS, c.ctl.setup(setupSpace, bytesOf(&[2]uint64{space, space})), 0)
	call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, c.filterProgram(memory))
	return list
}

// Flags of struct sigaction (Linux, arch/x86/include/uapi/asm/signal.h).
const (
	saSigInfo  = 4
	saOnStack  = 0x08000000
	saRestorer = 0x04000000
)

// filterProgram is where the child has struct sock_fprog.
func (c *child) filterProgram(memory uint64) uint64 {
	var code bytes.Buffer
	f := filter(memory)
	_ = binary.Write(&code, binary.LittleEndian, f)
	at := c.ctl.setup(setupFilter+16, code.Bytes())
	prog := struct{ n, at uint64 }{uint64(len(f)), at}
	return c.ctl.setup(setupFilter, bytesOf(&prog))
}

// run has the stub make system calls before the guest runs, all of which shall succeed.
func (c *child) run(list []command) error {
	if err := c.await(); err != nil {
		return err
	}
	c.ctl.store64(ctlFailed, 0)
	c.ctl.putCommands(list)
	c.ctl.store32(ctlFlags, flagReport)
	c.ctl.give()
	if err := c.await(); err != nil {
		return err
	}
	if e := c.ctl.load64(ctlFailed); e != 0 {
		return unavailable(fmt.Errorf("lock the child down: %w", syscall.Errno(-e)))
	}
	return nil
}

// startLimit is how long a child may take to start.
const startLimit = 10 * time.Second

// await waits for the child's turn to end, before the guest runs.
func (c *child) await() error {
	for begin := time.Now(); !c.ctl.mine(); c.ctl.wait(10 * time.Millisecond) {
		switch {
		case c.ended():
			return unavailable(errors.New("the child has not started: " + c.how()))
		case time.Since(begin) > startLimit:
			return unavailable(errors.New("the child has not started"))
		}
	}
	return nil
}

// fillPage makes the hypercall page: jmp [rip+0] with the gate's address behind it, and
// RET. The rest is HLT, which CPL 3 may not execute.
func fillPage(b []byte) {
	n := copy(b, []byte{0xff, 0x25, 0, 0, 0, 0})
	binary.LittleEndian.PutUint64(b[n:], stubAt+stubGate)
	b[pageReturn] = 0xc3
	for i := pageReturn + 1; i < hypercall.PageSize; i++ {
		b[i] = 0xf4
	}
}

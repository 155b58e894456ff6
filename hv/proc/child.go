package proc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/pvrun/pvrun/hv/engine"
	"golang.org/x/sys/unix"
)

// child is the process that runs guest code.
type child struct {
	pid int
	ctl control

	mu   sync.Mutex         // so that nobody else's process is meant
	dead bool               // it has been waited for
	end  syscall.WaitStatus // if it is dead
}

// stubFile is the child's executable, in memory; made once for all children.
var stubFile = sync.OnceValues(func() (*os.File, error) {
	fd, err := memfd("pvrun-guest", unix.MFD_EXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "pvrun-guest")
	if _, err = f.Write(executable(stubCode())); err != nil {
		f.Close()
		return nil, err
	}
	if err := seal(fd, unix.F_SEAL_WRITE); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
})

// memfd makes a file in memory that can be sealed.
func memfd(name string, flags int) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|flags)
	if err == unix.EINVAL { // MFD_EXEC and MFD_NOEXEC_SEAL are of Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	return fd, os.NewSyscallError("memfd_create", err)
}

// seal keeps a file's size as it is, and what more says.
func seal(fd int, more int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL|more)
	return os.NewSyscallError("seal", err)
}

// namespaces are those the child is given. The filter leaves it no use for
// what they hide; they are for the day on which the filter has a hole.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWNS

// startChild starts a process on a file that is the guest's memory. It waits in the
// stub, with the control page shared, until it is set up.
func startChild(memory int) (*child, error) {
	stub, err := stubFile()
	if err != nil {
		return nil, unavailable(err)
	}
	fd, err := memfd("pvrun-control", unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return nil, unavailable(err)
	}
	defer unix.Close(fd)
	c := &child{}
	if c.ctl, err = mapControl(fd); err != nil {
		return nil, err
	}
	bear(func() {
		if c.pid, err = fork(stub, memory, fd, namespaces); err != nil {
			c.pid, err = fork(stub, memory, fd, 0) // namespaces are not everybody's
		}
	})
	if err != nil {
		bury()
		return nil, errors.Join(unavailable(err), c.ctl.close())
	}
	return c, nil
}

func fork(stub *os.File, memory, control int, flags uintptr) (pid int, err error) {
	return syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", stub.Fd()), []string{"pvrun-guest"}, &syscall.ProcAttr{
		Env:   []string{},
		Files: []uintptr{fdMemory: uintptr(memory), fdControl: uintptr(control), fdStub: stub.Fd()},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: flags, Setsid: true},
	})
}

func unavailable(err error) error {
	hint := "see 'pvrun doctor'"
	switch {
	case errors.Is(err, os.ErrPermission):
		hint = "programs in memory cannot be executed here (sysctl vm.memfd_noexec), or /proc is hidden"
	case errors.Is(err, os.ErrNotExist):
		hint = "/proc has to be mounted"
	}
	return &engine.UnavailableError{Name: "the process engine", Hint: hint, Err: err}
}

// ended says whether the process is over, without waiting.
func (c *child) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return true
	}
	pid, err := syscall.Wait4(c.pid, &c.end, syscall.WNOHANG, nil)
	for err == syscall.EINTR {
		pid, err = syscall.Wait4(c.pid, &c.end, syscall.WNOHANG, nil)
	}
	c.dead = pid == c.pid || err == syscall.ECHILD
	return c.dead
}

// how says how it ended.
func (c *child) how() string {
	switch {
	case c.end.Signaled() && c.end.Signal() == syscall.SIGSYS:
		return "it made a system call that is not allowed"
	case c.end.Signaled():
		return "signal: " + c.end.Signal().String()
	}
	return fmt.Sprintf("exit status %d", c.end.ExitStatus())
}

func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		_ = syscall.Kill(c.pid, sig) // it is not waited for, so the number is its own
	}
}

// allow says which processors the process may use.
func (c *child) allow(set *unix.CPUSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		_ = unix.SchedSetaffinity(c.pid, set)
	}
}

// cpuTime is what the process has used, user and system, in ns: its clock's number is made
// of its own (clock_getcpuclockid(3)). 0 when it is over.
func (c *child) cpuTime() uint64 {
	const perProcess = 2 // CPUCLOCK_SCHED
	c.mu.Lock()
	defer c.mu.Unlock()
	var ts unix.Timespec
	if c.dead || unix.ClockGettime(int32(^c.pid)<<3|perProcess, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano())
}

// close ends the process. A second time it does nothing.
func (c *child) close() error {
	c.signal(syscall.SIGKILL)
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.dead {
		_, err := syscall.Wait4(c.pid, &c.end, 0, nil)
		c.dead = err != syscall.EINTR
	}
	if c.ctl.b == nil {
		return nil
	}
	bury()
	err := c.ctl.close()
	c.ctl = control{}
	return err
}

package worker

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/pvrun/pvrun/hv"
	"golang.org/x/sys/unix"
)

// Command is the one argument of a worker.
const Command = "worker"

// Descriptors of a worker.
const (
	socketFD = 3
	pagesFD  = 4
)

// starter starts processes, all from one thread that stays: a process gets its signal
// when the thread ends that has started it (prctl(2), PR_SET_PDEATHSIG).
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// command makes the command of a worker and starts it. socket is this side's end.
func command(pages *os.File, stderr *firstBytes) (cmd *exec.Cmd, socket *net.UnixConn, err error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, &hv.HostError{Op: "start worker", Err: err}
	}
	defer theirs.Close()
	cmd = &exec.Cmd{
		Path: "/proc/self/exe", // this program, whatever is where it was
		Args: []string{os.Args[0], Command}, Env: os.Environ(), Stderr: stderr,
		ExtraFiles:  []*os.File{theirs, pages},
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
		WaitDelay:   patience,
	}
	done := make(chan error)
	starter() <- func() { done <- cmd.Start() }
	if err := <-done; err != nil {
		ours.Close()
		return nil, nil, &hv.HostError{Op: "start worker", Err: err}
	}
	return cmd, ours, nil
}

func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "socket")
	if ours, err = socketOf(fds[0]); err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// socketOf makes a connection of a descriptor, which is its own.
func socketOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f) // it has another descriptor
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("descriptor %d is no socket of a worker", fd)
	}
	return u, nil
}

// firstBytes keeps the beginning of what is written: of a crash it says most.
type firstBytes struct {
	mu sync.Mutex
	b  []byte
}

const maxFirstBytes = 8 << 10

func (f *firstBytes) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.b = append(f.b, b[:min(len(b), maxFirstBytes-len(f.b))]...)
	return len(b), nil
}

func (f *firstBytes) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.b)
}

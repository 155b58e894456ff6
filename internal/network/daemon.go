package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/internal/beside"
)

// helperName is the program that a user network is.
const helperName = "pvrun-net"

// ErrNoHelper is that pvrun-net is not there.
var ErrNoHelper = errors.New("pvrun-net is neither beside pvrun nor on PATH: go install github.com/pvrun/pvrun/cmd/pvrun-net@latest, or --net none")

// Helper finds pvrun-net. Tests have another.
var Helper = find

func find() (string, error) {
	path, err := beside.Find(helperName)
	if err != nil {
		return "", ErrNoHelper
	}
	return path, nil
}

// startPrivate starts a network that ends with this process: it sees the other end of
// its connection closed, however that happens. PR_SET_PDEATHSIG would not do: it is
// about the thread that started it.
//
// What is written to the connection waits for start, which may run beside what the
// caller does next. The connection ends if it fails.
func startPrivate() (conn *net.UnixConn, start starter, err error) {
	path, err := Helper()
	if err != nil {
		return nil, nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	if conn, err = unixConn(pair[0]); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, func() (*exec.Cmd, error) {
		defer theirs.Close()
		return startHelper(path, theirs)
	}, nil
}

type starter func() (*exec.Cmd, error)

func unixConn(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "control")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return c.(*net.UnixConn), nil
}

// startHelper starts pvrun-net with file as descriptor 3. It is in a session of its
// own: what the terminal sends is for pvrun and its program. It is to be waited for, or
// it stays as a zombie if it ends first.
func startHelper(path string, file *os.File, args ...string) (*exec.Cmd, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start pvrun-net: %w", err)
	}
	return cmd, nil
}

// Dir is where the sockets of shared networks are: nobody else can reach them there.
func Dir() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if filepath.IsAbs(dir) { // relative ones are to be ignored, says the XDG Base Directory Specification
		return filepath.Join(dir, "pvrun", "net"), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of shared networks: set XDG_RUNTIME_DIR: %w", err)
	}
	return filepath.Join(cache, "pvrun", "net"), nil
}

// enterShared connects to a network that has a name, and starts it if nobody has. A
// lock on the folder is held meanwhile, and by a network while it finds that it may
// end.
func enterShared(name string) (*net.UnixConn, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	defer folder.Close()
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("network %s: lock %s: %w", name, dir, err)
	}
	path := filepath.Join(dir, name+".sock")
	at := &net.UnixAddr{Name: path, Net: "unixpacket"}
	conn, err := net.DialUnix(at.Net, nil, at)
	if err == nil {
		return conn, nil
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	if err := startShared(at); err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	if conn, err = net.DialUnix(at.Net, nil, at); err != nil {
		return nil, fmt.Errorf("network %s: %w", name, err)
	}
	return conn, nil
}

// startShared starts a network that listens at path, where there may be what is left
// of one that was killed.
func startShared(at *net.UnixAddr) error {
	program, err := Helper()
	if err != nil {
		return err
	}
	if err := os.Remove(at.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.ListenUnix(at.Net, at)
	if err != nil {
		return err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	if err == nil {
		defer file.Close()
		if err = os.Chmod(at.Name, 0o600); err == nil {
			var cmd *exec.Cmd
			if cmd, err = startHelper(program, file, "--shared", at.Name); err == nil {
				go cmd.Wait()
			}
		}
	}
	if err != nil {
		os.Remove(at.Name)
	}
	return err
}

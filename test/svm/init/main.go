// The first process of test/svm's machine: it loads the modules of the kernel that are
// asked for, runs the test suites one after the other and turns the machine off. What it
// has to say goes to the second serial port, one line a line of output; the first is the
// kernel's.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/test/svm/plan"
)

func main() {
	out, err := setUp()
	if err == nil {
		err = work(out)
	}
	if err != nil {
		fmt.Fprintln(out, plan.Failed, err)
	} else {
		fmt.Fprintln(out, plan.Done)
	}
	out.Close()
	unix.Sync()
	// The machine is started with -no-reboot: this ends it.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// setUp mounts what programs expect. The file is never nil.
func setUp() (*os.File, error) {
	for _, m := range []struct{ kind, dir, data string }{
		{"devtmpfs", "/dev", ""},
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"ext4", "/tmp", ""}, // O_DIRECT, holes, limits: what a disk has
		{"tmpfs", "/dev/shm", ""},
		{"devpts", "/dev/pts", "ptmxmode=666"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return os.Stdout, err
		}
		from := m.kind
		if m.kind == "ext4" {
			from = plan.Disk
		}
		if err := unix.Mount(from, m.dir, m.kind, 0, m.data); err != nil {
			return os.Stdout, fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	if err := os.Chmod("/tmp", 0o1777); err != nil {
		return os.Stdout, err
	}
	if err := asUsual(); err != nil {
		return os.Stdout, err
	}
	f, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return os.Stdout, err
	}
	return f, loopback()
}

// asUsual sets what people's machines have and a new kernel does not.
func asUsual() error {
	many := unix.Rlimit{Cur: 1 << 16, Max: 1 << 20}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &many); err != nil {
		return err
	}
	// Tests look at which pages have been touched.
	return os.WriteFile("/sys/kernel/mm/transparent_hugepage/enabled", []byte("madvise"), 0)
}

// loopback brings interface lo up (netdevice(7)).
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

func work(out *os.File) error {
	text, err := os.ReadFile(plan.File)
	if err != nil {
		return err
	}
	var p plan.Plan
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	for _, m := range p.Modules {
		if err := load(m); err != nil {
			return fmt.Errorf("module %s: %w", m, err)
		}
	}
	for _, s := range p.Suites {
		run(out, s)
	}
	return nil
}

func load(module string) error {
	f, err := os.Open(module)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// run reports a suite: its name, its output, its end.
func run(out *os.File, s plan.Suite) {
	fmt.Fprintln(out, plan.Begin, s.Name)
	begin := time.Now()
	err := start(out, s)
	state := "ok"
	if err != nil {
		state = err.Error()
	}
	fmt.Fprintln(out, plan.End, s.Name, int(time.Since(begin).Seconds()), state)
}

func start(out *os.File, s plan.Suite) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Dir, cmd.Env = s.Dir, append(s.Env, "PATH=/bin", "HOME=/", "TMPDIR=/tmp")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		w.Close()
		return err
	}
	w.Close()
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		forward(out, r)
	}()
	err = cmd.Wait()
	// What the suite has left behind may hold the pipe.
	select {
	case <-forwarded:
	case <-time.After(5 * time.Second):
		r.Close()
		<-forwarded
	}
	return err
}

// forward writes what comes line by line. A long line is cut.
func forward(out io.Writer, in io.Reader) {
	r := bufio.NewReaderSize(in, 4096)
	for {
		line, more, err := r.ReadLine()
		if err != nil {
			return
		}
		fmt.Fprintf(out, "%s%s\n", plan.Output, line)
		for more && err == nil {
			_, more, err = r.ReadLine()
		}
	}
}

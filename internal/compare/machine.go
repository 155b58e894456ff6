package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/hv"
)

// Job is one run of a machine.
type Job struct {
	Image string
	Way
	Args   []string // the program's
	Counts bool     // the program tells its operations and their time
	Disk   int64    // bytes of the machine's disk; 0: none
	Net    bool     // a user network, and a peer whose address is the last argument
}

// Sample is what one run did.
type Sample struct {
	Stats    hv.Stats
	Ops      int   // as the program says
	NS       int64 // the same
	HostCPU  time.Duration
	GuestCPU time.Duration
}

// Runner runs machines. Tests have one without KVM.
type Runner interface {
	Run(context.Context, Job) (Sample, error)
}

// Command runs each machine in a process of its own, as a user would, so that
// none finds the heap or the threads of another, and the kernel tells its CPU
// time.
type Command struct {
	Pvrun string   // the executable
	Flags []string // for pvrun run
	Dir   string   // for files
}

// Run runs a machine to its end. The program's output goes to a file, which
// nobody has to be woken to read; that of programs that do not count is thrown
// away.
func (c Command) Run(ctx context.Context, j Job) (s Sample, err error) {
	stats := filepath.Join(c.Dir, "stats.json")
	args := append([]string{"run", "--stats", stats}, c.Flags...)
	if j.Engine != "" {
		args = append(args, "--engine", j.Engine)
	}
	if j.Mode != PV {
		args = append(args, "--mode", j.Mode)
	}
	if j.Disk > 0 {
		disk, err := c.scratch(j.Disk)
		if err != nil {
			return s, err
		}
		args = append(args, "--disk", disk)
	}
	words := append([]string{j.Image}, j.Args...)
	if j.Net {
		p, err := newPeer()
		if err != nil {
			return s, err
		}
		defer p.Close()
		args, words = append(args, "--net", "user"), append(words, p.address())
	}
	cmd := exec.CommandContext(ctx, c.Pvrun, append(args, words...)...)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if j.Counts {
		out, err := os.Create(filepath.Join(c.Dir, "stdout"))
		if err != nil {
			return s, err
		}
		defer out.Close()
		cmd.Stdout = out
	}
	if err := runTimed(cmd, &s); err != nil {
		return s, failure(ctx, err, stderr.String())
	}
	if err := readStats(stats, &s.Stats); err != nil {
		return s, err
	}
	if cpu := s.Stats.Proc["cpu_ns"]; len(cpu) > 0 { // a process of its own, that nobody has waited for
		s.GuestCPU += time.Duration(cpu[0])
	}
	if s.Stats.Mode != j.Mode {
		return s, fmt.Errorf("the machine ran in mode %s", s.Stats.Mode)
	}
	if j.Engine != "" && s.Stats.Engine != j.Engine {
		return s, fmt.Errorf("the machine ran on engine %s", s.Stats.Engine)
	}
	if j.Counts {
		s.Ops, s.NS, err = readResult(filepath.Join(c.Dir, "stdout"))
	}
	return s, err
}

// scratch is a disk of so many bytes, none of them zero, in the host's page cache.
// It is the same one each time.
func (c Command) scratch(size int64) (name string, err error) {
	name = filepath.Join(c.Dir, "disk.img")
	if info, err := os.Stat(name); err == nil && info.Size() == size {
		return name, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	part := bytes.Repeat([]byte("scratch "), 1<<17)
	for at := int64(0); at < size; at += int64(len(part)) {
		if _, err := f.Write(part[:min(size-at, int64(len(part)))]); err != nil {
			return "", err
		}
	}
	return name, f.Sync()
}

// runTimed runs cmd and adds its CPU time to s. The kernel counts time inside
// the guest as user time too (proc_pid_stat(5), guest_time).
func runTimed(cmd *exec.Cmd, s *Sample) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	// What the kernel knows of the process is gone once it is waited for.
	pid := cmd.Process.Pid
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	text, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err := cmd.Wait(); err != nil {
		return err
	}
	if readErr != nil {
		return readErr
	}
	var err error
	s.GuestCPU, err = guestTime(string(text))
	s.HostCPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() - s.GuestCPU
	return err
}

// guestTime is the field guest_time of proc_pid_stat(5).
func guestTime(stat string) (time.Duration, error) {
	const field = 43    // counted from 1, as the manual page does
	const ticks = 100   // a second, for user space on x86 (USER_HZ)
	const afterName = 3 // fields before: the name may have spaces in it
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= field-afterName {
		return 0, fmt.Errorf("/proc/PID/stat: %d fields", len(fields)+afterName-1)
	}
	n, err := strconv.ParseInt(fields[field-afterName], 10, 64)
	return time.Duration(n) * time.Second / ticks, err
}

// failure is what went wrong, in one line.
func failure(ctx context.Context, err error, stderr string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	reason, rest := "", ""
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if text, own := strings.CutPrefix(line, "pvrun: "); own {
			reason = text
		} else if rest == "" {
			rest = line
		}
	}
	if reason == "" {
		reason = rest
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	state := fmt.Sprintf("exit code %d", exit.ExitCode())
	if exit.ExitCode() < 0 {
		state = exit.String()
	}
	if reason == "" {
		return errors.New(state)
	}
	return fmt.Errorf("%s: %s", state, reason)
}

func readStats(name string, stats *hv.Stats) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, stats); err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	return nil
}

// readResult reads what a program has printed as its last line.
func readResult(name string) (ops int, ns int64, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, err
	}
	text = bytes.TrimRight(text, "\r\n")
	last := string(text[bytes.LastIndexByte(text, '\n')+1:])
	done, took, _ := strings.Cut(last, " ")
	ops, err1 := strconv.Atoi(strings.TrimPrefix(done, "ops="))
	ns, err2 := strconv.ParseInt(strings.TrimPrefix(took, "ns="), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("the last line of the program's output is %.80q, not ops=… ns=…", last)
	}
	return ops, ns, nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"time"
)

const emulator = "qemu-system-x86_64"

// machine is QEMU's emulation of a PC whose processor has SVM. It needs no KVM.
type machine struct {
	kernel, initrd string
	disk           string // with a file system
	console        string // a file for what the kernel says
	limit          time.Duration
	memory, cpus   int // MiB
}

// run boots it and hands what comes out of the second serial port to lines.
func (m machine) run(lines func(string)) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), m.limit, fmt.Errorf("not ready after %v", m.limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, emulator,
		"-accel", "tcg", "-cpu", "max", "-machine", "q35", "-smp", fmt.Sprint(m.cpus), "-m", fmt.Sprint(m.memory),
		"-display", "none", "-nodefaults", "-no-reboot",
		"-serial", "file:"+m.console, "-serial", "stdio",
		"-drive", "if=none,id=disk,format=raw,cache=unsafe,file="+m.disk, "-device", "nvme,drive=disk,serial=1",
		"-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console=ttyS0 reboot=t panic=-1 quiet")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			lines(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return errors.Join(err, cmd.Wait())
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w", emulator, err)
	}
	return nil
}

// makeDisk makes a disk with an ext4 on it, whose blocks take room when they are written.
func makeDisk(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(8<<30), f.Close()); err != nil {
		return err
	}
	if text, err := exec.Command("/sbin/mkfs.ext4", "-q", "-F", name).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w\n%s", err, text)
	}
	return nil
}

// trouble is the first line in which a kernel says that something is wrong with it.
var trouble = regexp.MustCompile(`(?m)^.*(Kernel panic|BUG:|Oops|WARNING:|general protection fault|soft lockup|rcu_\w+ detected stalls|Out of memory).*$`)

// complaint returns it; "" for none.
func (m machine) complaint() (string, error) {
	text, err := os.ReadFile(m.console)
	return string(trouble.Find(text)), err
}

package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// tool is a go command and the environment that it runs in.
type tool struct {
	path string
	env  []string
}

// findGo finds the go command: the one named, or the first on PATH.
func findGo(name string, env []string) (tool, error) {
	if name == "" {
		name = "go"
	}
	file, err := exec.LookPath(name)
	if err != nil {
		return tool{}, fmt.Errorf("no go command: %w (install Go %s, see go.dev/doc/install)",
			err, strings.TrimPrefix(GoSupported[len(GoSupported)-1], "go"))
	}
	return tool{file, env}, nil
}

// command is `go args` in dir. Later entries of env win over earlier ones.
func (t tool) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Dir = dir
	cmd.Env = append(t.env[:len(t.env):len(t.env)], "PWD="+dir)
	// An interrupted go command takes its temporary folder away, which a killed
	// one does not. Its compilers are in its process group and end at once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// output returns what `go args` prints on its standard output.
func (t tool) output(ctx context.Context, dir string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := t.command(ctx, dir, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := runTied(cmd); err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = errors.New(text)
		}
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return stdout.String(), nil
}

// run runs `go args` with its messages going to stdout and stderr, and keeps
// a copy of them.
func (t tool) run(ctx context.Context, dir string, stdout, stderr io.Writer, args ...string) (string, error) {
	var text bytes.Buffer
	cmd := t.command(ctx, dir, args...)
	cmd.Stdout = io.MultiWriter(stdout, &text)
	cmd.Stderr = io.MultiWriter(stderr, &text)
	err := runTied(cmd)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return text.String(), err
}

// runTied runs cmd and lets it not outlive pvrun: Pdeathsig watches the
// thread that started it, which therefore has to stay (prctl(2),
// "PR_SET_PDEATHSIG").
func runTied(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// with is t with more settings in its environment.
func (t tool) with(env ...string) tool {
	t.env = append(t.env[:len(t.env):len(t.env)], env...)
	return t
}

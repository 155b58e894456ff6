package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command is a command to run to its end, or until its time is up.
type command struct {
	dir   string
	env   []string // beside those of this process
	args  []string
	limit time.Duration
	quiet time.Duration // not 0: SIGQUIT after so long without a line on stdout
	merge bool          // stderr is read like stdout
}

// ending is how a command ended.
type ending struct {
	code    int // -1: by a signal
	expired bool
	stderr  string
}

// run hands every line of stdout to each. It returns an error only when the
// command cannot be started or ctx ends: nothing can then be said about it.
func (c command) run(ctx context.Context, each func(line []byte)) (ending, error) {
	limited, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	cmd := exec.CommandContext(limited, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	// Whatever it has started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	stderr := &clippedWriter{}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, stderr
	if c.merge {
		cmd.Stderr = in
	}
	read := make(chan struct{})
	heard, done := c.listen(cmd, each)
	defer done()
	go func() { defer close(read); eachLine(out, heard) }()
	err := cmd.Run()
	in.Close()
	<-read
	if ctx.Err() != nil {
		return ending{}, ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && limited.Err() == nil {
		return ending{}, fmt.Errorf("run %s: %w", strings.Join(c.args, " "), err)
	}
	e := ending{code: cmd.ProcessState.ExitCode(), stderr: stderr.text}
	if e.expired = limited.Err() != nil; e.expired {
		e.stderr += fmt.Sprintf("\ngiven up after %v\n", c.limit)
	}
	return e, nil
}

// listen is each, and a watch over a command that falls silent. Tests that wait
// for what will never come then say where, and not only when all time is up.
// Until the first line things are built, which takes its time.
func (c command) listen(cmd *exec.Cmd, each func([]byte)) (heard func([]byte), done func() bool) {
	if c.quiet == 0 {
		return each, func() bool { return false }
	}
	watch := time.AfterFunc(c.limit, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) })
	return func(line []byte) {
		watch.Reset(c.quiet)
		each(line)
	}, watch.Stop
}

func eachLine(r io.Reader, each func([]byte)) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 && each != nil {
			each(line)
		}
		if err != nil {
			return
		}
	}
}

type clippedWriter struct{ clipped }

func (w *clippedWriter) Write(b []byte) (int, error) {
	w.add(string(b))
	return len(b), nil
}

// output runs a command that has to succeed and returns what it writes.
func (c command) output(ctx context.Context) (string, error) {
	var b strings.Builder
	if c.limit == 0 {
		c.limit = 10 * time.Minute
	}
	end, err := c.run(ctx, func(line []byte) { b.Write(line) })
	if err == nil && end.code != 0 {
		err = fmt.Errorf("run %s: exit code %d: %s", strings.Join(c.args, " "), end.code, end.stderr)
	}
	return b.String(), err
}

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const textIn = "one\ntwo\n\nlast without end"
const textOut = "1 \"one\"\n2 \"two\"\n3 \"\"\n4 \"last without end\"\nend <nil>\n"

func TestStdin(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		dir := write(t, map[string]string{"in": textIn})
		t.Run("file", func(t *testing.T) {
			cmd := runCommand(t, cases, in(mode), "lines")
			cmd.Stdin = input(t, dir+"/in")
			wants(t, finish(t, cmd), 0, textOut, "")
		})
		t.Run("pipe", func(t *testing.T) {
			cmd := runCommand(t, cases, in(mode), "lines")
			cmd.Stdin = strings.NewReader(textIn)
			wants(t, finish(t, cmd), 0, textOut, "")
		})
		t.Run("null", func(t *testing.T) {
			wants(t, run(t, cases, in(mode), "lines"), 0, "end <nil>\n", "")
		})
		t.Run("closed", func(t *testing.T) {
			cmd := runCommand(t, cases, in(mode), "exit", "3")
			wants(t, finish(t, inShell(cmd, "<&-")), 3, "", "")
			cmd = runCommand(t, cases, in(mode), "lines")
			got := finish(t, inShell(cmd, "<&-"))
			if got.code != 0 || !strings.HasPrefix(got.stdout, "end ") {
				t.Errorf("got %+v", got)
			}
		})
		t.Run("stays open", func(t *testing.T) {
			cmd := runCommand(t, cases, in(mode), "exit", "4")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			wants(t, finish(t, cmd), 4, "", "")
		})
	})
}

// inShell is the command with redirections that package exec does not know.
func inShell(cmd *exec.Cmd, redirect string) *exec.Cmd {
	sh := exec.Command("/bin/sh", append([]string{"-c", `"$0" "$@" ` + redirect}, cmd.Args...)...)
	sh.Env = cmd.Env
	return sh
}

// A program answers each line before the next comes.
func TestDialogue(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		cmd := runCommand(t, cases, in(mode), "lines")
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(out)
		for i := 1; i <= 50; i++ {
			fmt.Fprintf(in, "question %d\n", i)
			got, err := answers.ReadString('\n')
			if want := fmt.Sprintf("%d \"question %d\"\n", i, i); got != want || err != nil {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
		in.Close()
		rest, _ := io.ReadAll(answers)
		if string(rest) != "end <nil>\n" {
			t.Errorf("got %q", rest)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// A reader that goes away ends the program as SIGPIPE ends a native one. A bare
// machine's serial line cannot say so: its program goes on, unheard.
func TestClosedStdout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cmd    *exec.Cmd
		code   int
		stderr string
	}{
		{nativeCommand(t, cases, "flood"), 141, ""},
		{runCommand(t, cases, in("pv"), "flood"), 141, ""},
		{runCommand(t, cases, in("trap", "--timeout", "3s"), "flood"), 124, "pvrun: time-out after 3s\n"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		test.cmd.Stdout = w
		var stderr strings.Builder
		test.cmd.Stderr = &stderr
		if err := test.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		io.ReadFull(r, make([]byte, 30_000))
		r.Close()
		test.cmd.Wait()
		if code := shellCode(test.cmd.ProcessState); code != test.code || stderr.String() != test.stderr {
			t.Errorf("%s: got code %d, want %d; stderr %q", test.cmd.Args, code, test.code, stderr.String())
		}
	}
}

// An error of the file that stdout is reaches the program, but over a serial line.
func TestFullStdout(t *testing.T) {
	t.Parallel()
	const stderr = "write: write /dev/stdout: no space left on device\n"
	for _, test := range []struct {
		cmd    *exec.Cmd
		code   int
		stderr string
	}{
		{nativeCommand(t, cases, "flood"), 1, stderr},
		{runCommand(t, cases, in("pv"), "flood"), 1, stderr},
		{runCommand(t, cases, in("trap", "--timeout", "3s"), "flood"), 124, "pvrun: time-out after 3s\n"},
	} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		defer full.Close()
		test.cmd.Stdout = full
		wants(t, finish(t, test.cmd), test.code, "", test.stderr)
	}
}

// Nothing is lost on the way to a reader that is slower than the program.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		data := randomBytes(200_000)
		cmd := runCommand(t, cases, in(mode), "copy")
		cmd.Stdin = strings.NewReader(data)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for err == nil {
			time.Sleep(20 * time.Millisecond) // until the pipe is full
			b := make([]byte, 20_000)
			var n int
			n, err = io.ReadFull(out, b)
			got = append(got, b[:n]...)
		}
		if cmd.Wait(); string(got) != data || shellCode(cmd.ProcessState) != 0 {
			t.Errorf("%v: %d bytes, %v", cmd.ProcessState, len(got), err)
		}
	})
}

// openTerminal makes a pseudo-terminal of 24 by 80 (pty(7)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	err1 := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	n, err2 := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	err3 := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// onTerminal starts a case with a terminal of its own and returns the other
// end and what comes out of it.
func onTerminal(t *testing.T, mode string, args ...string) (*exec.Cmd, *os.File, *bufio.Reader) {
	t.Helper()
	cmd := runCommand(t, cases, in(mode), args...)
	master, slave := openTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(cmd.Env, "TERM=vt100")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	slave.Close()
	return cmd, master, bufio.NewReader(master)
}

func expectLine(t *testing.T, out *bufio.Reader, want string) {
	t.Helper()
	got, err := out.ReadString('\n')
	if got = strings.TrimRight(got, "\r\n"); got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		cmd, master, out := onTerminal(t, mode, "terminal")
		expectLine(t, out, "true true true 24x80 true vt100")
		master.WriteString("typed\n")
		expectLine(t, out, "typed") // the terminal's echo
		expectLine(t, out, `1 "typed"`)
		master.WriteString("\x04") // end of file
		expectLine(t, out, "end <nil>")
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// Ctrl-C at a terminal is a signal that the program can catch.
func TestInterruptAtTerminal(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		cmd, master, out := onTerminal(t, mode, "notify", "1")
		expectLine(t, out, "ready")
		master.WriteString("\x03")
		expectLine(t, out, "^Cinterrupt")
		cmd.Wait()
		if code := shellCode(cmd.ProcessState); code != 3 {
			t.Errorf("exit code: got %d, want 3", code)
		}
	})
}

// A change of the terminal's size reaches the program as SIGWINCH.
func TestResize(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		cmd, master, out := onTerminal(t, mode, "notify", "1")
		expectLine(t, out, "ready")
		if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
			t.Fatal(err)
		}
		expectLine(t, out, "window changed")
		cmd.Wait()
	})
}

package e2e

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// started is a case that has said "ready".
type started struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
}

func start(t *testing.T, cmd *exec.Cmd) *started {
	t.Helper()
	s := &started{cmd: cmd}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &s.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	s.out = bufio.NewReader(out)
	expectLine(t, s.out, "ready")
	return s
}

// end waits for the end and returns the rest of the output and the code.
func (s *started) end() (string, int) {
	rest, _ := io.ReadAll(s.out)
	s.cmd.Wait()
	return string(rest), shellCode(s.cmd.ProcessState)
}

func (s *started) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		const hup, usr1, usr2, term, int_ = syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT
		tests := []struct {
			name string
			args []string
			send []syscall.Signal
			out  string
			code int
		}{
			{"notify", []string{"notify", "1"}, []syscall.Signal{int_}, "interrupt\n", 3},
			{"notify term", []string{"notify", "1"}, []syscall.Signal{term}, "terminated\n", 3},
			{"notify while busy", []string{"notify", "1", "spin"}, []syscall.Signal{int_}, "interrupt\n", 3},
			{"notify several", []string{"notify", "1111"}, []syscall.Signal{hup, usr1, usr2, term},
				"hangup\nuser defined signal 1\nuser defined signal 2\nterminated\n", 3},
			{"second", []string{"notify", "11111"}, []syscall.Signal{int_, int_}, "interrupt\n", 130},
			{"second of another kind", []string{"notify", "11111"}, []syscall.Signal{int_, term}, "interrupt\n", 143},
			{"nobody asked: int", []string{"wait"}, []syscall.Signal{int_}, "", 130},
			{"nobody asked: term", []string{"wait"}, []syscall.Signal{term}, "", 143},
			{"nobody asked: hup", []string{"wait"}, []syscall.Signal{hup}, "", 129},
			{"ignored, twice", []string{"ignore"}, []syscall.Signal{term, term}, "", 143},
			{"deaf, twice", []string{"deaf"}, []syscall.Signal{int_, int_}, "", 130},
			{"deaf, once", []string{"deaf"}, []syscall.Signal{term}, "", 143},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				s := start(t, runCommand(t, cases, in(mode), test.args...))
				out := ""
				for i, sig := range test.send {
					s.signal(t, sig)
					if i+1 == len(test.send) {
						break
					}
					if strings.Contains(test.out, "\n") { // it has come when the program says so
						line, err := s.out.ReadString('\n')
						if err != nil {
							t.Fatal(err)
						}
						out += line
					} else {
						time.Sleep(200 * time.Millisecond) // two that are pending at once are one
					}
				}
				rest, code := s.end()
				// What a second signal cuts off may be there or not.
				if out += rest; !strings.HasPrefix(test.out, out) && !strings.HasPrefix(out, test.out) {
					t.Errorf("stdout: got %q, want %q", out, test.out)
				}
				if code != test.code {
					t.Errorf("exit code: got %d, want %d", code, test.code)
				}
				if s.stderr.Len() > 0 {
					t.Errorf("stderr: got %q", s.stderr.String())
				}
			})
		}
	})
}

// A signal that comes when nobody asked for it does natively what it does
// under pvrun.
func TestSignalsNatively(t *testing.T) {
	t.Parallel()
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		s := start(t, nativeCommand(t, cases, "wait"))
		s.signal(t, sig)
		if _, code := s.end(); code != want {
			t.Errorf("%v: got %d, want %d", sig, code, want)
		}
	}
}

// SIGQUIT is how one asks a Go program where it is.
func TestQuitShowsGoroutines(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		for _, name := range []string{"wait", "ignore"} {
			s := start(t, runCommand(t, cases, in(mode), name))
			s.signal(t, syscall.SIGQUIT)
			_, code := s.end()
			text := s.stderr.String()
			if code != 2 || !strings.Contains(text, "SIGQUIT: quit") || !strings.Contains(text, "programs/cases/") {
				t.Errorf("%s: got code %d, stderr %.500q", name, code, text)
			}
		}
	})
}

// What Go says first when it dies of a signal: which one, its code, the address.
// The traceback may have the guest's frames in it.
func TestDeathBySignal(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"kill-trace quit", "kill-trace segv", "kill-trace segv tgkill", "kill-trace abrt", "kill-trace abrt tgkill",
		"kill-trace bus", "kill-trace fpe",
		"fault nil", "fault hole", "fault readonly", "fault none", "fault beyond", "fault beyond-read", "fault shrunk", "fault text",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(line)
			want := finish(t, nativeCommand(t, cases, args...))
			eachMode(t, func(t *testing.T, mode string) {
				got := run(t, cases, in(mode), args...)
				if got.code != want.code {
					t.Errorf("exit code: got %d, want %d", got.code, want.code)
				}
				same(t, "stderr", head(got.stderr), head(want.stderr))
			})
		})
	}
}

// head is what comes before the first goroutine, without addresses and without
// the thread's number.
func head(s string) string {
	s, _, _ = strings.Cut(s, "\n\n")
	return regexp.MustCompile(` m=\d+`).ReplaceAllString(addresses.ReplaceAllString(s, "0x"), "")
}

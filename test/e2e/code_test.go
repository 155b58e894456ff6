package e2e

import (
	"os"
	"syscall"
)

// shellCode is the exit code that a shell gives a process.
func shellCode(s *os.ProcessState) int {
	if w := s.Sys().(syscall.WaitStatus); w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

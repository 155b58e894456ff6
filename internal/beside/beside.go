// Package beside finds the programs that belong to pvrun and are not linked into it.
package beside

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNone is that a program is not there.
var ErrNone = errors.New("no such program")

// Find looks beside this program itself, and then on PATH.
func Find(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", ErrNone
}

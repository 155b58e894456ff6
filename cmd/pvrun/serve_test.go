package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// pvrun serve becomes pvrun-serve, which has all the flags.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if code, stdout, stderr := pvrunCommand(t, "serve", "a=b"); code != exitHost || stdout != "" || !strings.HasPrefix(stderr, "pvrun: pvrun-serve is neither beside pvrun nor on PATH") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	program := filepath.Join(dir, "pvrun-serve")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	old := execProgram
	defer func() { execProgram = old }()
	for _, args := range [][]string{{"a=b", "--timeout", "1s"}, {"--help"}, {"-m", "1g", "--", "x"}, nil} {
		var got []string
		execProgram = func(path string, argv []string, env []string) error {
			got = append([]string{path}, argv...)
			if len(env) == 0 {
				t.Error("no environment")
			}
			return syscall.ENOEXEC
		}
		code, _, stderr := pvrunCommand(t, append([]string{"serve"}, args...)...)
		if want := append([]string{program, "pvrun-serve"}, args...); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if code != exitHost || stderr != "pvrun: start "+program+": exec format error\n" {
			t.Errorf("exit code %d, %q", code, stderr)
		}
	}
}

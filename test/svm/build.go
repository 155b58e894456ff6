package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// builder builds what the machine runs, with the host's Go.
type builder struct {
	dir   string            // for what is built
	init  string            // the machine's first process
	pvrun string            // the command, to build images with
	files map[string]string // what belongs beside the sources, and where it is
}

func newBuilder(dir string) (*builder, error) {
	b := &builder{dir: dir, init: filepath.Join(dir, "init"), files: map[string]string{}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := b.gocommand(".", "build", "-trimpath", "-o", b.init, "./test/svm/init"); err != nil {
		return nil, err
	}
	var err error
	if b.pvrun, err = b.program("cmd/pvrun"); err != nil {
		return nil, err
	}
	helper, err := b.program("cmd/pvrun-net")
	b.files["cmd/pvrun/built/pvrun-net"] = helper // it is looked for beside pvrun
	return b, err
}

// gocommand runs go in a folder of the sources. Files are static: the machine has no
// C library.
func (b *builder) gocommand(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return nil
}

// place is where package need looks for what was built of a folder, and a file for it
// on the host.
func (b *builder) place(dir, suffix string) (string, error) {
	to := path.Join(dir, "built", path.Base(dir)+suffix)
	out, err := filepath.Abs(filepath.Join(b.dir, to))
	if err != nil {
		return "", err
	}
	b.files[to] = out
	return out, os.MkdirAll(filepath.Dir(out), 0o755)
}

// program builds the program in a folder.
func (b *builder) program(dir string) (string, error) {
	out, err := b.place(dir, "")
	if err != nil {
		return "", err
	}
	return out, b.gocommand(dir, "build", "-trimpath", "-o", out, ".")
}

// image builds its image.
func (b *builder) image(dir string) error {
	out, err := b.place(dir, ".img")
	if err != nil {
		return err
	}
	args := []string{"build", "-o", out}
	if _, err := os.Stat(filepath.Join(dir, "rootfs")); err == nil {
		args = append(args, "--rootfs", filepath.Join(dir, "rootfs"))
	}
	args = append(args, "./"+dir)
	if text, err := exec.Command(b.pvrun, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pvrun %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return nil
}

// tests builds a package's tests and returns their file.
func (b *builder) tests(dir string) (string, error) {
	out, err := b.place(dir, ".test")
	if err != nil {
		return "", err
	}
	return out, b.gocommand(".", "test", "-c", "-trimpath", "-o", out, "./"+dir)
}

// list is the names of the top-level tests of a folder.
func list(dir, tests string) ([]string, error) {
	cmd := exec.Command(tests, "-test.list", "^Test")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PVRUN_BUILT=yes") // it builds nothing
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s -test.list: %w", tests, err)
	}
	var names []string
	for _, line := range strings.Fields(string(text)) {
		if strings.HasPrefix(line, "Test") {
			names = append(names, line)
		}
	}
	return names, nil
}

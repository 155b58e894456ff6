package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// target is what the go command is asked to build, and where.
type target struct {
	name string // as the user gave it
	dir  string // absolute
	args []string
}

func (t target) String() string { return t.name }

// newTarget turns the user's arguments into the go command's. Files and
// folders that lie in another module than base does are built from there, so
// that `pvrun build ../other/cmd/x` needs no cd.
func newTarget(base string, args []string) (target, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	t := target{strings.Join(args, " "), base, slices.Clone(args)}
	if strings.HasSuffix(args[0], ".go") {
		return t.files()
	}
	if len(args) > 1 {
		return target{}, fmt.Errorf("build %s: one package at a time", t)
	}
	return t.folder()
}

// folder handles a package that is named by its folder; an import path stays
// as it is.
func (t target) folder() (target, error) {
	arg := t.args[0]
	abs := t.abs(arg)
	info, err := os.Stat(abs)
	isDir := err == nil && info.IsDir()
	switch {
	case !isDir && !isPath(arg):
		return t, nil
	case err != nil:
		return t, fmt.Errorf("build %s: %w", arg, notFound{cause(err)})
	case !isDir:
		return t, fmt.Errorf("build %s: neither a folder nor a Go file", arg)
	case moduleRoot(abs) != moduleRoot(t.dir):
		return target{t.name, abs, []string{"."}}, nil
	case !isPath(arg):
		t.args[0] = "./" + arg
	}
	return t, nil
}

// files handles a package that is named by its files.
func (t target) files() (target, error) {
	for _, arg := range t.args {
		if !strings.HasSuffix(arg, ".go") {
			return t, fmt.Errorf("build %s: %s is not a Go file", t, arg)
		}
		if _, err := os.Stat(t.abs(arg)); err != nil {
			return t, fmt.Errorf("build %s: %w", arg, notFound{cause(err)})
		}
	}
	dir := filepath.Dir(t.abs(t.args[0]))
	if moduleRoot(dir) == moduleRoot(t.dir) {
		return t, nil
	}
	for i, arg := range t.args {
		if filepath.Dir(t.abs(arg)) != dir {
			return t, fmt.Errorf("build %s: the files of a package lie in one folder", t)
		}
		t.args[i] = filepath.Base(arg)
	}
	t.dir = dir
	return t, nil
}

func (t target) abs(arg string) string {
	if filepath.IsAbs(arg) {
		return filepath.Clean(arg)
	}
	return filepath.Join(t.dir, arg)
}

// isPath reports whether the go command takes arg as a path in the file
// system and not as an import path (`go help packages`).
func isPath(arg string) bool {
	return filepath.IsAbs(arg) || arg == "." || arg == ".." ||
		strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../")
}

// moduleRoot is the nearest folder from dir up that has a go.mod, or "".
func moduleRoot(dir string) string {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// ErrNotFound is in the chain of an error about a package that is not there.
var ErrNotFound = errors.New("not found")

type notFound struct{ error }

func (e notFound) Is(target error) bool { return target == ErrNotFound }
func (e notFound) Unwrap() error        { return e.error }

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// lab is what all units share: the tools and where things are put.
type lab struct {
	out     string // all that is made, out/conformance
	goroot  string // the installed Go
	version string // go1.26.8
	pvrun   string
	hash    string   // of pvrun
	vm      []string // pvrun's own flags
	flags   []string // of go test, for both sides
	rounds  int
	gocache string
	fetches bool // modules that are not there
}

// newLab looks up the tools. With an empty pvrun there will be only a stand-in.
func newLab(ctx context.Context, out, pvrun string, vm []string) (*lab, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return nil, err
	}
	l := &lab{out: out, vm: vm, rounds: 40}
	if err := l.makeModule(); err != nil {
		return nil, err
	}
	env, err := l.goCommand("env", "GOROOT", "GOVERSION", "GOCACHE").output(ctx)
	if err != nil {
		return nil, err
	}
	lines := append(strings.Split(env, "\n"), "", "")
	l.goroot, l.version, l.gocache = lines[0], lines[1], lines[2]
	if pvrun == "" {
		return l, nil
	}
	if l.pvrun, err = filepath.Abs(pvrun); err != nil {
		return nil, err
	}
	l.hash, err = hashFile(l.pvrun)
	return l, err
}

func hashFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))[:16], nil
}

// makeModule makes the folder that commands run in: a module of its own, so
// that what is around it does not matter.
func (l *lab) makeModule() error {
	if err := os.MkdirAll(l.module(), 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.module(), "go.mod"), []byte("module conformance\n\ngo 1.26\n"), 0o666)
}

func (l *lab) module() string { return filepath.Join(l.out, "module") }

// environment is what makes runs of different people alike. An empty GOFLAGS
// would be none: the go command would look in its configuration file. Here,
// pvrun has a cache of its own, so that what is built once only does not fill
// the user's.
func (l *lab) environment(s side) []string {
	env := []string{"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "GOWORK=off", "GODEBUG=", "GOEXPERIMENT="}
	if s == here {
		env = append(env, "XDG_CACHE_HOME="+l.cache(), "GOCACHE="+l.gocache)
	}
	return env
}

func (l *lab) cache() string { return filepath.Join(l.out, "cache") }

func (l *lab) goCommand(args ...string) command {
	return command{dir: l.module(), env: l.environment(native), args: append([]string{"go"}, args...)}
}

// key is all that a unit's result on a side depends on.
func (l *lab) key(u unit, s side) string {
	parts := []string{"1", l.version, strings.Join(l.flags, " "), u.inputs}
	if s == here {
		parts = append(parts, l.hash, strings.Join(l.vm, " "))
	}
	return strings.Join(parts, "; ")
}

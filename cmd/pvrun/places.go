package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pvrun/pvrun/build"
)

// places are what a program of `go test` sees of the host: folders at the same
// paths, and the environment.
type places struct {
	dir     string // working directory, in the guest
	host    string // the same, on the host
	env     []string
	folders []string // those that env speaks of: in the guest, empty and in memory
	shared  []mountFlag
}

// newPlaces begins with the environment. Inside a derived tree the program
// finds the installed one, which the derived one is a patched copy of.
func newPlaces(dir string, env []string) *places {
	p := &places{dir: dir, host: dir, env: slices.Clone(env)}
	if derived := p.getenv("GOROOT"); derived != "" && build.Origin(derived) != derived {
		origin := build.Origin(derived)
		p.setenv("GOROOT", origin)
		p.share(origin, false)
		p.share(derived, false)
		if rel, ok := within(derived, dir); ok {
			p.dir, p.host = filepath.Join(origin, rel), filepath.Join(origin, rel)
			p.setenv("PWD", p.dir)
		}
	}
	for _, dir := range append(filepath.SplitList(p.getenv("PATH")), p.getenv("HOME")) {
		if filepath.IsAbs(dir) {
			p.folders = append(p.folders, filepath.Clean(dir))
		}
	}
	if tmp := p.getenv("TMPDIR"); filepath.IsAbs(tmp) {
		p.share(tmp, true)
	}
	p.hideOwnWork()
	if cover := p.getenv("GOCOVERDIR"); cover != "" {
		p.share(absolute(dir, cover), true)
	}
	return p
}

// hideOwnWork: where pvrun test chose GOTMPDIR it is the go command's alone. A
// test's T.TempDir would go there, and not to TMPDIR.
func (p *places) hideOwnWork() {
	if own, err := ownWork(); err == nil && p.getenv("GOTMPDIR") == own {
		p.unsetenv("GOTMPDIR")
	}
}

// program adds what go test runs a binary for: its module, and itself.
func (p *places) program(file string, writable bool) error {
	root := moduleRoot(p.host)
	if root == "/" && p.host != "/" {
		return errors.New("the module is in /, which cannot be shared: move it to a folder")
	}
	p.share(filepath.Dir(file), false)
	p.share(root, writable)
	return nil
}

// share shows a folder at its own path. Of two that are the same the writable
// one counts; folders that are not there are left out.
func (p *places) share(dir string, writable bool) {
	dir = filepath.Clean(dir)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || dir == "/" {
		return
	}
	for i := range p.shared {
		if p.shared[i].guest == dir {
			p.shared[i].readOnly = p.shared[i].readOnly && !writable
			return
		}
	}
	p.shared = append(p.shared, mountFlag{source: dir, guest: dir, readOnly: !writable})
}

// with is what is shared, and in its place what the command line shares there.
func (p *places) with(list []mountFlag) []mountFlag {
	all := slices.DeleteFunc(slices.Clone(p.shared), func(s mountFlag) bool {
		return slices.ContainsFunc(list, func(f mountFlag) bool { return f.guest == s.guest })
	})
	return append(all, list...)
}

func (p *places) getenv(name string) string {
	for _, kv := range slices.Backward(p.env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (p *places) setenv(name, value string) {
	p.unsetenv(name)
	p.env = append(p.env, name+"="+value)
}

func (p *places) unsetenv(name string) {
	p.env = slices.DeleteFunc(p.env, func(kv string) bool {
		return strings.HasPrefix(kv, name+"=")
	})
}

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed modules.txt
var modulesText string

// module is a line of modules.txt.
type module struct {
	path, version, sum string
	onDisk             bool     // temporary files are in a folder of the host's
	packages           []string // patterns
	without            []string // packages, from the module's root
	skip               []string // tests, of all packages or as PACKAGE:TEST of one
}

func parseModules(text string) (list []module, err error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) < 3 || !strings.HasPrefix(f[2], "h1:") {
			return nil, fmt.Errorf("modules.txt: %q: want MODULE VERSION SUM [disk] [PACKAGES] [-PACKAGE|-TEST|-PACKAGE:TEST]", line)
		}
		m := module{path: f[0], version: f[1], sum: f[2]}
		for _, word := range f[3:] {
			m.word(word)
		}
		if len(m.packages) == 0 {
			m.packages = []string{"./..."}
		}
		list = append(list, m)
	}
	return list, nil
}

// word takes one of the words that say what of the module is tested, and where.
func (m *module) word(s string) {
	switch name, left := strings.CutPrefix(s, "-"); {
	case s == "disk":
		m.onDisk = true
	case left && (strings.HasPrefix(name, "Test") || strings.Contains(name, ":")):
		m.skip = append(m.skip, name)
	case left:
		m.without = append(m.without, name)
	default:
		m.packages = append(m.packages, s)
	}
}

func (m module) name() string { return m.path + "@" + m.version }

// moduleUnits are the packages of the modules that have tests. What is not to
// be run is not fetched for that: its module is then all that is known.
func moduleUnits(ctx context.Context, l *lab) (units []unit, err error) {
	list, err := parseModules(modulesText)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		dir := filepath.Join(l.out, "modules", strings.ReplaceAll(m.name(), "/", "+"), "src")
		if _, err := os.Stat(dir); err != nil && !l.fetches {
			units = append(units, l.testUnit("modules", m.path, m.path, dir, "", ways{}))
			continue
		} else if err != nil {
			if err := m.fetch(ctx, l, dir); err != nil {
				return nil, fmt.Errorf("fetch %s: %w", m.name(), err)
			}
		}
		packages, err := l.packagesIn(ctx, dir, m.packages)
		if err != nil {
			return nil, fmt.Errorf("list the packages of %s: %w", m.name(), err)
		}
		env, err := m.environment(l)
		if err != nil {
			return nil, err
		}
		for _, pkg := range packages {
			if slices.Contains(m.without, strings.TrimPrefix(pkg, m.path+"/")) {
				continue
			}
			units = append(units, l.testUnit("modules", m.path, pkg, dir, m.inputs(pkg), ways{env, m.skipped(pkg)}))
		}
	}
	return units, nil
}

// skipped are the tests of a package that are not run.
func (m module) skipped(pkg string) (tests []string) {
	for _, name := range m.skip {
		in, test, ofOne := strings.Cut(name, ":")
		switch {
		case !ofOne:
			tests = append(tests, name)
		case pkg == m.path+"/"+in:
			tests = append(tests, test)
		}
	}
	return tests
}

// inputs is what a package's results depend on.
func (m module) inputs(pkg string) string {
	s := m.name() + " " + m.sum
	if m.onDisk {
		s += " on disk"
	}
	for _, name := range m.skipped(pkg) {
		s += " without " + name
	}
	return s
}

// environment has the tests of databases write where databases are: pvrun test
// shows a machine the folder TMPDIR, and else has a file system in memory.
func (m module) environment(l *lab) ([]string, error) {
	if !m.onDisk {
		return nil, nil
	}
	dir := filepath.Join(l.out, "tmp")
	return []string{"TMPDIR=" + dir}, os.MkdirAll(dir, 0o777)
}

func (l *lab) packagesIn(ctx context.Context, dir string, patterns []string) ([]string, error) {
	c := l.goCommand(append([]string{"list", "-f", withTests}, patterns...)...)
	c.dir = dir
	out, err := c.output(ctx)
	return strings.Fields(out), err
}

// fetch copies a module from the cache of the go command, which checks it, to
// dir, where it is the main module and tests may write.
func (m module) fetch(ctx context.Context, l *lab, dir string) error {
	out, err := l.goCommand("mod", "download", "-json", m.name()).output(ctx)
	if err != nil {
		return err
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return err
	}
	if got.Sum != m.sum {
		return fmt.Errorf("its sum is %s, but %s in modules.txt", got.Sum, m.sum)
	}
	tmp := filepath.Join(filepath.Dir(dir), "tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.CopyFS(tmp, os.DirFS(got.Dir)); err != nil {
		return err
	}
	// Some modules do not have the sums of all that their tests need.
	c := l.goCommand(append([]string{"list", "-mod=mod", "-test", "-deps"}, m.packages...)...)
	c.dir = tmp
	if _, err := c.output(ctx); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

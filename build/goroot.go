package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// GoSupported lists the Go releases that the patch table is written for; each
// entry stands for all its minor revisions.
var GoSupported = []string{"go1.26"}

const (
	// originFile in a derived root names the installed one.
	originFile = "pvrun-origin"
	// keepRoots is how many derived roots stay in the cache.
	keepRoots = 3
	// inUse protects roots that another build may still be reading.
	inUse = 10 * time.Minute
)

// goroot is an installed Go and the tree derived from it.
type goroot struct {
	installed string
	version   string // go1.26.8
	flags     string // the user's GOFLAGS
	derived   string // below the cache
	noStack   error  // why the tree has no TCP/IP stack; nil where it has
}

// Go is an installed Go.
type Go struct {
	GOROOT  string
	Version string // go1.26.8
}

// FindGo finds the Go that packages in dir are built with.
func FindGo(ctx context.Context, dir string) (Go, error) {
	t, err := findGo("", os.Environ())
	if err != nil {
		return Go{}, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return Go{}, err
	}
	g, err := resolveGo(ctx, t, dir)
	return Go{g.installed, g.version}, err
}

// Origin is the installed tree that a derived one was made from, and root itself
// where it is not derived.
func Origin(root string) string {
	if origin, err := os.ReadFile(filepath.Join(root, originFile)); err == nil {
		return string(origin)
	}
	return root
}

// resolveGo finds the Go that the package in dir is built with: the user's
// environment decides, and so does a toolchain line of the module.
func resolveGo(ctx context.Context, t tool, dir string) (goroot, error) {
	out, err := t.output(ctx, dir, "env", "GOROOT", "GOVERSION", "GOFLAGS")
	if err != nil {
		return goroot{}, err
	}
	lines := append(strings.Split(out, "\n"), "", "")
	root, flags := lines[0], lines[2]
	version, _, _ := strings.Cut(lines[1], " ") // what follows are experiments
	root = Origin(root)
	if !supported(version) {
		return goroot{}, fmt.Errorf("go %s: version %s is not supported, use %s.x",
			root, version, strings.Join(GoSupported, ".x or "))
	}
	return goroot{installed: root, version: version, flags: flags}, nil
}

// command is the go command of the installed Go.
func (g *goroot) command() string { return filepath.Join(g.installed, "bin", "go") }

// settings make that command link with the derived tree.
func (g *goroot) settings() []string {
	return []string{"GOROOT=" + g.derived, "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"}
}

func supported(version string) bool {
	return slices.ContainsFunc(GoSupported, func(s string) bool {
		rest, ok := strings.CutPrefix(version, s)
		return ok && (rest == "" || rest[0] == '.')
	})
}

// derive makes the tree that images are built with, unless the cache has it;
// tree holds the guest's sources.
// The tree's name holds all that it depends on, so its presence is enough.
func (g *goroot) derive(ctx context.Context, t tool, cache string, tree fs.FS) error {
	sources, err := guestSources(tree)
	if err != nil {
		return err
	}
	modules, err := pinnedModules()
	if err != nil {
		return err
	}
	home := filepath.Join(cache, "goroot")
	g.derived = filepath.Join(home, g.version+"-"+g.key(sources, modules))
	leftovers, _ := filepath.Glob(filepath.Join(home, "tmp-*"))
	if g.present() && len(leftovers) == 0 {
		return nil
	}
	unlock, err := lock(ctx, filepath.Join(home, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	// A tree under way belongs to the holder of the lock; those that are there
	// now were left by a pvrun that was killed.
	prune(home, "tmp-*", 0, 0)
	if g.present() { // another pvrun made it meanwhile
		return nil
	}
	if hasSockets(sources) {
		g.noStack = fetch(ctx, t, modules)
	}
	if g.noStack != nil {
		// Programs that need no sockets can do without.
		if g.derived += "-nonet"; g.present() {
			return nil
		}
	}
	if err := g.create(ctx, home, sources, modules); err != nil {
		return err
	}
	prune(home, "go*", keepRoots, inUse)
	return nil
}

// present reports whether the tree is there and marks it as used.
func (g *goroot) present() bool {
	now := time.Now()
	return os.Chtimes(g.derived, now, now) == nil
}

// key hashes the guest, the patches and where the installed Go is.
func (g *goroot) key(sources []source, modules []module) string {
	h := sha256.New()
	fmt.Fprintln(h, g.installed, g.version)
	for _, m := range modules {
		fmt.Fprintln(h, m.Path, m.Version, m.Sum)
	}
	for _, p := range append(slices.Clip(patches), modulePatches...) {
		fmt.Fprintf(h, "%q\n", []string{p.file, p.pattern, p.with})
	}
	for _, name := range slices.Sorted(maps.Keys(additions)) {
		fmt.Fprintf(h, "%s %q\n", name, additions[name])
	}
	for _, s := range sources {
		fmt.Fprintf(h, "%s %q\n", s.name, s.text)
	}
	fmt.Fprintf(h, "%q %q %q\n", ownCopies, leftOut, netSocketFile)
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// create makes the tree beside its place and renames it there.
func (g *goroot) create(ctx context.Context, home string, sources []source, modules []module) error {
	tmp, err := os.MkdirTemp(home, "tmp-")
	if err != nil {
		return fmt.Errorf("derive %s: %w", g.derived, err)
	}
	defer os.RemoveAll(tmp)
	steps := []func() error{
		func() error { return linkTop(tmp, g.installed) },
		func() error { return copyTree(ctx, filepath.Join(tmp, "src"), filepath.Join(g.installed, "src")) },
		func() error { return g.patchTree(tmp) },
		func() error { return g.writeGuest(tmp, sources, modules) },
		func() error { return copyStd(tmp, g.installed) },
		func() error { return os.WriteFile(filepath.Join(tmp, originFile), []byte(g.installed), 0o644) },
		func() error { return os.Chmod(tmp, 0o755) },
		func() error { return os.Rename(tmp, g.derived) },
	}
	for _, step := range steps {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := step(); err != nil {
			return fmt.Errorf("derive a Go tree from %s: %w", g.installed, err)
		}
	}
	return nil
}

// writeGuest adds the guest with the modules that it needs. Without them there is no
// guest/socket, and a program that imports package net is not built.
func (g *goroot) writeGuest(tree string, sources []source, modules []module) error {
	if hasSockets(sources) {
		if err := os.WriteFile(filepath.Join(tree, "src", "net", "zpvrunsocket.go"), netSocketFile, 0o644); err != nil {
			return err
		}
	}
	if g.noStack != nil {
		sources = slices.DeleteFunc(slices.Clone(sources), isSocket)
	} else if err := copyModules(tree, modules, sources); err != nil {
		return err
	}
	return writeSources(filepath.Join(tree, "src", "pvrun"), sources)
}

// patchTree writes the patched and the additional files. A patched file is a
// new file: nothing is ever written through to the installed Go.
func (g *goroot) patchTree(tree string) error {
	text := map[string][]byte{}
	for _, p := range patches {
		src, ok := text[p.file]
		if !ok {
			var err error
			if src, err = os.ReadFile(filepath.Join(g.installed, "src", p.file)); err != nil {
				return fmt.Errorf("patch %s (%s): %w", p.file, p.why, err)
			}
		}
		out, err := p.apply(src)
		if err != nil {
			return err
		}
		text[p.file] = out
	}
	for name, src := range additions {
		text[name] = src
	}
	for name, src := range text {
		if err := replaceFile(filepath.Join(tree, "src", name), src); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile puts text in a new file in place of whatever name is.
func replaceFile(name string, text []byte) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

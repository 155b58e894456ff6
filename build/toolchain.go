package build

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Toolchain is a Go that links programs with the guest library.
type Toolchain struct {
	Command string   // the installed go command
	Origin  string   // the installed tree
	GOROOT  string   // the derived one
	Env     []string // what makes the command use it, NAME=VALUE
	Tags    string   // what -tags must say if the user gives none
	Flags   string   // GOFLAGS with that
	NoNet   error    // why programs that import net cannot be built; nil where they can
}

// FindToolchain finds the Go for the packages in cfg.Dir and derives its tree
// unless the cache has it. Of cfg it uses Dir, GoCommand, CacheDir and Env.
func FindToolchain(ctx context.Context, cfg Config) (Toolchain, error) {
	if err := cfg.setDefaults(); err != nil {
		return Toolchain{}, err
	}
	t, err := findGo(cfg.GoCommand, cfg.Env)
	if err != nil {
		return Toolchain{}, err
	}
	root, err := resolveGo(ctx, t, cfg.Dir)
	if err == nil {
		err = root.derive(ctx, t, cfg.CacheDir, cfg.sources)
	}
	if err != nil {
		return Toolchain{}, err
	}
	return Toolchain{
		Command: root.command(), Origin: root.installed, GOROOT: root.derived, NoNet: root.noStack,
		Env: root.settings(), Tags: WithTag(tagsOf(root.flags)), Flags: flagsWithTag(root.flags),
	}, nil
}

// GuestFlags is a flag of the go command that has the guest library compiled as it
// must be, whatever flags stand before it for all packages: its kernel cannot run
// what -d=checkptr and the like put into code.
const GuestFlags = "-gcflags=pvrun/...="

// FileNames are flags of the go command that make the derived tree's files go
// by the installed ones' names, in tracebacks and profiles. Their lines are the
// same.
func (t Toolchain) FileNames() []string {
	trim := fmt.Sprintf("all='-trimpath=%s=>%s'", t.GOROOT, t.Origin)
	return []string{"-gcflags=" + trim, "-asmflags=" + trim}
}

// MakeImage makes the image of a program that was linked with the derived tree.
func MakeImage(out, linked string) error {
	uses, err := check(linked)
	if err == nil {
		err = checkOutput(out)
	}
	if err == nil {
		_, err = makeImage(out, linked, "", uses)
	}
	return notDerived(linked, err)
}

// WriteImage is MakeImage to an empty file.
func WriteImage(f *os.File, linked string) error {
	uses, err := check(linked)
	if err == nil {
		_, err = writeImage(f, linked, "", outputs{}, uses)
	}
	return notDerived(linked, err)
}

// notDerived is err with a hint where the program is a plain one.
func notDerived(linked string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoGuest):
		return fmt.Errorf("%s: not linked for pvrun (eval \"$(pvrun env)\" makes the go command do that)", linked)
	}
	return fmt.Errorf("make an image of %s: %w", linked, cause(err))
}

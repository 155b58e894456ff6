package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/build"
)

const buildHelp = `Build the image of a Go main package.

PKG is a folder, an import path or .go files, as for go build; the package in
the current folder when there is none. The user's own Go does the work, on a
copy of its source tree in the cache that has the guest library in it. The
user's module is not touched. Programs must be pure Go: cgo is off. The build
tag pvrun is set.`

func newBuild(s streams) *cobra.Command {
	cfg := build.Config{Stdout: s.err, Stderr: s.err}
	cmd := &cobra.Command{
		Use:   "build [-o FILE] [--rootfs DIR] [PKG]",
		Short: "Build a unikernel image from a Go package",
		Long:  buildHelp,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Package = args
			var err error
			if cfg.Output, err = outputFile(cfg.Output, args); err != nil {
				return err
			}
			_, err = buildImage(cmd.Context(), cfg)
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&cfg.Output, "output", "o", "", "write the image to `FILE`, or into the folder FILE (default: the package's name and .img)")
	f.StringVar(&cfg.RootFS, "rootfs", "", "pack `DIR` into the image as the guest's root file system")
	f.StringVar(&cfg.Tags, "tags", "", "build `TAGS`, as for go build")
	f.StringVar(&cfg.Ldflags, "ldflags", "", "linker `FLAGS`, as for go build")
	return cmd
}

// buildImage builds until a signal asks pvrun to end, which then leaves nothing
// half made behind.
func buildImage(ctx context.Context, cfg build.Config) (build.Result, error) {
	ctx, stop := untilSignal(ctx)
	defer stop()
	res, err := build.Build(ctx, cfg)
	var sig signalError
	if errors.As(context.Cause(ctx), &sig) {
		return res, exitError{exitSignal + int(sig.Signal), nil}
	}
	return res, err
}

// untilSignal is ctx until a signal that asks pvrun to end, which becomes its
// cause. The next one ends pvrun the hard way.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // nohup(1), for one, wants it to stay so
			signal.Notify(c, s)
		}
	}
	go func() {
		select {
		case s := <-c:
			cancel(signalError{s.(syscall.Signal)})
			signal.Stop(c)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(c); cancel(nil) }
}

// outputFile is the file that -o means, as for go build: a folder, or a name
// that ends in a slash, takes a file of the default name.
func outputFile(name string, pkg []string) (string, error) {
	if name == "" {
		return imageName(pkg), nil
	}
	info, err := os.Stat(name)
	isDir := err == nil && info.IsDir()
	if strings.HasSuffix(name, "/") && !isDir {
		if err := os.MkdirAll(name, 0o777); err != nil {
			return "", fmt.Errorf("write %s: %w", name, errors.Unwrap(err))
		}
		isDir = true
	}
	if isDir {
		name = filepath.Join(name, imageName(pkg))
	}
	return name, nil
}

// goFlags gives those flags of build that go build has too their second dash,
// so that they may be written as for go build.
func goFlags(args []string) []string {
	if len(args) == 0 || args[0] != "build" {
		return args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		switch name, _, _ := strings.Cut(arg, "="); name {
		case "-tags", "-ldflags":
			args[i] = "-" + arg
		}
	}
	return args
}

// imageName is the file that an image of the package goes to by default.
func imageName(pkg []string) string { return programName(pkg) + ".img" }

// programName is the package's name as go build derives it: the last element
// of its path, or the first file's name.
func programName(pkg []string) string {
	name := "."
	if len(pkg) > 0 {
		name = pkg[0]
	}
	if file, ok := strings.CutSuffix(name, ".go"); ok {
		return filepath.Base(file)
	}
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return filepath.Base(name)
}

// Package build turns a Go main package into a unikernel image: it derives a
// Go tree with the guest library in it, runs the user's own go command on
// that tree, checks the program and adds the image's note and root file
// system.
package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pvrun/pvrun"
)

// Config says what to build. The zero value of a field is a sensible default.
type Config struct {
	// Package is one folder or import path, or the .go files of a package.
	// Empty: the package in Dir.
	Package []string
	// Output is the image file. Empty, or /dev/null: a file in the cache, see
	// Result.
	Output string
	// RootFS is a folder that becomes the guest's root file system.
	RootFS string
	// Tags, beside the tag pvrun, and Ldflags are handed to go build.
	Tags, Ldflags string
	// Dir is where Package is looked up. Empty: the working directory.
	Dir string
	// Stdout and Stderr take the go command's messages. nil: discarded.
	Stdout, Stderr io.Writer
	// GoCommand is the go command. Empty: the first one on PATH.
	GoCommand string
	// CacheDir holds derived Go trees and linked programs.
	// Empty: the folder pvrun in the user's cache directory.
	CacheDir string
	// Env is the go command's environment. nil: that of this process.
	Env []string

	sources fs.FS // the guest; tests have another one
}

// Result is a built image.
type Result struct {
	Image    string // the file
	Manifest Manifest
}

// Build builds an image. The tree of the user's module is not touched.
func Build(ctx context.Context, cfg Config) (Result, error) {
	b, err := newBuilder(ctx, cfg)
	if err != nil {
		return Result{}, err
	}
	if err := b.root.derive(ctx, b.tool, b.cfg.CacheDir, b.cfg.sources); err != nil {
		return Result{}, err
	}
	unlock, err := b.lockWork(ctx)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	linked := filepath.Join(b.work, "program")
	if err := b.link(ctx, linked); err != nil {
		return Result{}, err
	}
	return b.finish(linked)
}

// builder is one build under way.
type builder struct {
	cfg    Config
	target target
	tool   tool
	root   goroot
	work   string // a folder in the cache that only builds like this one use
}

func newBuilder(ctx context.Context, cfg Config) (*builder, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	target, err := newTarget(cfg.Dir, cfg.Package)
	if err != nil {
		return nil, err
	}
	if err := checkRootFS(cfg.RootFS); err != nil {
		return nil, err
	}
	if err := checkOutput(cfg.Output); err != nil {
		return nil, fmt.Errorf("build %s: %w", target, err)
	}
	t, err := findGo(cfg.GoCommand, cfg.Env)
	if err != nil {
		return nil, err
	}
	root, err := resolveGo(ctx, t, target.dir)
	if err != nil {
		return nil, err
	}
	return &builder{cfg: cfg, target: target, tool: t, root: root}, nil
}

func (cfg *Config) setDefaults() error {
	if cfg.CacheDir == "" {
		dir, err := CacheDir()
		if err != nil {
			return err
		}
		cfg.CacheDir = dir
	}
	if cfg.sources == nil {
		cfg.sources = pvrun.Sources
	}
	if cfg.Stdout == nil {
		cfg.Stdout = io.Discard
	}
	if cfg.Stderr == nil {
		cfg.Stderr = io.Discard
	}
	if cfg.Env == nil {
		cfg.Env = os.Environ()
	}
	var err1, err2 error
	cfg.CacheDir, err1 = filepath.Abs(cfg.CacheDir)
	cfg.Dir, err2 = filepath.Abs(cfg.Dir)
	return firstError(err1, err2)
}

// CacheDir is where derived Go trees and linked programs are kept by default.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(dir, "pvrun"), nil
}

// keepWork is how long a linked program that nobody builds again is kept.
const keepWork = 10 * 24 * time.Hour

// lockWork makes b.work, where the linked program stays from build to build:
// the go command then sees that it is up to date and does not link again.
func (b *builder) lockWork(ctx context.Context) (unlock func(), err error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", []string{b.root.derived, b.target.dir, b.cfg.Tags, b.cfg.Ldflags, b.cfg.RootFS})
	fmt.Fprintf(h, "%q\n", b.target.args)
	home := filepath.Join(b.cfg.CacheDir, "link")
	b.work = filepath.Join(home, fmt.Sprintf("%x", h.Sum(nil)[:8]))
	if _, err := os.Stat(b.work); err != nil {
		prune(home, "*", 0, keepWork)
	}
	unlock, err = lock(ctx, filepath.Join(b.work, "lock"))
	now := time.Now()
	os.Chtimes(b.work, now, now)
	return unlock, err
}

// link runs go build on the derived tree.
func (b *builder) link(ctx context.Context, out string) error {
	stderr := without{b.cfg.Stderr, notMainMessage}
	text, err := b.goTool().run(ctx, b.target.dir, b.cfg.Stdout, stderr, b.linkArgs(out)...)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("build %s: %w", b.target, err)
	}
	if err != nil {
		return fmt.Errorf("build %s: %w", b.target, b.explain(ctx, text, err))
	}
	return nil
}

func (b *builder) linkArgs(out string) []string {
	args := []string{"build", "-trimpath", "-buildmode=exe", "-o", out, GuestFlags}
	if !strings.Contains(b.root.flags, "-buildvcs") {
		args = append(args, "-buildvcs=false")
	}
	args = append(args, "-tags", b.tags())
	if b.cfg.Ldflags != "" {
		args = append(args, "-ldflags", b.cfg.Ldflags)
	}
	return append(append(args, "--"), b.target.args...)
}

// goTool is the installed go command at work on the derived tree.
func (b *builder) goTool() tool {
	t := b.tool.with(b.root.settings()...)
	t.path = b.root.command()
	return t
}

// finish checks the linked program and makes the image of it.
func (b *builder) finish(linked string) (Result, error) {
	out := b.cfg.Output
	if out == "" || out == os.DevNull {
		out = filepath.Join(b.work, "image")
	}
	uses, err := check(linked)
	if err != nil {
		return Result{}, fmt.Errorf("build %s: %w", b.target, err)
	}
	m, err := makeImage(out, linked, b.cfg.RootFS, uses)
	if err != nil {
		return Result{}, fmt.Errorf("build %s: %w", b.target, err)
	}
	return Result{Image: out, Manifest: m}, nil
}

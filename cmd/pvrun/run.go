package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

const runHelp = `Run a unikernel image, or the image of a Go package, in a virtual machine.

IMAGE is a file that pvrun build made, or pvrun snapshot: a snapshot goes on
where it was made, with other streams, and has its memory, arguments and
environment already. Anything else is a package, as for pvrun build, and is built
first. What follows it goes to the program, so pvrun's own flags come before it.
The program has pvrun's standard streams, and gets the signals that pvrun gets; a
second SIGINT or SIGTERM ends the machine, and so does the first when the program
does not take it within three seconds; to ignore a signal is to take it.

` + runExitHelp

// runFlags are what the command line of `pvrun run` says.
type runFlags struct {
	streams
	env     []string
	envFile string
	mode    modeValue
	engine  engineValue
	memory  sizeValue
	rootfs  string
	storage storage
	network netFlags
	dir     string
	timeout time.Duration
	stats   string

	verb  string         // for messages
	given *pflag.FlagSet // those of the command line
}

func newRun(s streams) *cobra.Command {
	r := runFlags{streams: s, memory: hv.DefaultMemory, mode: modeValue(hypercall.ModePV)}
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE|PKG [args...]",
		Short: "Run an image or a Go package in a virtual machine",
		Long:  runHelp,
		Args:  needs("an image or a package"),

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runError(r.run(cmd.Context(), args))
		},
	}
	f := cmd.Flags()
	r.verb, r.given = "run", f
	f.SortFlags = false
	f.SetInterspersed(false)
	r.addEnv(f)
	f.Var(&r.mode, "mode", modeUsage)
	f.Var(&r.engine, "engine", engineUsage)
	r.addMemory(f)
	r.storage.addFlags(f, "v")
	r.network.addFlags(f, "p", "user")
	r.addDir(f)
	f.DurationVar(&r.timeout, "timeout", 0, "end the machine after `DURATION` such as 10s")
	f.StringVar(&r.stats, "stats", "", "write what was counted and timed to `FILE` as JSON; - for a table on stderr")
	return cmd
}

func (r *runFlags) addEnv(f *pflag.FlagSet) {
	f.StringArrayVarP(&r.env, "env", "e", nil, "set `NAME=VALUE` in the program's environment; NAME takes the host's value")
	f.StringVar(&r.envFile, "env-file", "", "set what `FILE` says, a NAME=VALUE a line")
}

func (r *runFlags) addMemory(f *pflag.FlagSet) {
	f.VarP(&r.memory, "memory", "m", "`SIZE` of the machine's memory")
	f.StringVar(&r.rootfs, "rootfs", "", "use `DIR` as root file system in place of the image's own")
}

func (r *runFlags) addDir(f *pflag.FlagSet) {
	f.StringVarP(&r.dir, "workdir", "w", "/", "`DIR` in the guest that the program starts in; made if it is missing")
}

// runError gives err the exit code that it has under `pvrun run`.
func runError(err error) error {
	var exit exitError
	var usage usageError
	var fault *hv.GuestFault
	switch {
	case err == nil || errors.As(err, &exit) || errors.As(err, &usage):
		return err
	case errors.As(err, &fault):
		return exitError{exitFault, err}
	case errors.Is(err, build.ErrNotFound):
		return exitError{exitNotFound, err}
	}
	return exitError{exitHost, err}
}

func (r *runFlags) run(ctx context.Context, args []string) error {
	if err := r.checkTimeout(); err != nil {
		return err
	}
	if err := r.checkStats(); err != nil {
		return err
	}
	pkg, rest := splitArgs(args)
	if isSnapshot(pkg[0]) {
		return r.resume(ctx, pkg[0], rest)
	}
	cfg, err := r.config()
	if err != nil {
		return err
	}
	if cfg.Engine, err = r.engine.choose(r.err); err != nil {
		return err
	}
	if cfg.Image, err = r.image(ctx, pkg); err != nil {
		return err
	}
	cfg.Args = append([]string{argv0(pkg)}, rest...)
	a, err := r.storage.attach(&cfg)
	if err != nil {
		return err
	}
	defer a.close()
	return r.startConnected(ctx, cfg)
}

func (r *runFlags) checkTimeout() error {
	if r.timeout < 0 {
		return r.usage(fmt.Errorf("--timeout %v: must not be negative", r.timeout))
	}
	return nil
}

// usage makes err one of the command line's.
func (r *runFlags) usage(err error) error { return usageError{"pvrun " + r.verb, err} }

// startConnected runs the machine on its network.
func (r *runFlags) startConnected(ctx context.Context, cfg hv.Config) error {
	err := r.network.attach(&cfg, r.warn)
	if err != nil {
		return err
	}
	err = r.start(ctx, func() (machine, error) { return newMachine(cfg) })
	return firstError(err, r.network.close())
}

// config is the machine that the flags describe.
func (r *runFlags) config() (hv.Config, error) {
	cfg := hv.Config{
		Mode: hypercall.Mode(r.mode), Memory: int64(r.memory), Dir: r.dir, CollectKVMStats: r.stats != "",
		Stdin: r.in, Stdout: r.out, Stderr: r.err,
	}
	var err error
	if cfg.Env, err = r.guestEnv(); err != nil {
		return cfg, err
	}
	if r.rootfs != "" {
		cfg.RootFS, err = build.PackRootFS(r.rootfs)
	}
	return cfg, err
}

// splitArgs tells the image or package from the program's arguments. Several
// .go files in front are one package.
func splitArgs(args []string) (pkg, rest []string) {
	n := 1
	if strings.HasSuffix(args[0], ".go") {
		for n < len(args) && strings.HasSuffix(args[n], ".go") {
			n++
		}
	}
	return args[:n], args[n:]
}

// image is the file to run: pkg itself, or what it is built to in the cache.
func (r *runFlags) image(ctx context.Context, pkg []string) (string, error) {
	info, err := os.Stat(pkg[0])
	switch {
	case strings.HasSuffix(pkg[0], ".go"):
	case err == nil && !info.IsDir():
		return pkg[0], nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	case err != nil && (filepath.Ext(pkg[0]) == ".img" || filepath.Ext(pkg[0]) == ".snap"):
		return "", exitError{exitNotFound, fmt.Errorf("%s %s: no such file", r.verb, pkg[0])}
	}
	var messages bytes.Buffer
	res, err := buildImage(ctx, build.Config{Package: pkg, Stdout: &messages, Stderr: &messages})
	if err != nil {
		r.err.Write(messages.Bytes())
	}
	return res.Image, err
}

// argv0 is the program's name for itself.
func argv0(pkg []string) string {
	return strings.TrimSuffix(strings.TrimSuffix(programName(pkg), ".img"), ".snap")
}

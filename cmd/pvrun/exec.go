package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// testMemory is a test's memory when the command line does not say. It is only
// taken from the host as far as a test uses it.
const testMemory = 4 << 30

const execHelp = `Run a program that the go command has just linked, in a virtual machine:

    eval "$(pvrun env)"
    go test -exec 'pvrun exec' ./...
    go run -exec 'pvrun exec' ./cmd/mytool

The program finds its module, GOROOT and its own file where they are on the
host, to be read, and the host's environment. /tmp is in memory; TMPDIR, when it
is set, and GOCOVERDIR are the host's folders. Files that the flags of a test
binary name are written to the host.

` + runExitHelp

// execRun is one `pvrun exec`.
type execRun struct {
	runFlags
	storage  storage
	writable bool
}

func newExec(s streams) *cobra.Command {
	x := execRun{runFlags: runFlags{streams: s, verb: "exec"}}
	cmd := &cobra.Command{
		Use:   "exec [flags] PROGRAM [args...]",
		Short: "Run a program that go test or go run has linked",
		Long:  execHelp,
		Args:  needs("a program"),

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runError(x.run(cmd.Context(), args))
		},
	}
	x.addFlags(cmd, "let the program write into its module")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// addFlags gives cmd the flags that pvrun test and pvrun exec share.
func (x *execRun) addFlags(cmd *cobra.Command, writable string) {
	x.memory, x.mode = testMemory, modeValue(hypercall.ModePV)
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&x.mode, "mode", modeUsage)
	f.Var(&x.engine, "engine", engineUsage)
	f.VarP(&x.memory, "memory", "m", "`SIZE` of a machine's memory")
	x.storage.addFlags(f, "")
	x.network.addFlags(f, "", "none")
	x.network.any = true
	f.BoolVar(&x.writable, "writable", false, writable)
}

func (x *execRun) run(ctx context.Context, args []string) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	program := absolute(dir, args[0])
	image, err := x.image(program)
	if err != nil {
		return err
	}
	defer image.Close()
	p := newPlaces(dir, os.Environ())
	if err := p.program(program, x.writable); err != nil {
		return err
	}
	out, err := p.outputs(args[1:])
	if err != nil {
		return err
	}
	defer out.remove()
	cfg := hv.Config{
		Image: fmt.Sprintf("/proc/self/fd/%d", image.Fd()), Mode: hypercall.Mode(x.mode), Memory: int64(x.memory),
		Args: append([]string{program}, out.args...), Env: p.env, Dir: p.dir,
		Stdin: x.in, Stdout: x.out, Stderr: x.err,
	}
	if cfg.Engine, err = x.engine.choose(x.err); err != nil {
		return err
	}
	if cfg.RootFS, err = build.PackFolders(p.folders); err != nil {
		return err
	}
	x.storage.volumes = p.with(x.storage.volumes)
	a, err := x.storage.attach(&cfg)
	if err != nil {
		return err
	}
	defer a.close()
	err = x.startConnected(ctx, cfg)
	if more := out.deliver(); err == nil {
		err = more
	}
	return err
}

// image makes the program's image, in memory.
func (x *execRun) image(program string) (*os.File, error) {
	if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) {
		return nil, exitError{exitNotFound, fmt.Errorf("run %s: no such file", program)}
	}
	fd, err := unix.MemfdCreate("pvrun-image", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), program)
	if err := build.WriteImage(f, program); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// moduleRoot is the folder of dir's workspace, else of its module, else dir.
func moduleRoot(dir string) string {
	for _, file := range []string{"go.work", "go.mod"} {
		for at := dir; ; at = filepath.Dir(at) {
			if _, err := os.Stat(filepath.Join(at, file)); err == nil {
				return at
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return dir
}

// within is name's place below root, if it has one.
func within(root, name string) (rel string, ok bool) {
	rel, err := filepath.Rel(root, name)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

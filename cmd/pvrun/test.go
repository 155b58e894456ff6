package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/build"
)

const testHelp = `Run the tests of Go packages in virtual machines.

This is go test with each test binary in a machine of its own: it takes go
test's flags and packages, prints what it prints and exits as it does. A test
finds its module and GOROOT where they are on the host, to be read, and has the
environment that go test would give it; /tmp is in memory, and TMPDIR, when it is
set, the host's folder. Profiles and coverage are written where go test writes them. With
-c, the binaries are images for pvrun run.

-race, -msan, -asan and -fuzz are refused. Results are not cached. The build tag
pvrun is set.

The flags below are pvrun's; those of go test stand in 'go help testflag'.`

// newTest makes the verb that is go test with pvrun exec.
func newTest(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [flags] [go test flags] [PKG...]",
		Short: "Run the tests of Go packages in virtual machines",
		Long:  testHelp,

		DisableFlagParsing:    true,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := sortTestArgs(args)
			switch {
			case t.help:
				return cmd.Help()
			case err != nil:
				return usageError{"pvrun test", err}
			}
			return t.run(cmd.Context(), s)
		},
	}
	new(execRun).addFlags(cmd, "let tests write into their module") // for the help text
	return cmd
}

func (t *testArgs) run(ctx context.Context, s streams) error {
	own, err := execFlags(t.own)
	if err != nil {
		return usageError{"pvrun test", err}
	}
	tools, err := toolchain(ctx, t.dir)
	if err != nil {
		return err
	}
	args := []string{"test"}
	if t.dir != "" {
		args = append(args, "-C="+t.dir)
	}
	args = append(args, "-tags="+tools.Tags)
	if strings.Contains(os.Getenv("GOFLAGS"), "-gcflags") {
		args = append(args, build.GuestFlags) // other flags for all packages would undo those
	} else {
		args = append(args, tools.FileNames()...)
	}
	if t.compile {
		return t.compileOnly(ctx, s, tools, args)
	}
	run, err := execCommand(own)
	if err != nil {
		return err
	}
	args = append(append(args, "-exec="+run), t.rest...)
	return becomeGo(tools, args)
}

// toolchain finds the Go for the packages in dir, until a signal asks pvrun to
// end.
func toolchain(ctx context.Context, dir string) (build.Toolchain, error) {
	ctx, stop := untilSignal(ctx)
	defer stop()
	tools, err := build.FindToolchain(ctx, build.Config{Dir: dir})
	var sig signalError
	if errors.As(context.Cause(ctx), &sig) {
		err = exitError{exitSignal + int(sig.Signal), nil}
	}
	if tools.NoNet != nil {
		fmt.Fprintf(os.Stderr, "pvrun: tests that import net cannot be built: %v\n", tools.NoNet)
	}
	if err == nil && os.Getenv("TMPDIR") != "" && os.Getenv("GOTMPDIR") == "" {
		err = ownWorkFolder(&tools)
	}
	return tools, err
}

// ownWorkFolder has the go command work elsewhere than in TMPDIR, which is the
// tests' to write: what it links and runs lies there.
func ownWorkFolder(tools *build.Toolchain) error {
	dir, err := ownWork()
	if err != nil {
		return err
	}
	tools.Env = append(tools.Env, "GOTMPDIR="+dir)
	return os.MkdirAll(dir, 0o777)
}

func ownWork() (string, error) {
	cache, err := build.CacheDir()
	return filepath.Join(cache, "tmp"), err
}

// execFlags are flags of pvrun exec, checked, with paths that lead to the same
// folders from everywhere: go test runs a test in its package's.
func execFlags(own []string) ([]string, error) {
	var x execRun
	cmd := &cobra.Command{}
	x.addFlags(cmd, "")
	if err := cmd.Flags().Parse(own); err != nil {
		return nil, err
	}
	list := []string{"--memory=" + x.memory.String(), "--mode=" + x.mode.String()}
	if x.engine != "" {
		list = append(list, "--engine="+x.engine.String())
	}
	kept, err := x.storage.words(filepath.Abs)
	if err != nil {
		return nil, err
	}
	list = append(list, kept...)
	if kept, err = x.network.words(filepath.Abs); err != nil {
		return nil, err
	}
	list = append(list, kept...)
	if x.writable {
		list = append(list, "--writable")
	}
	return list, nil
}

// execCommand is what go test starts in a binary's place (`go help run`,
// -exec).
func execCommand(own []string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find pvrun itself: %w", err)
	}
	words := append([]string{self, "exec"}, own...)
	for i, w := range words {
		if words[i], err = quote(w); err != nil {
			return "", err
		}
	}
	return strings.Join(words, " "), nil
}

// quote is a word as the go command splits it: in quotes of one kind, which it
// cannot hold.
func quote(w string) (string, error) {
	switch {
	case !strings.ContainsAny(w, " \t\n'\""):
		return w, nil
	case !strings.Contains(w, "'"):
		return "'" + w + "'", nil
	case !strings.Contains(w, `"`):
		return `"` + w + `"`, nil
	}
	return "", fmt.Errorf("%s: the go command cannot be told a name with both kinds of quotes", w)
}

// becomeGo puts the go command in pvrun's place: signals, streams and exit code
// are then its own. Tests of pvrun have another one.
var becomeGo = func(tools build.Toolchain, args []string) error {
	argv := append([]string{"go"}, args...)
	err := syscall.Exec(tools.Command, argv, goEnv(tools))
	return fmt.Errorf("start %s: %w", tools.Command, err)
}

// goEnv is pvrun's environment with what makes the go command use tools. Nothing
// is in it twice: a process that is started so takes the first.
func goEnv(tools build.Toolchain) []string {
	return (&exec.Cmd{Env: append(os.Environ(), tools.Env...)}).Environ()
}

// compileOnly does -c: the binaries are linked in a folder aside, and become
// images on their way to their places.
func (t *testArgs) compileOnly(ctx context.Context, s streams, tools build.Toolchain, args []string) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	work, err := os.MkdirTemp("", "pvrun-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	args = append(append(args, "-c", "-o="+work+"/"), t.rest...)
	cmd := exec.CommandContext(ctx, tools.Command, args...)
	cmd.Env = goEnv(tools)
	cmd.Stdout, cmd.Stderr = s.out, s.err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err = cmd.Run()
	var sig signalError
	var exit *exec.ExitError
	switch {
	case errors.As(context.Cause(ctx), &sig):
		return exitError{exitSignal + int(sig.Signal), nil}
	case errors.As(err, &exit):
		return exitError{exit.ExitCode(), nil}
	case err != nil:
		return fmt.Errorf("start %s: %w", tools.Command, err)
	}
	return t.place(work)
}

// place moves the images to where -o says, or to the current folder.
func (t *testArgs) place(work string) error {
	made, err := os.ReadDir(work)
	if err != nil {
		return err
	}
	out := absolute(t.dir, t.output)
	if t.output == os.DevNull || len(made) == 0 {
		return nil
	}
	info, err := os.Stat(out)
	folder := t.output == "" || strings.HasSuffix(t.output, "/") || err == nil && info.IsDir()
	if !folder && len(made) > 1 {
		return usageError{"pvrun test", fmt.Errorf("-o %s: with several packages it must be a folder", t.output)}
	}
	if strings.HasSuffix(t.output, "/") {
		if err := os.MkdirAll(out, 0o777); err != nil {
			return err
		}
	}
	for _, m := range made {
		to := out
		if folder {
			to = filepath.Join(out, m.Name())
		}
		if err := build.MakeImage(to, filepath.Join(work, m.Name())); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun"
)

// streams are the standard streams of pvrun.
type streams struct {
	in       *os.File
	out, err io.Writer
}

// run is pvrun without its process: it returns the exit code.
func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	s := streams{stdin, stdout, stderr}
	err, done := runDirectly(ctx, s, args)
	if !done {
		err = execute(ctx, s, args)
	}
	report(stderr, err)
	return exitCode(err)
}

// direct are the verbs that run a machine at once.
var direct = map[string]func(streams) *cobra.Command{"run": newRun, "invoke": newInvoke}

// runDirectly does `pvrun run` and `pvrun invoke` with cobra's flags but without its
// command tree, which would take as long to set up as a virtual machine. Whatever is
// not plainly to be run is left to execute, help and usage errors included.
func runDirectly(ctx context.Context, s streams, args []string) (err error, done bool) {
	if len(args) == 0 || direct[args[0]] == nil {
		return nil, false
	}
	cmd := direct[args[0]](s)
	flags := cmd.Flags()
	if flags.Parse(args[1:]) != nil || flags.NArg() == 0 {
		return nil, false
	}
	cmd.SetContext(ctx)
	return cmd.RunE(cmd, flags.Args()), true
}

func execute(ctx context.Context, s streams, args []string) error {
	root := newRoot(s)
	root.SetArgs(goFlags(args))
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	return root.ExecuteContext(ctx)
}

// report prints err as one line, unless it has been told already.
func report(w io.Writer, err error) {
	var exit exitError
	if err == nil || errors.As(err, &exit) && exit.err == nil {
		return
	}
	fmt.Fprintf(w, "pvrun: %s\n", strings.TrimSpace(err.Error()))
}

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "pvrun",
		Short:         "Run Go programs as unikernels",
		Long:          "pvrun turns an ordinary Go program into a unikernel image and runs it in a\nvirtual machine, with no operating system inside.",
		Version:       pvrun.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{cmd.CommandPath(), flagOfAnother(cmd, err)}
	})
	root.AddCommand(newBuild(s), newRun(s), newSnapshot(s), newInvoke(s), newServe(), newTest(s), newExec(s), newEnv(s), newCompare(s), newInspect(s), newVolume(s), newDoctor(s))
	root.AddCommand(extraCommands()...)
	for _, cmd := range root.Commands() {
		checkArgs(cmd)
	}
	checkArgs(root)
	return root
}

// flagOfAnother is err, which is about a flag of cmd, with a hint where the flag is
// one that another command has.
func flagOfAnother(cmd *cobra.Command, err error) error {
	var unknown interface {
		GetSpecifiedName() string
		GetSpecifiedShortnames() string // as go build's flags look, with one dash
	}
	if !errors.As(err, &unknown) {
		return err
	}
	short, _, _ := strings.Cut(unknown.GetSpecifiedShortnames(), "=")
	is := func(flags ...string) bool {
		return slices.Contains(flags, unknown.GetSpecifiedName()) || short != "" && slices.Contains(flags, short)
	}
	switch name := cmd.Name(); {
	case name == "run" && is("tags", "ldflags", "output", "o"):
		return fmt.Errorf("%w: only 'pvrun build' has it, which makes an image to run", err)
	case (name == "snapshot" || name == "invoke") && is(beyondSnapshots...):
		return fmt.Errorf("%w: a machine that snapshots are made of can have no folders and disks, and is no bare PC", err)
	case name == "invoke" && is("p", "publish", "ip", "gateway", "dns", "mac"):
		return fmt.Errorf("%w: there may be several machines, and none runs but while it answers", err)
	}
	return err
}

// beyondSnapshots are the flags of run for what a snapshot cannot have.
var beyondSnapshots = []string{"v", "volume", "disk", "rootfs-disk", "mode"}

// checkArgs makes a usage error of what cmd's own check of arguments says.
func checkArgs(cmd *cobra.Command) {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return usageError{cmd.CommandPath(), err}
		}
		return nil
	}
}

// needs is the check of a verb that takes what, and perhaps more.
func needs(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("needs " + what)
		}
		return nil
	}
}

// needsOne is the check of a verb that takes what and no more.
func needsOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return errors.New("needs " + what + " and nothing else")
		}
		return nil
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/internal/compare"
	"github.com/pvrun/pvrun/internal/network"
)

const compareHelp = `Run workloads in each mode of a machine and compare what an operation takes:
exits by reason, the kernel's own count of all exits, the fewest that theory
allows, time, and CPU time of host and guest.

The workloads are
  %s
where 'paging', 'blk' and 'net' name all that begin so. 'net' needs pvrun-net. With IMAGE, a file or a package as for
pvrun run, that alone is run, and a whole run is the operation; arguments of
its own that begin with a dash come after --.

A program runs with many operations and with none, and the difference is what
they took. Progress goes to stderr; -o html is a page with charts in one file,
-o bench is for benchstat -col /mode, or -col /engine.`

// compareFlags are what the command line of `pvrun compare` says.
type compareFlags struct {
	streams
	workloads listValue
	all       bool // the command line chooses none
	modes     listValue
	engines   listValue
	runs      int
	memory    sizeValue
	timeout   time.Duration
	format    compareFormat
}

func newCompare(s streams) *cobra.Command {
	c := compareFlags{streams: s, format: compareFormat(formatTable)}
	cmd := &cobra.Command{
		Use:   "compare [flags] [IMAGE|PKG [args...]]",
		Short: "Compare hypercalls with trap-and-emulate",
		Long:  fmt.Sprintf(compareHelp, inLines(compare.Names())),
		Args:  cobra.ArbitraryArgs,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.check(args); err != nil {
				return usageError{"pvrun compare", err}
			}
			return c.compare(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&c.workloads, "workloads", "run these workloads, a `LIST` with commas (default all)")
	f.Var(&c.modes, "modes", "in these modes, a `LIST` with commas (default "+strings.Join(compare.Modes, ",")+")")
	f.Var(&c.engines, "engines", "on these engines, a `LIST` of "+strings.Join(compare.Engines, " and ")+" (default that of pvrun run)")
	// benchstat gives a confidence interval from 6 on.
	f.IntVar(&c.runs, "runs", 6, "`N` runs of each workload in each mode")
	f.VarP(&c.format, "output", "o", "`FORMAT` of the output: table, json, bench or html")
	f.VarP(&c.memory, "memory", "m", "`SIZE` of a machine's memory, if not that of pvrun run")
	f.DurationVar(&c.timeout, "timeout", 5*time.Minute, "give up when one machine takes longer than `DURATION`")
	cmd.RegisterFlagCompletionFunc("workloads", cobra.FixedCompletions(compare.Names(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("modes", cobra.FixedCompletions(compare.Modes, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("engines", cobra.FixedCompletions(compare.Engines, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(compareFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// inLines joins names by commas, in lines of the help's width.
func inLines(names []string) string {
	const width = 78
	text, line := "", ""
	for i, name := range names {
		if i < len(names)-1 {
			name += ","
		}
		if len(line)+1+len(name) > width-2 {
			text, line = text+line+"\n  ", ""
		}
		if line != "" {
			line += " "
		}
		line += name
	}
	return text + line
}

// listValue is a flag with names between commas; nil if it is not given.
type listValue []string

func (v *listValue) Type() string   { return "list" }
func (v *listValue) String() string { return strings.Join(*v, ",") }
func (v *listValue) Set(s string) error {
	*v = strings.Split(s, ",")
	return nil
}

// compareFormat is the value of the flag -o.
type compareFormat string

var compareFormats = []string{"table", "json", "bench", "html"}

func (o *compareFormat) String() string { return string(*o) }
func (o *compareFormat) Type() string   { return "format" }
func (o *compareFormat) Set(s string) error {
	if !slices.Contains(compareFormats, s) {
		return errors.New("must be table, json, bench or html")
	}
	*o = compareFormat(s)
	return nil
}

// check finds what is wrong with the command line, and completes it.
func (c *compareFlags) check(args []string) error {
	if c.all = c.workloads == nil; c.all {
		c.workloads = compare.Names()
	}
	if c.modes == nil {
		c.modes = compare.Modes
	}
	switch {
	case c.runs < 1 || c.runs > 1000:
		return fmt.Errorf("--runs %d: must be from 1 to 1000", c.runs)
	case c.timeout <= 0:
		return fmt.Errorf("--timeout %v: must be more than 0", c.timeout)
	case !c.all && len(args) > 0:
		return fmt.Errorf("--workloads and %s: an image is a workload of its own, name one or the other", args[0])
	}
	for _, mode := range c.modes {
		if !slices.Contains(compare.Modes, mode) {
			return fmt.Errorf("--modes: no mode %q: there are %s", mode, strings.Join(compare.Modes, " and "))
		}
	}
	for _, engine := range c.engines {
		if !slices.Contains(compare.Engines, engine) {
			return fmt.Errorf("--engines: no engine %q: there are %s", engine, strings.Join(compare.Engines, " and "))
		}
	}
	if _, err := compare.Select(c.workloads); err != nil {
		return fmt.Errorf("--workloads: %w", err)
	}
	return nil
}

// withoutNet leaves out what needs a network where there can be none.
func (c *compareFlags) withoutNet(list []compare.Workload) []compare.Workload {
	_, err := network.Helper()
	if !c.all || err == nil {
		return list
	}
	fmt.Fprintf(c.err, "the net workloads are left out: %v\n", err)
	return slices.DeleteFunc(list, func(w compare.Workload) bool { return w.Net })
}

func (c *compareFlags) compare(ctx context.Context, args []string) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	r, err := c.report(ctx, args)
	var sig signalError
	var exit exitError
	switch {
	case errors.As(context.Cause(ctx), &sig):
		return exitError{exitSignal + int(sig.Signal), nil}
	case errors.As(err, &exit) && exit.err != nil: // with a code of pvrun run
		return exit.err
	case err != nil:
		return err
	}
	if err := c.write(r); err != nil {
		return fmt.Errorf("compare: write the report: %w", err)
	}
	return nil
}

// report builds and runs all there is to run.
func (c *compareFlags) report(ctx context.Context, args []string) (*compare.Report, error) {
	dir, err := os.MkdirTemp("", "pvrun-compare-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cfg := compare.Config{Runs: c.runs, Progress: c.err}
	cfg.Ways = compare.Ways(inOrder(compare.Engines, c.engines), inOrder(compare.Modes, c.modes))
	if cfg.Runner, err = c.runner(dir); err != nil {
		return nil, err
	}
	if err := c.find(ctx, &cfg, args, dir); err != nil {
		return nil, err
	}
	return compare.Run(ctx, cfg)
}

// inOrder are those of all that were chosen, once each.
func inOrder(all, chosen []string) (list []string) {
	for _, name := range all {
		if slices.Contains(chosen, name) {
			list = append(list, name)
		}
	}
	return list
}

// runner runs this pvrun again for each machine.
func (c *compareFlags) runner(dir string) (compare.Runner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	flags := []string{"--timeout", c.timeout.String()}
	if c.memory != 0 {
		flags = append(flags, "-m", fmt.Sprint(int64(c.memory)>>10)+"k")
	}
	return newRunner(compare.Command{Pvrun: self, Flags: flags, Dir: dir}), nil
}

// newRunner is there for tests, which have no pvrun to run.
var newRunner = func(c compare.Command) compare.Runner { return c }

// find adds workloads and their images to cfg.
func (c *compareFlags) find(ctx context.Context, cfg *compare.Config, args []string, dir string) error {
	if len(args) > 0 {
		pkg, rest := splitArgs(args)
		run := runFlags{streams: c.streams, verb: "run"}
		image, err := run.image(ctx, pkg)
		if err != nil {
			return err
		}
		if image, err = filepath.Abs(image); err != nil {
			return err
		}
		cfg.Workloads = []compare.Workload{compare.Image(argv0(pkg), rest)}
		cfg.Images = map[string]string{"": image}
		return nil
	}
	var err error
	if cfg.Workloads, err = compare.Select(c.workloads); err != nil {
		return err
	}
	cfg.Workloads = c.withoutNet(cfg.Workloads)
	fmt.Fprint(c.err, "building the workloads ")
	begun := time.Now()
	cfg.Images, err = compare.Build(ctx, cfg.Workloads, dir, c.err)
	fmt.Fprintf(c.err, "%.1f s\n", time.Since(begun).Seconds())
	return err
}

func (c *compareFlags) write(r *compare.Report) error {
	write := map[compareFormat]func(io.Writer) error{
		"table": r.WriteTable, "json": r.WriteJSON, "bench": r.WriteBench, "html": r.WriteHTML,
	}
	return write[c.format](c.out)
}

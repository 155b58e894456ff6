package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal is not waited for
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are what the command line says.
type options struct {
	pvrun, vm  string
	standin    bool
	sample     bool
	reportOnly bool
	sections   string
	pkgs       string
	short      bool
	jobs       int
	rounds     int
	most       time.Duration
	out, doc   string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.pvrun, "pvrun", "out/conformance/pvrun", "pvrun's `file`")
	f.StringVar(&o.vm, "vm", "-m 4g", "`flags` of pvrun's own")
	f.BoolVar(&o.standin, "standin", false, "run go test in place of pvrun test, to try this program")
	f.BoolVar(&o.sample, "sample", false, "run the sample of packages, in the machine only; fail if a test does")
	f.BoolVar(&o.reportOnly, "report-only", false, "run nothing, only write the document")
	f.StringVar(&o.sections, "section", strings.Join(sectionNames(), ","), "`sections` to run")
	f.StringVar(&o.pkgs, "pkgs", "", "run what matches `regexp`")
	f.BoolVar(&o.short, "short", false, "run the tests with -short")
	f.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "run `n` at a time")
	f.IntVar(&o.rounds, "rounds", 40, "run a test binary that goes down at most `n` times")
	f.DurationVar(&o.most, "timeout", 40*time.Minute, "give a test binary up after `duration` at most")
	f.StringVar(&o.out, "out", "out/conformance", "put all that is made in `folder`")
	f.StringVar(&o.doc, "doc", "docs/conformance.md", "write the document to `file`, once there is a result for everything")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q: no arguments are known", f.Args())
	}
	return o, o.check()
}

func (o *options) check() error {
	for _, name := range strings.Split(o.sections, ",") {
		if !slices.Contains(sectionNames(), name) {
			return fmt.Errorf("-section %s: no such section", name)
		}
	}
	_, err := regexp.Compile(o.pkgs)
	return err
}

// run returns the exit code: 1 when it cannot do its work or the sample fails,
// 130 when it was interrupted.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil:
		err = o.run(ctx, stdout)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "conformance: interrupted; the same command goes on from here")
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "conformance:", err)
		return 1
	}
	return 0
}

func (o *options) run(ctx context.Context, w io.Writer) error {
	if !o.standin && !o.reportOnly {
		if tested, err := need.Machine("make conformance"); !tested {
			return err
		}
	}
	l, err := o.lab(ctx)
	if err != nil {
		return err
	}
	list, err := parseExclusions(exclusionsText)
	if err != nil {
		return err
	}
	if o.sample {
		return o.runSample(ctx, l, newKnown(list), w)
	}
	all, err := everything(ctx, l)
	if err != nil {
		return err
	}
	if !o.reportOnly {
		p := newProgress(w)
		if err := o.runAll(ctx, l, o.selected(all), p); err != nil {
			return err
		}
	}
	return o.report(l, all, list, w)
}

func (o *options) lab(ctx context.Context) (*lab, error) {
	pvrun := o.pvrun
	if o.standin {
		pvrun = ""
	}
	l, err := newLab(ctx, o.out, pvrun, strings.Fields(o.vm))
	if err != nil {
		return nil, err
	}
	l.rounds = o.rounds
	l.fetches = !o.reportOnly && slices.Contains(strings.Split(o.sections, ","), "modules")
	if o.short || o.sample {
		l.flags = []string{"-short"}
	}
	return l, nil
}

// there is the side that is compared with the native one.
func (o *options) there() side {
	if o.standin {
		return standin
	}
	return here
}

// everything is all units of all sections.
func everything(ctx context.Context, l *lab) (units []unit, err error) {
	for _, s := range sections {
		list, err := s.units(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", s.name, err)
		}
		units = append(units, list...)
	}
	return units, nil
}

// selected are the units that the flags select.
func (o *options) selected(all []unit) []unit {
	pattern := regexp.MustCompile(o.pkgs)
	names := strings.Split(o.sections, ",")
	return slices.DeleteFunc(slices.Clone(all), func(u unit) bool {
		return !slices.Contains(names, u.section) || !pattern.MatchString(u.name)
	})
}

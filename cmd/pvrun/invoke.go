package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/hypercall"
)

const invokeHelp = `Send a program messages, each to a machine that is as it was when the program
was ready, and print the response.

IMAGE is a file that pvrun build made, SNAP one that pvrun snapshot made.
Anything else is a package, as for pvrun build, and is built first. An image is
booted once, until it asks for its first message; all machines are clones of that
one. What programs write to stdout and stderr goes to stderr.

With -n, or -o, a report is printed in place of the response: how many a second,
how long each took from message to response, and its exits. Making machines
ready for the next message is in the number a second, but not in the latencies;
with --fresh, making the clone is in both.

Exit codes: 1 the program answered with an error; 123 it ended in place of
answering, or before it asked for a message; 128+n when signal n ended pvrun; 124
time-out; 125 an error of pvrun or of the host; 126 a guest fault; 127 no such
image, snapshot or package. With a report, 1 for all that failed by themselves.`

// Isolations: which machine gets the next message.
const (
	byInvocation = "invocation" // the same, rewound
	byInstance   = "instance"   // the same, as it is
	byFresh      = "fresh"      // a new one
)

// invokeFlags are what the command line of `pvrun invoke` says.
type invokeFlags struct {
	bootFlags
	data      string
	count     int
	workers   int
	isolation isolationValue
	fresh     bool
	output    reportFormat
	print     bool

	request []byte
	net     *clones
}

func newInvoke(s streams) *cobra.Command {
	v := invokeFlags{bootFlags: newBoot(s, "invoke"), isolation: byInvocation}
	cmd := &cobra.Command{
		Use:   "invoke [flags] IMAGE|SNAP|PKG [-- args...]",
		Short: "Send messages to a program and print the response",
		Long:  invokeHelp,
		Args:  needs("an image, a snapshot or a package"),

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runError(v.run(cmd.Context(), args, cmd.ArgsLenAtDash()))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&v.data, "data", "d", "", "`DATA` of the message, @FILE for what is in a file, - for stdin")
	f.IntVarP(&v.count, "count", "n", 1, "send the message `N` times")
	f.IntVarP(&v.workers, "workers", "c", 1, "to `N` machines at the same time")
	f.Var(&v.isolation, "isolation", "`WHAT` a machine is for: invocation, it is rewound after each; instance, it goes on to the next as it is")
	f.BoolVar(&v.fresh, "fresh", false, "make a new machine for each message, in place of rewinding one")
	f.VarP(&v.output, "output", "o", "print a report, in `FORMAT`: table, json or bench")
	f.BoolVar(&v.print, "print", false, "print all responses, a line each, and the report to stderr")
	v.addFlags(f, "give up when the program is not ready, or an invocation has no response, after `DURATION`; 0 is never")
	v.network.addForMany(f, "none")
	f.StringVar(&v.stats, "stats", "", "write what was counted and timed, of all machines together, to `FILE` as JSON; - for a table on stderr")
	cmd.RegisterFlagCompletionFunc("isolation", cobra.FixedCompletions([]string{byInvocation, byInstance}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(reportFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// isolationValue is the value of the flag --isolation.
type isolationValue string

func (v *isolationValue) Type() string   { return "isolation" }
func (v *isolationValue) String() string { return string(*v) }
func (v *isolationValue) Set(s string) error {
	if s != byInvocation && s != byInstance {
		return errors.New("must be invocation or instance")
	}
	*v = isolationValue(s)
	return nil
}

// reportFormat is the value of the flag -o; "" if it is not given.
type reportFormat string

var reportFormats = []string{"table", "json", "bench"}

func (o *reportFormat) Type() string   { return "format" }
func (o *reportFormat) String() string { return string(*o) }
func (o *reportFormat) Set(s string) error {
	if !slices.Contains(reportFormats, s) {
		return errors.New("must be table, json or bench")
	}
	*o = reportFormat(s)
	return nil
}

// The most of what the flags count.
const (
	maxInvocations = 10_000_000 // each one's latency is kept
	maxWorkers     = 4096
)

// check finds what is wrong with the flags.
func (v *invokeFlags) check() error {
	switch {
	case v.count < 1 || v.count > maxInvocations:
		return v.usage(fmt.Errorf("-n %d: must be from 1 to %d", v.count, maxInvocations))
	case v.workers < 1 || v.workers > maxWorkers:
		return v.usage(fmt.Errorf("-c %d: must be from 1 to %d", v.workers, maxWorkers))
	case v.fresh && v.isolation == byInstance:
		return v.usage(errors.New("--fresh and --isolation instance: a new machine is no reused one"))
	}
	return firstError(v.checkTimeout(), v.checkStats())
}

// kind is the isolation by one word.
func (v *invokeFlags) kind() string {
	if v.fresh {
		return byFresh
	}
	return string(v.isolation)
}

func (v *invokeFlags) run(ctx context.Context, args []string, dash int) error {
	pkg, rest, err := v.split(args, dash)
	if err != nil {
		return err
	}
	if err := v.check(); err != nil {
		return err
	}
	if v.request, err = v.message(); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	s, err := v.open(ctx, pkg, rest)
	if err != nil {
		return err
	}
	if v.net, err = v.network.clones(s.Info(), v.warn); err != nil {
		return err
	}
	if v.single() {
		err = v.once(ctx, s)
	} else {
		v.net.shared()
		err = v.many(ctx, s, argv0(pkg))
	}
	return firstError(err, v.network.close())
}

// single says whether there is one message, without a report.
func (v *invokeFlags) single() bool { return v.count == 1 && v.output == "" }

// message is the message that -d means.
func (v *invokeFlags) message() (b []byte, err error) {
	name := ""
	switch {
	case v.data == "-":
		name = "stdin"
		b, err = readMessage(v.in)
	case len(v.data) > 0 && v.data[0] == '@':
		name = v.data[1:]
		b, err = readFile(name)
	default:
		b = []byte(v.data)
	}
	if err == nil && len(b) > hypercall.MaxMessage {
		err = fmt.Errorf("a message has %d bytes at the most", hypercall.MaxMessage)
	}
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", name, cause(err))
	}
	return b, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMessage(f)
}

// readMessage reads a byte more than there may be, to tell.
func readMessage(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, hypercall.MaxMessage+1))
}

// open is the snapshot that clones are made of: from a file, or of an image.
func (v *invokeFlags) open(ctx context.Context, pkg, args []string) (snapshot, error) {
	if !isSnapshot(pkg[0]) {
		return v.boot(ctx, pkg, args)
	}
	if err := v.fits(pkg[0], args); err != nil {
		return nil, err
	}
	s, err := openSnapshot(pkg[0], v.single())
	if err != nil {
		return nil, notThere(err)
	}
	if !s.Info().Messages {
		return nil, fmt.Errorf("%s: its program gets no messages", pkg[0])
	}
	if s.Info().Moment == hypercall.ReadyConnect {
		return nil, fmt.Errorf("%s: its program gets no messages: it asks for work itself, at port %d of the host's", pkg[0], s.Info().ServicePort)
	}
	return s, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun"
	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/config"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/worker"
	"github.com/pvrun/pvrun/hv"
)

const help = `Serve functions over HTTP: programs that answer messages (function.Handle), that
serve HTTP at $PORT, or that are written for AWS Lambda. Clones of a machine that was
booted once answer, one for each message, request or event.

IMAGE is a file that pvrun build made, SNAP one that pvrun snapshot made. Anything
else is a package, and is built first. A program that serves HTTP has all below
/NAME, and all of a host that begins with "NAME."; bodies go through as they come,
WebSockets too. Of others POST /NAME, or POST / of such a host, has the message or the
event as its body. The answer is the response (200), the text of the handler's error
(500), or one line: 404 no such function, 413 the message is too long, 429 too many
wait, 502 the program ended or failed, 503 it is not ready, 504 time-out. / is a page
on how they are, /metrics is for Prometheus.

Flags hold for all functions that do not say otherwise in the file; docs/functions.md
describes it. SIGHUP reads it anew and boots all functions anew; an image or package
that changes is booted by itself. SIGTERM and SIGINT end it when all has been answered.

Exit codes: 0 after a signal; 125 an error of pvrun or of the host; 127 no such image,
snapshot or package.`

// Exit codes, as `pvrun invoke` has them.
const (
	exitHost     = 125
	exitNotFound = 127
)

// flags are what the command line says.
type flags struct {
	line      config.Line
	log       string
	level     string
	drain     time.Duration
	memory    config.Size
	isolation string
	workers   string
	fresh     bool
	timeout   time.Duration
	ready     time.Duration
	env       []string
	min, max  int
	queue     int
	idle      time.Duration
	contract  string
	port      int
	many      int
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == worker.Command { // not for people
		return worker.Main()
	}
	var v flags
	cmd := v.command(stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "pvrun: %s\n", strings.TrimSpace(err.Error()))
	return exitCode(err)
}

func exitCode(err error) int {
	var image *hv.ImageError
	var snapshot *hv.SnapshotError
	isFile := errors.As(err, &image) || errors.As(err, &snapshot)
	if errors.Is(err, build.ErrNotFound) || isFile && errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitHost
}

func (v *flags) command(stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "serve [flags] [NAME=IMAGE|SNAP|PKG...]",
		Short:         "Serve functions over HTTP",
		Long:          help,
		Version:       pvrun.Version,
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableFlagsInUseLine: true,
		Annotations:           map[string]string{cobra.CommandDisplayNameAnnotation: "pvrun serve"},
		CompletionOptions:     cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&v.line.File, "config", "f", "", "read functions and settings from `FILE`, YAML")
	f.StringVar(&v.line.Listen, "listen", "", "answer at `ADDR` (default "+config.Listen+")")
	f.DurationVar(&v.drain, "drain", config.Drain, "at the end, wait `DURATION` for what is under way")
	f.IntVar(&v.line.Running, "running", 0, "have `N` vCPUs run at once, beside one for each function (default two for each CPU)")
	f.StringVar(&v.isolation, "isolation", "invocation", "`WHAT` a clone is for: invocation, it is rewound after each; instance, it goes on to the next as it is")
	f.IntVar(&v.many, "concurrency", 1, "give a clone up to `N` requests at once, with isolation instance and programs that serve HTTP")
	f.StringVar(&v.contract, "contract", "auto", "how programs get their work, by `NAME`: message, as function.Handle; http, at $PORT; lambda, from the AWS Lambda Runtime API; auto, as they do")
	f.IntVar(&v.port, "port", boot.DefaultPort, "have programs serve HTTP at `PORT`, their $PORT")
	f.StringVar(&v.workers, "workers", "auto", "`WHEN` clones live in processes of their own, some hundred in each: auto, if max is more than that; always or never")
	f.BoolVar(&v.fresh, "fresh", false, "make a new clone for each message, in place of rewinding one")
	f.DurationVar(&v.timeout, "timeout", 30*time.Second, "end an invocation after `DURATION`, or a request whose answer has not begun, and one that waits so long; 0 is never")
	f.DurationVar(&v.ready, "ready-timeout", 30*time.Second, "give up when a program is not ready after `DURATION`; 0 is never")
	f.IntVar(&v.min, "min", 0, "keep `N` clones of each function without demand")
	f.IntVar(&v.max, "max", 0, "make `N` clones of each function at the most (default as many as can run)")
	f.IntVar(&v.queue, "queue", 128, "let `N` invocations of each function wait when all clones are busy")
	f.DurationVar(&v.idle, "idle", time.Minute, "close clones that have had nothing to do for `DURATION`; 0 is never")
	f.VarP(&v.memory, "memory", "m", "`SIZE` of a machine's memory (default 64m)")
	f.StringArrayVarP(&v.env, "env", "e", nil, "set `NAME=VALUE` in the programs' environment")
	f.StringVar(&v.log, "log", "text", "write the log to stderr in `FORMAT`: text or json")
	f.StringVar(&v.level, "log-level", "info", "log from `LEVEL` on: debug, with each invocation; info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return v.serve(cmd, args, stderr) }
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	return cmd
}

func usage(err error) error { return fmt.Errorf("%w (see 'pvrun serve --help')", err) }

// settle puts what the command line says into v.line.
func (v *flags) settle(cmd *cobra.Command, args []string) error {
	o := &v.line.Options
	v.line.Functions = args
	given(cmd, "drain", &v.line.Drain, &v.drain)
	given(cmd, "isolation", &o.Isolation, &v.isolation)
	given(cmd, "workers", &o.Workers, &v.workers)
	given(cmd, "fresh", &o.Fresh, &v.fresh)
	given(cmd, "timeout", &o.Timeout, &v.timeout)
	given(cmd, "ready-timeout", &o.ReadyTimeout, &v.ready)
	given(cmd, "min", &o.Min, &v.min)
	given(cmd, "max", &o.Max, &v.max)
	given(cmd, "queue", &o.Queue, &v.queue)
	given(cmd, "contract", &o.Contract, &v.contract)
	given(cmd, "port", &o.Port, &v.port)
	given(cmd, "concurrency", &o.Concurrency, &v.many)
	given(cmd, "idle", &o.Idle, &v.idle)
	given(cmd, "memory", &o.Memory, &v.memory)
	for _, e := range v.env {
		name, value, ok := strings.Cut(e, "=")
		if !ok || name == "" {
			return usage(fmt.Errorf("-e %q: must be NAME=VALUE", e))
		}
		if o.Env == nil {
			o.Env = map[string]string{}
		}
		o.Env[name] = value
	}
	return nil
}

// given points to a flag's value if the command line has the flag.
func given[T any](cmd *cobra.Command, name string, to **T, value *T) {
	if cmd.Flags().Changed(name) {
		*to = value
	}
}

// logHandler is where the log goes.
func (v *flags) logHandler(w io.Writer) (slog.Handler, error) {
	o := &slog.HandlerOptions{}
	var level slog.Level
	if err := level.UnmarshalText([]byte(v.level)); err != nil {
		return nil, usage(fmt.Errorf("--log-level %s: must be debug, info, warn or error", v.level))
	}
	o.Level = level
	switch v.log {
	case "text":
		return slog.NewTextHandler(w, o), nil
	case "json":
		return slog.NewJSONHandler(w, o), nil
	}
	return nil, usage(fmt.Errorf("--log %s: must be text or json", v.log))
}

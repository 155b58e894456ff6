package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// readyTimeout is how long a program may take until it is ready when the command line
// does not say.
const readyTimeout = 30 * time.Second

// bootFlags are what a command line says of a machine that is booted until its program
// is ready.
type bootFlags struct {
	runFlags
	ready readyValue
	took  time.Duration // to boot
}

// newBoot has what the flags do not say.
func newBoot(s streams, verb string) bootFlags {
	return bootFlags{
		runFlags: runFlags{streams: s, verb: verb, memory: hv.DefaultMemory, mode: modeValue(hypercall.ModePV)},
		ready:    readyValue{moments: hypercall.ReadyMessage},
	}
}

func (b *bootFlags) addFlags(f *pflag.FlagSet, timeout string) {
	f.SortFlags = false
	b.given = f
	b.addEnv(f)
	b.addMemory(f)
	b.addDir(f)
	f.DurationVar(&b.timeout, "timeout", readyTimeout, timeout)
}

// split tells the image or package from the program's arguments, which come after
// dash of args; -1 is none.
func (b *bootFlags) split(args []string, dash int) (pkg, rest []string, err error) {
	if dash < 0 {
		dash = len(args)
	}
	if dash == 0 {
		return nil, nil, b.usage(errors.New("needs an image or a package"))
	}
	pkg, more := splitArgs(args[:dash])
	if len(more) > 0 {
		return nil, nil, b.usage(fmt.Errorf("%q: arguments of the program come after --", more[0]))
	}
	return pkg, args[dash:], nil
}

// boot runs an image until its program is ready.
func (b *bootFlags) boot(ctx context.Context, pkg, args []string) (snapshot, error) {
	cfg, err := b.config()
	if err != nil {
		return nil, err
	}
	if cfg.Image, err = b.image(ctx, pkg); err != nil {
		return nil, err
	}
	cfg.Args = append([]string{argv0(pkg)}, args...)
	cfg.Messages, cfg.Ready, cfg.ReadyPort, cfg.ServicePort = true, b.ready.moments, b.ready.port, b.ready.service
	// What the program reads is not there yet, and what it says is not what is asked for.
	cfg.Stdin, cfg.Stdout = nil, b.err
	if err := b.network.attach(&cfg, b.warn); err != nil {
		return nil, err
	}
	defer b.network.leave()
	ctx, stop := b.limit(ctx)
	defer stop()
	begun := time.Now()
	s, err := bootSnapshot(ctx, cfg)
	b.took = time.Since(begun)
	return s, b.notReady(err)
}

// limit is ctx for one thing that --timeout is for.
func (b *bootFlags) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if b.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, b.timeout, errTimeout)
}

// notReady gives the error of a boot its words and its exit code.
func (b *bootFlags) notReady(err error) error {
	var ended *hv.NotReadyError
	var sig signalError
	switch {
	case errors.As(err, &ended):
		return exitError{exitEnded, fmt.Errorf("%s before it was ready: %s", ending(ended.Exit), b.ready.lacking())}
	case errors.Is(err, errTimeout):
		return exitError{exitTimeout, fmt.Errorf("the program was not ready after %v: %s (--timeout allows more time)", b.timeout, b.ready.lacking())}
	case errors.As(err, &sig):
		return exitError{exitSignal + int(sig.Signal), nil}
	}
	return notThere(err)
}

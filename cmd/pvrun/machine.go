package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// machine is what pvrun needs of an *hv.VM; tests have one without KVM.
type machine interface {
	Run(context.Context) (hv.Exit, error)
	Signal(syscall.Signal)
	SignalTaken() bool
	Stats() hv.Stats
}

var newMachine = func(cfg hv.Config) (machine, error) { return hv.New(cfg) }

// patience is how long a program may leave a signal that asks it to end
// untaken.
var patience = 3 * time.Second

// forwarded are the signals that the program gets.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}

// start makes the machine and runs it to its end. The error has the exit code.
func (r *runFlags) start(ctx context.Context, newMachine func() (machine, error)) (err error) {
	signals := listen()
	defer func() { signal.Stop(signals()) }()
	vm, err := newMachine()
	if errors.Is(err, fs.ErrNotExist) && isImageError(err) {
		return exitError{exitNotFound, err}
	}
	if err != nil {
		return err
	}
	// The machine is not closed: the process ends now, and the kernel takes all
	// of it away without the grace periods that Close must wait for in a process
	// that goes on.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.timeout > 0 {
		timer := time.AfterFunc(r.timeout, func() { cancel(errTimeout) })
		defer timer.Stop()
	}
	done := make(chan struct{})
	defer close(done)
	go forward(vm, signals(), done, cancel)
	exit, stats, err := runMachine(ctx, vm)
	err = r.result(exit, err)
	return firstError(err, r.writeStats(stats, exitCode(runError(err))))
}

// runMachine runs the machine, and gives it up when it does not end although it
// shall: a terminal that is stopped, or a pipe that another process fills, can
// hold a write of the host's. There are no statistics then.
func runMachine(ctx context.Context, vm machine) (hv.Exit, hv.Stats, error) {
	type end struct {
		exit hv.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		exit, err := vm.Run(ctx)
		ended <- end{exit, err}
	}()
	var e end
	select {
	case e = <-ended:
		return e.exit, vm.Stats(), e.err
	case <-ctx.Done():
	}
	select {
	case e = <-ended:
		return e.exit, vm.Stats(), e.err
	case <-time.After(patience):
		return hv.Exit{}, hv.Stats{}, context.Cause(ctx)
	}
}

// listen has the signals that the program gets sent to a channel. To set that
// up takes as long as to load a program, so it is done beside; the function
// that listen returns waits for it. When the program runs, no signal may find
// pvrun without it.
func listen() (signals func() chan os.Signal) {
	c, ready := make(chan os.Signal, 16), make(chan struct{})
	go func() {
		signal.Notify(c, forwarded...)
		// A program that writes past the host's file size limit is told by an
		// error; the signal would end pvrun.
		signal.Ignore(syscall.SIGXFSZ)
		close(ready)
	}()
	return func() chan os.Signal { <-ready; return c }
}

func isImageError(err error) bool {
	var image *hv.ImageError
	return errors.As(err, &image)
}

var errTimeout = errors.New("time-out")

// signalError is the signal that pvrun itself ended the machine for.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string { return "ended by signal: " + e.Signal.String() }

// result turns the way that the machine ended into an error with its code.
func (r *runFlags) result(exit hv.Exit, err error) error {
	var sig signalError
	var fault *hv.GuestFault
	switch {
	case errors.Is(err, errTimeout):
		return exitError{exitTimeout, fmt.Errorf("time-out after %v", r.timeout)}
	case errors.As(err, &sig):
		return exitError{exitSignal + int(sig.Signal), nil}
	case errors.As(err, &fault):
		return exitError{exitFault, fmt.Errorf("%w\n%s", err, fault.Regs.String())}
	case err != nil:
		return err
	case exit.Signal != 0:
		return exitError{exitSignal + exit.Signal, nil}
	case exit.Code != 0:
		return exitError{exit.Code, nil}
	}
	return nil
}

// forward hands signals to the program and ends the machine when that is of
// no use.
func forward(vm machine, signals <-chan os.Signal, done <-chan struct{}, cancel context.CancelCauseFunc) {
	var asked signalError // the first signal that asks to end
	var late <-chan time.Time
	for {
		select {
		case s := <-signals:
			sig := s.(syscall.Signal)
			vm.Signal(sig)
			if sig != syscall.SIGINT && sig != syscall.SIGTERM {
				continue
			}
			if asked.Signal != 0 {
				cancel(signalError{sig})
				return
			}
			asked.Signal, late = sig, time.After(patience)
		case <-late:
			if !vm.SignalTaken() {
				cancel(asked)
				return
			}
		case <-done:
			return
		}
	}
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

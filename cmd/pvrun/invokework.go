package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/load"
)

// once sends the message to one machine and prints the response as it is. The machine
// is not closed where no network waits for that: the process ends.
func (v *invokeFlags) once(ctx context.Context, s snapshot) error {
	w := &worker{v: v, s: s, responses: v.out, kernel: v.stats != ""}
	if err := w.Prepare(); err != nil {
		return err
	}
	err := v.failed(w.Invoke(ctx))
	if v.net != nil {
		err = firstError(err, w.drop())
	} else if w.vm != nil {
		w.sum.Add(w.vm.Stats())
	}
	return firstError(err, v.writeStats(w.sum.Stats, exitCode(runError(err))))
}

// failed gives the failure of one invocation its exit code.
func (v *invokeFlags) failed(err error) error {
	var f *load.Failure
	if errors.As(err, &f) {
		return exitError{failureKinds[f.Kind], f.Err}
	}
	return v.ended(err)
}

// ended is err, or the signal that it comes of.
func (v *invokeFlags) ended(err error) error {
	var sig signalError
	if errors.As(err, &sig) {
		return exitError{exitSignal + int(sig.Signal), nil}
	}
	return err
}

// Kinds of failures, with the exit codes that they have.
const (
	kindFailed  = "failed"
	kindEnded   = "ended"
	kindTimeout = "timed out"
	kindFault   = "guest fault"
)

var failureKinds = map[string]int{
	kindFailed: exitFailure, kindEnded: exitEnded, kindTimeout: exitTimeout, kindFault: exitFault,
}

// failure is what has become of an invocation; an error that is no *load.Failure is
// one of the host's, or the end of it all.
func (v *invokeFlags) failure(err error) error {
	var ended *hv.EndedError
	var fault *hv.GuestFault
	switch {
	case errors.Is(err, errTimeout):
		return &load.Failure{Kind: kindTimeout, Err: fmt.Errorf("time-out: no response after %v", v.timeout)}
	case errors.As(err, &ended):
		return &load.Failure{Kind: kindEnded, Err: errors.New(ending(ended.Exit) + " in place of answering")}
	case errors.As(err, &fault):
		return &load.Failure{Kind: kindFault, Err: err}
	}
	return err
}

// many sends the message as often as it shall be, and reports.
func (v *invokeFlags) many(ctx context.Context, s snapshot, program string) error {
	report, responses := v.out, io.Discard
	if v.print {
		report, responses = v.err, &lines{w: v.out}
	}
	workers := make([]load.Worker, min(v.workers, v.count))
	for i := range workers {
		// With a machine for each message the kernel's statistics take longer than it.
		workers[i] = &worker{v: v, s: s, responses: responses, kernel: !v.fresh || v.stats != ""}
	}
	// The threads in guests are running, for Go's scheduler, and timers need one too.
	runtime.GOMAXPROCS(max(runtime.NumCPU(), len(workers)) + waitingThreads)
	res, err := load.Run(ctx, v.count, workers)
	if err = v.ended(err); err != nil && len(res.Latencies) == 0 {
		return err
	}
	rep, sum := v.report(&res, workers, program)
	err = firstError(v.write(report, rep), err, v.tellFailures(res))
	return firstError(err, v.writeStats(sum, exitCode(runError(err))))
}

func (v *invokeFlags) report(res *load.Result, workers []load.Worker, program string) (load.Report, hv.Stats) {
	var sum load.Sum
	for _, w := range workers {
		if w := w.(*worker); w.sum.Machines > 0 {
			sum.Add(w.sum.Stats)
		}
	}
	rep := res.Report()
	rep.Program, rep.Isolation, rep.Workers = program, v.kind(), len(workers)
	rep.Exits, rep.KernelExits = sum.Exits(rep.Count), sum.KernelExits(rep.Count)
	return rep, sum.Stats
}

func (v *invokeFlags) write(w io.Writer, rep load.Report) error {
	switch v.output {
	case "json":
		return rep.WriteJSON(w)
	case "bench":
		return rep.WriteBench(w)
	}
	return rep.WriteTable(w)
}

// tellFailures prints the first failure of each kind.
func (v *invokeFlags) tellFailures(res load.Result) error {
	if len(res.Failures) == 0 {
		return nil
	}
	for _, kind := range slices.Sorted(maps.Keys(res.First)) {
		fmt.Fprintf(v.err, "pvrun: %s, such as: %v\n", kind, res.First[kind])
	}
	return exitError{exitFailure, nil}
}

// lines writes each thing that is written to it whole, as a line.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.w.Write(b)
	if err == nil && (len(b) == 0 || b[len(b)-1] != '\n') {
		_, err = io.WriteString(l.w, "\n")
	}
	return n, err
}

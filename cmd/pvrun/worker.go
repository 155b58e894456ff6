package main

import (
	"context"
	"errors"
	"io"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/load"
)

// worker has one machine at a time, and sends it messages.
type worker struct {
	v         *invokeFlags
	s         snapshot
	responses io.Writer
	kernel    bool // collect the kernel's statistics

	vm    instance // nil when there is to be a new one
	used  bool     // since it was made or rewound
	leave func()   // its network
	sum   load.Sum // of the machines that are closed
}

// Prepare has a machine that may have the next message. Where each gets a new one it
// is made when the message is there.
func (w *worker) Prepare() error {
	switch {
	case w.v.fresh:
		return w.drop()
	case w.vm == nil:
		return w.make()
	case w.used && w.v.isolation == byInvocation:
		return w.rewind()
	}
	return nil
}

// rewind rewinds the machine, or makes another if that cannot be.
func (w *worker) rewind() error {
	if w.vm.Rewind() == nil {
		w.used = false
		return nil
	}
	return firstError(w.drop(), w.make())
}

func (w *worker) make() (err error) {
	cards, leave, err := w.v.net.join()
	if err != nil {
		return err
	}
	w.leave = leave
	w.vm, err = w.s.New(hv.Clone{
		Stdout: w.v.err, Stderr: w.v.err,
		Hostname: w.v.network.name, CollectKVMStats: w.kernel, NICs: cards,
	})
	if err != nil {
		w.vm = nil
		leave()
	}
	w.used = false
	return err
}

// Invoke sends the message. A machine that fails other than by its program's answer
// has had its last one.
func (w *worker) Invoke(ctx context.Context) error {
	if w.vm == nil {
		if err := w.make(); err != nil {
			return err
		}
	}
	w.used = true
	limited, stop := w.v.limit(ctx)
	defer stop()
	res, err := w.vm.Invoke(limited, w.v.request)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx) // of all, whatever the machine says
	case err != nil:
		return firstError(w.drop(), w.v.failure(err))
	case res.Failed:
		return &load.Failure{Kind: kindFailed, Err: errors.New(failedText(res.Data))}
	}
	_, err = w.responses.Write(res.Data)
	return err
}

// failedText is what a handler's error is told as.
func failedText(text []byte) string {
	if len(text) == 0 {
		return "the program's handler failed"
	}
	return "the program's handler failed: " + string(text)
}

func (w *worker) Close() error { return w.drop() }

// drop takes the machine away.
func (w *worker) drop() error {
	if w.vm == nil {
		return nil
	}
	w.sum.Add(w.vm.Stats())
	err := w.vm.Close()
	w.leave()
	w.vm = nil
	return err
}

package hv

import (
	"context"
	"errors"
	"time"
)

// errIdle ends the vCPU's loop: its guest waits, and that is where the loop was to end.
var errIdle = errors.New("idle")

// RunUntil runs the machine on the calling goroutine until done is closed and the guest
// has nothing more to do: then it is nil, the machine stands still, and a Rewind,
// another RunUntil or an Invoke may follow. One of Run, RunUntil and Invoke may be under
// way. The error is ctx's cause, an *EndedError where the program has ended, or as of Run;
// the machine is of no more use then.
func (vm *VM) RunUntil(ctx context.Context, done <-chan struct{}) error {
	if vm.over() {
		return errNotAgain
	}
	leave := vm.watchDone(done)
	begin := time.Now()
	exit, err := vm.enter(ctx)
	for err == errResponded { // to an Invoke that has not waited for it
		exit, err = vm.enter(ctx)
	}
	leave()
	vm.stats.run += time.Since(begin)
	switch err {
	case errIdle:
		vm.from.learn(vm.mem)
		return nil
	case nil:
		return &EndedError{exit}
	}
	return err
}

// watchDone has the loop end when done is closed and the guest is idle, until the function
// that it returns is called.
func (vm *VM) watchDone(done <-chan struct{}) (leave func()) {
	quit, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		select {
		case <-done:
			vm.done.Store(true)
			vm.wake()
		case <-quit:
		}
	}()
	return func() {
		close(quit)
		<-left
		vm.done.Store(false)
	}
}

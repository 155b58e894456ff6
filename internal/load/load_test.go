package load

import (
	"context"
	"errors"
	"testing"
)

// fakeWorker fails the messages that its functions say.
type fakeWorker struct {
	prepared, invoked, closed int
	ready                     bool // prepared, and not used since
	prepare, invoke           func(n int) error
	close                     error
}

func (w *fakeWorker) Prepare() error {
	w.prepared++
	w.ready = true
	if w.prepare != nil {
		return w.prepare(w.prepared)
	}
	return nil
}

func (w *fakeWorker) Invoke(ctx context.Context) error {
	if !w.ready {
		return errors.New("not prepared")
	}
	w.ready = false
	w.invoked++
	if w.invoke != nil {
		return w.invoke(w.invoked)
	}
	return nil
}

func (w *fakeWorker) Close() error { w.closed++; return w.close }

func TestRunAll(t *testing.T) {
	list := []*fakeWorker{{}, {}, {}}
	res, err := Run(context.Background(), 100, []Worker{list[0], list[1], list[2]})
	if err != nil || len(res.Latencies) != 100 || len(res.Failures) != 0 || res.Elapsed <= 0 {
		t.Errorf("got %+v, %v", res, err)
	}
	sum := 0
	for _, w := range list {
		sum += w.invoked
		// One that found no message left was prepared for it and not used.
		if w.prepared != max(w.invoked, 1) || w.closed != 1 {
			t.Errorf("prepared %d times, invoked %d times, closed %d times", w.prepared, w.invoked, w.closed)
		}
	}
	if sum != 100 {
		t.Errorf("got %d invocations, want 100", sum)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	odd := errors.New("odd")
	w := &fakeWorker{invoke: func(n int) error {
		if n%2 == 1 {
			return &Failure{"failed", odd}
		}
		return nil
	}}
	res, err := Run(context.Background(), 5, []Worker{w})
	if err != nil || res.Failures["failed"] != 3 || len(res.Latencies) != 2 || !errors.Is(res.First["failed"], odd) {
		t.Errorf("got %+v, %v", res, err)
	}
}

var errBroken = errors.New("broken")

// An error that no message is to blame for ends the run, for the others too.
func TestErrorEnds(t *testing.T) {
	for name, breaks := range map[string]func(w *fakeWorker, fail func(int) error){
		"first prepare": func(w *fakeWorker, fail func(int) error) { w.prepare = fail },
		"prepare": func(w *fakeWorker, fail func(int) error) {
			w.prepare = func(n int) error {
				if n == 1 {
					return nil
				}
				return fail(n)
			}
		},
		"invoke": func(w *fakeWorker, fail func(int) error) { w.invoke = fail },
	} {
		failed := make(chan struct{})
		w := &fakeWorker{}
		breaks(w, func(int) error { close(failed); return errBroken })
		// The other leaves it messages to fail with.
		other := &fakeWorker{invoke: func(int) error { <-failed; return nil }}
		res, err := Run(context.Background(), 1_000_000_000, []Worker{w, other})
		if !errors.Is(err, errBroken) || w.closed != 1 || other.closed != 1 {
			t.Errorf("%s: got %v, closed %d and %d times", name, err, w.closed, other.closed)
		}
		if n := len(res.Latencies); name == "first prepare" && n != 0 {
			t.Errorf("%s: %d messages were answered", name, n)
		}
	}
}

func TestErrorOfClose(t *testing.T) {
	w, other := &fakeWorker{close: errBroken}, &fakeWorker{}
	res, err := Run(context.Background(), 10, []Worker{w, other})
	if !errors.Is(err, errBroken) || len(res.Latencies) != 10 || other.closed != 1 {
		t.Errorf("got %v, %d answers", err, len(res.Latencies))
	}
}

func TestCancelled(t *testing.T) {
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &fakeWorker{invoke: func(n int) error {
		if n == 3 {
			cancel(gone)
		}
		return nil
	}}
	res, err := Run(ctx, 1000, []Worker{w})
	if !errors.Is(err, gone) || len(res.Latencies) != 3 || w.closed != 1 {
		t.Errorf("got %d latencies, %v", len(res.Latencies), err)
	}
}

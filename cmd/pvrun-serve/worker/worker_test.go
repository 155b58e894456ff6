package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/internal/vmtest"
)

// newSource boots the function that does what it is told.
func newSource(t testing.TB, perWorker int) *Source {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	dir, err := filepath.Abs("../../../test/function/hostile")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	snapshot, err := hv.Boot(ctx, hv.Config{
		Image: vmtest.Image(t, dir), Args: []string{"hostile"}, Memory: 32 << 20,
		Messages: true, Ready: hypercall.ReadyMessage,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSource(snapshot, perWorker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newMachine makes a machine that ends before the source does.
func newMachine(t testing.TB, s *Source, out io.Writer) *Machine {
	t.Helper()
	need.Count(1)
	m, err := s.New(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// vm is a machine in a worker, or here.
type vm interface {
	Invoke(ctx context.Context, message []byte) (hv.Response, error)
	Rewind() error
	Close() error
}

const patient = time.Minute

// tell sends a message, and has the text of the answer or of the error.
func tell(t testing.TB, m vm, message string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	r, err := m.Invoke(ctx, []byte(message))
	return string(r.Data), err
}

// wants is tell for one answer.
func wants(t testing.TB, m vm, message, want string) {
	t.Helper()
	if got, err := tell(t, m, message); err != nil || got != want {
		t.Errorf("%s: got %.100q, %v, want %q", message, got, err, want)
	}
}

// A machine in a worker is as one in this process.
func TestMachine(t *testing.T) {
	s := newSource(t, 2)
	var out bytes.Buffer
	m := newMachine(t, s, &out)
	for i := range 3 {
		wants(t, m, "remember x", "[x]")
		wants(t, m, "remember y", "[x y]")
		wants(t, m, fmt.Sprint("say line ", i), fmt.Sprint("say line ", i))
		if got, want := out.String(), fmt.Sprintf("line %d\n", i); got != want {
			t.Errorf("it has written %q, want %q", got, want)
		}
		out.Reset()
		if err := m.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("0123456789abcdef", 1<<16)
	wants(t, m, "echo "+long, "echo "+long)
	wants(t, m, "", " ")
	if n := m.OwnMemory(); n < 1<<12 || n > 32<<20 {
		t.Errorf("it has %d bytes", n)
	}
	near, err := s.snapshot.New(hv.Clone{})
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	wants(t, near, "hello", "hello ")
	if got, want := m.Stats(), near.Stats(); got.Exits.Total == 0 || got.Mode != want.Mode || got.Memory.Guest != want.Memory.Guest {
		t.Errorf("figures %+v, of one here %+v", got, want)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if got := m.Stats(); got.Exits.Total == 0 {
		t.Error("the figures are gone")
	}
}

// Errors are of the same types, and have the same words.
func TestErrors(t *testing.T) {
	s := newSource(t, 4)
	for _, message := range []string{"panic at once", "exit 7", "exit 0", "kill", "null", "eat", "long 7000000", "fail no good", strings.Repeat("x", hypercall.MaxMessage+1)} {
		var texts [2]string
		var types [2]reflect.Type
		near, err := s.snapshot.New(hv.Clone{})
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range []vm{near, newMachine(t, s, nil)} {
			r, err := m.Invoke(t.Context(), []byte(message))
			types[i] = reflect.TypeOf(err)
			texts[i] = fmt.Sprintf("%v, %q, %v", r.Failed, r.Data, err)
			if err == nil {
				continue
			}
			_, err = m.Invoke(t.Context(), []byte("hello"))
			texts[i] += fmt.Sprintf("; again: %T %v", err, err)
			err = m.Rewind()
			texts[i] += fmt.Sprintf("; rewind: %T %v", err, err)
		}
		// Where the types are ours and not hv's.
		texts[0] = strings.ReplaceAll(texts[0], "*errors.errorString", "*worker.farError")
		if types[0] != types[1] || texts[0] != texts[1] {
			t.Errorf("%.50s: here %v %s, there %v %s", message, types[0], texts[0], types[1], texts[1])
		}
		near.Close()
	}
}

// Every error survives the way, as far as somebody could ask for it.
func TestWireError(t *testing.T) {
	fault := &hv.GuestFault{Reason: "why"}
	fault.Regs.RIP = 1<<64 - 1
	for _, want := range []error{
		&hv.EndedError{Exit: hv.Exit{Code: 255}}, &hv.EndedError{Exit: hv.Exit{Signal: 9}}, fault,
	} {
		if got := decodeError(encodeError(fmt.Errorf("op: %w", want))); !reflect.DeepEqual(got, want) {
			t.Errorf("%#v became %#v", want, got)
		}
	}
	var defect *hv.Defect
	if err := decodeError(encodeError(&hv.Defect{Value: "oh", Stack: []byte("at")})); !errors.As(err, &defect) || defect.Value != "oh" || string(defect.Stack) != "at" {
		t.Errorf("got %#v", err)
	}
	var host *hv.HostError
	err := decodeError(encodeError(&hv.HostError{Op: "op", Err: fmt.Errorf("%w: it is", hv.ErrMemory)}))
	if !errors.As(err, &host) || host.Op != "op" || !errors.Is(err, hv.ErrMemory) || err.Error() != "op: not enough memory for the machine: it is" {
		t.Errorf("got %#v", err)
	}
	for text, want := range map[string]string{"{}": "", "x": "an error that cannot be read"} {
		if err := decodeError([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	nasty := strings.Repeat("\x00", 1<<20)
	for _, err := range []error{errors.New(nasty), &hv.HostError{Op: nasty, Err: errors.New(nasty)}, &hv.Defect{Value: nasty, Stack: []byte(nasty)}} {
		if n := len(encodeError(err)); n > maxText {
			t.Errorf("%T: %d bytes", err, n)
		}
	}
}

// An invocation ends when its context does, with the context's cause, and nothing of the
// worker but its machine is gone.
func TestContext(t *testing.T) {
	s := newSource(t, 4)
	why := errors.New("why")
	other := newMachine(t, s, nil)
	for _, message := range []string{"spin", "hang", "sleep 100000"} {
		m := newMachine(t, s, nil)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, why)
		if _, err := m.Invoke(ctx, []byte(message)); err != why {
			t.Errorf("%s: got %v", message, err)
		}
		cancel()
		if _, err := m.Invoke(ctx, []byte(message)); err == nil {
			t.Errorf("%s: it goes on", message)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	m := newMachine(t, s, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := m.Invoke(ctx, []byte("spin")); err != why {
		t.Errorf("one that had ended: got %v", err)
	}
	wants(t, other, "hello", "hello ")
	if n := len(s.workers); n != 1 {
		t.Errorf("%d workers", n)
	}
}

// What a program writes without end keeps nobody for ever.
func TestOutputWithoutEnd(t *testing.T) {
	s := newSource(t, 4)
	quiet := newMachine(t, s, nil)
	var out counter
	m, err := s.New(&out, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	ended := make(chan error)
	go func() {
		_, err := m.Invoke(ctx, []byte("write 1000000"))
		ended <- err
	}()
	for range 20 {
		wants(t, quiet, "hello", "hello ")
	}
	if err := <-ended; err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if out == 0 {
		t.Error("nothing has come")
	}
	wants(t, quiet, "hello", "hello ")
}

type counter int

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

// descriptors is how many a process has.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A machine runs on between messages when it is to, hears signals, and stands still when
// it has nothing to do.
func TestRunUntil(t *testing.T) {
	s := newSource(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	m := newMachine(t, s, nil)
	done := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { close(done) })
	for range 2 { // then done is closed already
		if err := m.RunUntil(ctx, done); err != nil {
			t.Error(err)
		}
	}
	wants(t, m, "hello", "hello ")
	m.Signal(syscall.SIGTERM)
	var ended *hv.EndedError
	if err := m.RunUntil(ctx, nil); !errors.As(err, &ended) || ended.Exit.Signal != int(syscall.SIGTERM) {
		t.Errorf("got %v", err)
	}
	m = newMachine(t, s, nil)
	why := errors.New("why")
	over, end := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { end(why) })
	if err := m.RunUntil(over, nil); err != why {
		t.Errorf("got %v", err)
	}
}

package hv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// TestRunUntil: a machine runs on until it has nothing to do, however often, and ends as
// any other.
func TestRunUntil(t *testing.T) {
	const counter = asm.Data + 0x100
	closed := make(chan struct{})
	close(closed)
	s := hostile(t, 0, nil, func(c *asm.Code) {
		for range 3 {
			c.Mov(asm.R11, counter).Raw(0x49, 0xff, 0x03) // inc qword [r11]
			c.Hypercall(hypercall.CallBlock, hypercall.Forever)
		}
		c.Exit(7)
	})
	vm := clone(t, s)
	for range 3 {
		for n := byte(1); n <= 3; n++ {
			if err := vm.RunUntil(t.Context(), closed); err != nil {
				t.Fatal(n, err)
			}
			page, _ := vm.tables.pageAt(counter, false)
			if page[0] != n {
				t.Errorf("counted to %d, want %d", page[0], n)
			}
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := vm.RunUntil(t.Context(), closed); err != nil {
			t.Fatal(err)
		}
	}
	if e := (*EndedError)(nil); !errors.As(vm.RunUntil(t.Context(), closed), &e) || e.Exit.Code != 7 {
		t.Errorf("%v", e)
	}
	if err := vm.RunUntil(t.Context(), closed); err != errNotAgain {
		t.Error(err)
	}
}

// TestRunUntilLate: what is closed while the guest waits, or works, is heard; a guest that
// never rests has only its context.
func TestRunUntilLate(t *testing.T) {
	for name, life := range map[string]func(c *asm.Code){
		"long":  func(c *asm.Code) { c.Hypercall(hypercall.CallBlock, hypercall.Forever) },
		"short": func(c *asm.Code) { c.Hypercall(hypercall.CallBlock, 1<<62) },
	} {
		vm := clone(t, hostile(t, 0, nil, life))
		done := make(chan struct{})
		time.AfterFunc(5*time.Millisecond, func() { close(done) })
		if err := vm.RunUntil(t.Context(), done); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	vm := clone(t, hostile(t, 0, nil, func(c *asm.Code) { c.Spin() }))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errQueueFull)
	defer cancel()
	done := make(chan struct{})
	close(done)
	c, err := vm.Dial(80)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.RunUntil(ctx, done); err != errQueueFull {
		t.Errorf("a guest that spins: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrOver) {
		t.Errorf("its conn: %v", err)
	}
}

// TestSuspendMoment: a guest comes to rest where it was asked to, and nowhere else.
func TestSuspendMoment(t *testing.T) {
	for _, test := range []struct {
		asked  hypercall.Ready
		moment uint64
		want   hypercall.Ready // 0: it does not
	}{
		{hypercall.ReadyListen | hypercall.ReadyConnect, 8, hypercall.ReadyConnect},
		{hypercall.ReadyListen | hypercall.ReadyConnect, 2, hypercall.ReadyListen},
		{hypercall.ReadyListen | hypercall.ReadyConnect, 10, 0},
		{hypercall.ReadyListen | hypercall.ReadyConnect, 1, 0},
		{hypercall.ReadyListen | hypercall.ReadyConnect, 16, 0},
		{hypercall.ReadyListen, 0, 0},
		{hypercall.ReadyListen, 1<<32 | 2, 0},
		{hypercall.ReadyListen, 1<<64 - 1, 0},
	} {
		c := new(asm.Code).Hypercall(hypercall.CallSuspend, test.moment)
		s, err := Boot(t.Context(), Config{Image: asm.Image{Code: c.Exit(0)}.Write(t), Messages: true, Ready: test.asked})
		if e := (*NotReadyError)(nil); test.want == 0 {
			if !errors.As(err, &e) {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Info().Moment; got != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
		s.Close()
	}
}

// TestStreamCalls has a guest on a processor make nonsense of streams, while the host uses
// some: its machine goes on, and ends as it should.
func TestStreamCalls(t *testing.T) {
	s := hostile(t, 0, nil, func(c *asm.Code) {
		for _, id := range []uint64{0, 1, 2, 3, 1 << 40, 1<<64 - 1} {
			for op := range uint64(hypercall.StreamOpEnd) + 1 {
				for _, n := range []uint64{0, 8, hypercall.MaxStreamSend + 1, 1<<64 - 1} {
					c.Hypercall(hypercall.CallStream, id, op, asm.Data, n)
				}
			}
			c.Store32(uint64(hypercall.SharedInfoGVA)+56, id) // MessagesTaken
		}
		rest := asm.Text + uint64(len(c.B))
		c.Store32(asm.Pending, 0)
		c.Hypercall(hypercall.CallBlock, hypercall.Forever).JmpTo(rest)
	})
	vm := clone(t, s)
	closed := make(chan struct{})
	close(closed)
	for range 3 {
		for range 3 {
			c, err := vm.Dial(80)
			if err != nil {
				t.Fatal(err)
			}
			c.Write([]byte("x"))
			defer c.Close()
		}
		if err := vm.RunUntil(t.Context(), closed); err != nil {
			t.Fatal(err)
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
		same(t, vm)
	}
}

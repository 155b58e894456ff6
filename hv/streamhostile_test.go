package hv

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// streamGuest plays the guest of a machine without a processor.
type streamGuest struct {
	*VM
	t    testing.TB
	cons uint32
}

func newStreamGuest(t testing.TB) *streamGuest {
	t.Helper()
	vm := newTestVM(t, 1200)
	vm.cfg.Messages, vm.cfg.ReadyPort, vm.cfg.ServicePort = true, 80, servicePort
	if err := vm.loadMessages(); err != nil {
		t.Fatal(err)
	}
	if st := vm.tables.doMap(scratch, hypercall.MaxStreamSend, hypercall.MapRead|hypercall.MapWrite); st != 0 {
		t.Fatal(st)
	}
	t.Cleanup(vm.streams.end)
	return &streamGuest{VM: vm, t: t}
}

// do is the guest's call of stream; n bytes come from its memory.
func (g *streamGuest) do(id uint64, op hypercall.StreamOp, n uint64) int64 {
	g.t.Helper()
	r, _ := g.streams.call(callArgs{id, uint64(op), scratch, n})
	return r
}

// next takes a message, and says which it is.
func (g *streamGuest) next() (hypercall.Message, []byte) {
	g.t.Helper()
	g.messages.bring()
	if g.cons == g.messages.queue.Prod {
		return hypercall.Message{}, nil
	}
	m := g.messages.queue.Messages[g.cons%hypercall.MessageSlots]
	b := make([]byte, m.Data.Len)
	if st := g.space.copyIn(b, uint64(m.Data.Addr)); st != 0 {
		g.t.Fatalf("data of %+v: %v", m, st)
	}
	g.cons++
	g.shared.MessagesTaken = g.cons
	return m, b
}

// opened is a stream of the host's that the guest knows.
func (g *streamGuest) opened() (*conn, uint64) {
	g.t.Helper()
	c, err := g.Dial(0)
	if err != nil {
		g.t.Fatal(err)
	}
	c.Write(nil)
	for {
		switch m, _ := g.next(); {
		case m.ID == c.(*conn).id && m.Kind == hypercall.MessageOpen && m.Port == 80:
			return c.(*conn), m.ID
		case m.ID == 0:
			g.t.Fatal("the guest has not heard of it")
		}
	}
}

const (
	bad       = -int64(hypercall.EINVAL)
	notNow    = -int64(hypercall.EAGAIN)
	broken    = -int64(hypercall.EPIPE)
	noService = -int64(hypercall.ECONNREFUSED)
	tooMany   = -int64(hypercall.EMFILE)
	fault     = -int64(hypercall.EFAULT)
)

// TestStreamStates does everything to a stream in each state.
func TestStreamStates(t *testing.T) {
	const (
		send, end, reset = hypercall.StreamSend, hypercall.StreamEnd, hypercall.StreamReset
		credit, room     = hypercall.StreamCredit, hypercall.StreamRoom
	)
	type result struct{ send, empty, end, credit, reset int64 }
	over := result{bad, bad, bad, bad, bad}
	for name, test := range map[string]struct {
		make func(g *streamGuest, c *conn, id uint64)
		want result
	}{
		"open":             {func(g *streamGuest, c *conn, id uint64) {}, result{8, 0, 8, bad, 0}},
		"ended":            {func(g *streamGuest, c *conn, id uint64) { g.do(id, end, 8) }, result{bad, bad, bad, bad, 0}},
		"closed":           {func(g *streamGuest, c *conn, id uint64) { c.Close() }, result{broken, 0, broken, bad, 0}},
		"half closed":      {func(g *streamGuest, c *conn, id uint64) { c.CloseWrite(); g.next() }, result{8, 0, 8, bad, 0}},
		"with a byte":      {func(g *streamGuest, c *conn, id uint64) { c.Write([]byte{1}); g.next() }, result{8, 0, 8, 0, 0}},
		"full":             {func(g *streamGuest, c *conn, id uint64) { g.do(id, send, streamBuffer) }, result{notNow, 0, notNow, bad, 0}},
		"nearly full":      {func(g *streamGuest, c *conn, id uint64) { g.do(id, send, streamBuffer-3) }, result{3, 0, notNow, bad, 0}},
		"reset by guest":   {func(g *streamGuest, c *conn, id uint64) { g.do(id, reset, 0) }, over},
		"reset by host":    {func(g *streamGuest, c *conn, id uint64) { g.do(id, send, 1); c.Close() }, over},
		"heard of a reset": {func(g *streamGuest, c *conn, id uint64) { g.do(id, send, 1); c.Close(); g.next() }, over},
		"both ended":       {func(g *streamGuest, c *conn, id uint64) { c.CloseWrite(); g.next(); g.do(id, end, 0) }, over},
		"of another life":  {func(g *streamGuest, c *conn, id uint64) { g.streams.reset(id) }, over},
		"machine over":     {func(g *streamGuest, c *conn, id uint64) { g.streams.end() }, over},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStreamGuest(t)
			try := func(op hypercall.StreamOp, n uint64) int64 {
				c, id := g.opened()
				test.make(g, c, id)
				defer c.Close()
				return g.do(id, op, n)
			}
			if name == "machine over" {
				c, id := g.opened()
				test.make(g, c, id)
				try = func(op hypercall.StreamOp, n uint64) int64 { return g.do(id, op, n) }
			}
			got := result{try(send, 8), try(send, 0), 0, try(credit, 1), try(reset, 0)}
			if got.end = try(end, 8); name == "nearly full" && got.end == 3 {
				got.end = notNow // not all of it, so it has not ended
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			for _, a := range []callArgs{{1 << 40, uint64(send)}, {0, uint64(send)}, {0, 0}, {0, uint64(hypercall.StreamOpEnd)}, {1, uint64(room)}, {0, 1<<32 | uint64(room)}} {
				if r, _ := g.streams.call(a); r != bad {
					t.Errorf("%v: %d", a, r)
				}
			}
		})
	}
}

// TestStreamArguments passes what cannot be: nothing is taken.
func TestStreamArguments(t *testing.T) {
	g := newStreamGuest(t)
	c, id := g.opened()
	for _, test := range []struct {
		a    callArgs
		want int64
	}{
		{callArgs{id, uint64(hypercall.StreamSend), scratch, hypercall.MaxStreamSend + 1}, bad},
		{callArgs{id, uint64(hypercall.StreamSend), scratch, 1<<64 - 1}, bad},
		{callArgs{id, uint64(hypercall.StreamSend), scratch + hypercall.MaxStreamSend - 4, 8}, fault},
		{callArgs{id, uint64(hypercall.StreamEnd), 1<<64 - 4, 8}, fault},
		{callArgs{id, uint64(hypercall.StreamCredit), 0, 1}, bad},
		{callArgs{id, uint64(hypercall.StreamCredit), 0, 1 << 63}, bad},
		{callArgs{id, 1<<32 | uint64(hypercall.StreamSend), scratch, 8}, bad},
		{callArgs{id, uint64(hypercall.StreamConnect)}, noService},
		{callArgs{0, uint64(hypercall.StreamConnect)}, noService},
		{callArgs{1<<32 | servicePort, uint64(hypercall.StreamConnect)}, noService},
	} {
		if r, _ := g.streams.call(test.a); r != test.want || c.in.len() != 0 || c.inEnded || c.way != 0 {
			t.Errorf("%#x: %d, want %d; %d bytes", test.a, r, test.want, c.in.len())
		}
	}
}

// TestStreamFlood: a guest that sends in bits, connects and resets without end costs the
// host no more than there are buffers and streams.
func TestStreamFlood(t *testing.T) {
	g := newStreamGuest(t)
	_, id := g.opened()
	for n := 0; g.do(id, hypercall.StreamSend, 1) != notNow; n++ {
		if n > streamBuffer {
			t.Fatal("more than the buffer")
		}
	}
	if n := cap(g.streams.all[id].in.b); n > 2*streamBuffer {
		t.Errorf("%d bytes for a buffer of %d", n, streamBuffer)
	}
	made := 0
	for range 10_000 {
		switch r := g.do(servicePort, hypercall.StreamConnect, 0); {
		case r > 0:
			made++
			g.do(uint64(r), hypercall.StreamReset, 0)
		case r != tooMany:
			t.Fatal(r)
		}
	}
	if made > hypercall.MaxStreams || len(g.streams.all) != 1 {
		t.Errorf("%d were made, %d are under way", made, len(g.streams.all))
	}
	// Whoever accepts finds none of those, and there is room again.
	g.streams.reset(g.streams.last)
	last := int64(0)
	for i := range hypercall.MaxStreams + 1 {
		r := g.do(servicePort, hypercall.StreamConnect, 0)
		if (r > last) != (i < hypercall.MaxStreams) {
			t.Fatalf("stream %d: %d after %d", i, r, last)
		}
		last = r
	}
	if _, err := g.Dial(0); !errors.Is(err, ErrStreams) {
		t.Errorf("Dial: %v", err)
	}
}

// TestStreamNoCredit: a guest that says nothing of what it has got gets a window's worth,
// and one whose queue stays full a queue's. The rest waits where it comes from.
func TestStreamNoCredit(t *testing.T) {
	g := newStreamGuest(t)
	c, _ := g.opened()
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	var got int
	taking := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		defer close(taking)
		n, err := c.Write(make([]byte, 4*hypercall.StreamWindow))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > hypercall.StreamWindow+streamBuffer {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	for open := true; open; {
		select {
		case <-taking:
			open = false
		default:
		}
		_, b := g.next()
		got += len(b)
		runtime.Gosched()
	}
	writer.Wait()
	if got != hypercall.StreamWindow {
		t.Errorf("the guest has got %d bytes", got)
	}
	// Messages that nobody takes.
	for g.cons != g.messages.queue.Prod {
		g.next()
	}
	for i := range 40 {
		g.do(c.id, hypercall.StreamCredit, uint64(got))
		got = 0
		if d, err := g.Dial(0); err == nil {
			d.Write([]byte("x"))
			d.(*conn).CloseWrite()
		}
		g.messages.bring()
		if n := g.messages.prod - g.cons; n > hypercall.MessageSlots {
			t.Fatalf("%d messages in the queue after %d", n, i)
		}
	}
	if n := g.messages.prod - g.cons; n != hypercall.MessageSlots {
		t.Errorf("%d messages in the queue", n)
	}
}

// TestMessagesTaken: what a guest says to have taken is believed where it can be.
func TestMessagesTaken(t *testing.T) {
	g := newStreamGuest(t)
	m := g.messages
	m.prod, m.taken = 1<<32-10, 1<<32-30 // it runs over
	for _, test := range []struct{ says, want uint32 }{
		{1<<32 - 31, 1<<32 - 30}, {1<<32 - 9, 1<<32 - 30}, {5, 1<<32 - 30}, {0, 1<<32 - 30}, {1 << 31, 1<<32 - 30},
		{1<<32 - 30, 1<<32 - 30}, {1<<32 - 20, 1<<32 - 20}, {1<<32 - 25, 1<<32 - 20}, {1<<32 - 10, 1<<32 - 10},
	} {
		g.shared.MessagesTaken = test.says
		if m.look(); m.taken != test.want {
			t.Errorf("it says %d: %d, want %d", int32(test.says), int32(m.taken), int32(test.want))
		}
	}
	// Lies cost whoever tells them.
	r := rand.New(rand.NewPCG(1, 2))
	g.cons = m.prod
	c, id := g.opened()
	for range 2000 {
		g.shared.MessagesTaken = r.Uint32N(200) + m.prod - 100
		c.SetWriteDeadline(time.Now().Add(-1))
		c.SetWriteDeadline(time.Time{})
		if c.out.len() == 0 {
			c.Write([]byte("some text"))
		}
		m.bring()
		g.do(id, hypercall.StreamCredit, uint64(c.way))
		if m.prod-m.taken > hypercall.MessageSlots {
			t.Fatalf("%d messages, %d taken", m.prod, m.taken)
		}
	}
}

// TestStreamsEnd: whoever waits for a machine's streams hears of its end, and nothing of
// them is left.
func TestStreamsEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	g := newStreamGuest(t)
	var waiting atomic.Int32
	var all sync.WaitGroup
	wait := func(want error, f func() error) {
		waiting.Add(1)
		all.Go(func() {
			waiting.Add(-1)
			if err := f(); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
	for range 10 {
		c, id := g.opened()
		g.do(id, hypercall.StreamSend, 3)
		wait(ErrOver, func() error {
			b, err := io.ReadAll(c)
			if len(b) != 3 {
				t.Errorf("%d bytes", len(b))
			}
			return err
		})
		wait(ErrOver, func() error { _, err := c.Write(make([]byte, 1<<20)); return err })
		wait(ErrOver, func() error { _, err := g.Accept(t.Context()); return err })
	}
	d, _ := g.opened()
	wait(net.ErrClosed, func() error { _, err := d.Read(make([]byte, 1)); return err })
	for waiting.Load() > 0 {
		runtime.Gosched()
	}
	time.Sleep(10 * time.Millisecond) // most of them wait inside by now
	d.Close()
	g.streams.end()
	g.streams.end()
	all.Wait()
	if _, err := g.Dial(0); !errors.Is(err, ErrOver) {
		t.Errorf("Dial: %v", err)
	}
	if n := len(g.streams.all) + len(g.streams.due) + len(g.streams.backlog); n != 0 {
		t.Errorf("%d are left", n)
	}
	waitFor(t, "the goroutines' end", func() bool { return runtime.NumGoroutine() <= before })
}

// TestStreamMemory: where the machine has no memory left for what the host sends, that
// stream is over, and the machine is not.
func TestStreamMemory(t *testing.T) {
	g := newStreamGuest(t)
	c, _ := g.opened()
	for a := uint64(0x30_0000_0000); g.tables.doMap(a, pageSize, hypercall.MapRead|hypercall.MapWrite) == 0; a += pageSize {
	}
	c.Write(make([]byte, streamBuffer)) // more than has memory from the start
	var kind hypercall.MessageKind
	for m, _ := g.next(); m.ID != 0; m, _ = g.next() {
		kind = m.Kind
	}
	if _, err := c.Read(make([]byte, 1)); kind != hypercall.MessageReset || !errors.Is(err, ErrMemory) {
		t.Errorf("message %d, %v", kind, err)
	}
	if len(g.streams.all) != 0 {
		t.Error("it is under way")
	}
	if _, err := c.Write(nil); !errors.Is(err, ErrMemory) {
		t.Error(err)
	}
}

package hv

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// TestConnCloses: how conns are closed is what the other side hears.
func TestConnCloses(t *testing.T) {
	g := newStreamGuest(t)
	kinds := func() (list []hypercall.MessageKind) {
		for m, _ := g.next(); m.ID != 0; m, _ = g.next() {
			list = append(list, m.Kind)
		}
		return list
	}
	check := func(what string, want ...hypercall.MessageKind) {
		t.Helper()
		got := kinds()
		if len(got) != len(want) {
			t.Errorf("%s: %d, want %d", what, got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
	}
	c, err := g.Dial(81)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	check("nothing was said")
	c, _ = g.Dial(81)
	c.Write([]byte("x"))
	c.Close()
	check("something was said", hypercall.MessageOpen, hypercall.MessageEnd)
	s, id := g.opened()
	g.do(id, hypercall.StreamSend, 1)
	s.Close()
	check("something was not read", hypercall.MessageReset)
	s, id = g.opened()
	s.Write([]byte("x"))
	s.Close()
	check("something is on its way", hypercall.MessageEnd)
	g.do(id, hypercall.StreamReset, 0)
	s, id = g.opened()
	g.do(id, hypercall.StreamSend, streamBuffer)
	g.do(id, hypercall.StreamSend, 1)
	s.Read(make([]byte, streamBuffer/4))
	check("little room")
	s.Read(make([]byte, streamBuffer/2))
	check("room", hypercall.MessageRoom)
	s.Close()
	if err := s.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	s, id = g.opened()
	g.do(id, hypercall.StreamReset, 0)
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	s, _ = g.opened()
	s.CloseWrite()
	if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
}

// TestConnDeadlines: deadlines hold for who waits already, and can be taken back.
func TestConnDeadlines(t *testing.T) {
	g := newStreamGuest(t)
	c, id := g.opened()
	read := func() error { _, err := c.Read(make([]byte, 1)); return err }
	left := make(chan error)
	go func() { left <- read() }()
	c.SetDeadline(time.Now().Add(time.Millisecond))
	err := <-left
	if n := net.Error(nil); !errors.As(err, &n) || !n.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(time.Hour))
	g.do(id, hypercall.StreamSend, 1)
	if err := read(); err != nil {
		t.Error(err)
	}
	c.SetReadDeadline(time.Unix(1, 0))
	g.do(id, hypercall.StreamSend, 1)
	if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	c.SetDeadline(time.Time{})
	if err := errors.Join(read(), c.Close()); err != nil {
		t.Error(err)
	}
	if err := c.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

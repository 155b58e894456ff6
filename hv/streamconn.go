package hv

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Dial opens a connection to a TCP port of the program's, at the machine's loopback
// interface; 0 is Config.ReadyPort. Any goroutine may call it, before the machine runs too:
// bytes move while it does. The program hears of the connection with the first Write, Read
// or CloseWrite, and that nobody listens there the first Read finds. Beyond
// hypercall.MaxStreams connections, those that are being closed included, it is ErrStreams.
//
// The conn has deadlines and, for half-close, CloseWrite. Close has what was written sent
// yet, unless there is something that was not read: then, as with TCP, the program finds
// its connection reset. When the machine ends or is rewound, what has come can be read;
// then the error is ErrOver.
func (vm *VM) Dial(port int) (net.Conn, error) {
	if port == 0 {
		port = vm.cfg.ReadyPort
	}
	switch {
	case vm.streams == nil:
		return nil, &HostError{"dial", errNoStreams}
	case port <= 0 || port > 0xffff:
		return nil, &HostError{"dial", errNoPort}
	}
	s, err := vm.streams.open(uint32(port))
	if err != nil {
		return nil, &HostError{"dial", err}
	}
	return s, nil
}

// Accept waits for the program to connect to Config.ServicePort. Any goroutine may call
// it, and go on with it when the machine is rewound. The error is ctx's cause, or ErrOver
// when the machine has ended. The conn is as that of Dial.
func (vm *VM) Accept(ctx context.Context) (net.Conn, error) {
	t := vm.streams
	if t == nil {
		return nil, &HostError{"accept", errNoStreams}
	}
	for {
		select {
		case s := <-t.backlog:
			if s.usable() {
				return s, nil
			}
		case <-t.ended:
			return nil, &HostError{"accept", ErrOver}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// usable says whether a stream is not over before anybody has it.
func (s *conn) usable() bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.err == nil
}

// Read is part of net.Conn.
func (s *conn) Read(b []byte) (int, error) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, s.opError("read", net.ErrClosed)
		case s.reading.passed():
			return 0, s.opError("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case s.in.len() > 0:
			n := copy(b, s.in.bytes())
			s.in.take(n)
			s.tell()
			return n, nil
		case s.inEnded:
			return 0, io.EOF
		case s.err != nil:
			return 0, s.opError("read", s.err)
		}
		s.begin()
		s.changed.Wait()
	}
}

// Write is part of net.Conn. It returns when all is on its way.
func (s *conn) Write(b []byte) (n int, err error) {
	s.writer.Lock() // no two in turns
	defer s.writer.Unlock()
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for {
		switch {
		case s.closed:
			return n, s.opError("write", net.ErrClosed)
		case s.writing.passed():
			return n, s.opError("write", os.ErrDeadlineExceeded)
		case s.err != nil:
			return n, s.opError("write", s.err)
		case s.ending:
			return n, s.opError("write", syscall.EPIPE)
		}
		k := min(len(b)-n, streamBuffer-s.out.len())
		copy(s.out.add(k), b[n:])
		s.begin()
		if n += k; n == len(b) {
			return n, nil
		}
		s.changed.Wait()
	}
}

// CloseWrite tells the program that nothing more comes, after what was written.
func (s *conn) CloseWrite() error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	switch {
	case s.closed:
		return s.opError("close", net.ErrClosed)
	case s.err != nil:
		return s.opError("close", s.err)
	}
	s.ending = true
	s.begin()
	s.changed.Broadcast()
	return nil
}

// Close is part of net.Conn. See Dial.
func (s *conn) Close() error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.closed {
		return s.opError("close", net.ErrClosed)
	}
	s.reading.set(time.Time{})
	s.writing.set(time.Time{})
	s.finish()
	return nil
}

// LocalAddr is part of net.Conn.
func (s *conn) LocalAddr() net.Addr {
	if s.port != 0 {
		return loopback(0)
	}
	return loopback(s.t.vm.cfg.ServicePort)
}

// RemoteAddr is part of net.Conn.
func (s *conn) RemoteAddr() net.Addr { return loopback(int(s.port)) }

// loopback is a port of the machine's loopback interface; 0 is one that nobody knows.
func loopback(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }

func (s *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "stream", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// SetDeadline is part of net.Conn.
func (s *conn) SetDeadline(at time.Time) error { return s.setDeadlines(at, &s.reading, &s.writing) }

// SetReadDeadline is part of net.Conn.
func (s *conn) SetReadDeadline(at time.Time) error { return s.setDeadlines(at, &s.reading) }

// SetWriteDeadline is part of net.Conn.
func (s *conn) SetWriteDeadline(at time.Time) error { return s.setDeadlines(at, &s.writing) }

func (s *conn) setDeadlines(at time.Time, list ...*deadline) error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.closed {
		return s.opError("set", net.ErrClosed)
	}
	for _, d := range list {
		d.set(at)
	}
	return nil
}

// deadline is when one direction of a conn gives up. It is guarded by the lock of who
// waits.
type deadline struct {
	waiting *sync.Cond
	at      time.Time // zero: never
	timer   *time.Timer
	times   int  // that it was set
	over    bool // whatever clocks say: the timer has passed
}

func (d *deadline) passed() bool { return d.over || !d.at.IsZero() && time.Until(d.at) <= 0 }

// set is for the time at, or none when that is zero.
func (d *deadline) set(at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.times++
	d.at, d.over = at, false
	if !at.IsZero() && !d.passed() {
		now := d.times
		d.timer = time.AfterFunc(time.Until(at), func() { d.pass(now) })
	}
	d.waiting.Broadcast()
}

// pass is the timer's, for the deadline that was set as the given one.
func (d *deadline) pass(which int) {
	d.waiting.L.Lock()
	defer d.waiting.L.Unlock()
	if d.times == which {
		d.over = true
		d.waiting.Broadcast()
	}
}

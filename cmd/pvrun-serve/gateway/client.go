package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// errs keeps the first error.
type errs struct {
	mu  sync.Mutex
	err error
}

func (e *errs) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
}

func (e *errs) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// writer is a client's answer. A client that takes nothing for bodyTime has left.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	body    *body // of the request; nil for none
	begun   bool
	gone    bool // the connection is another protocol's
	status  int
	errs
}

// allow gives the client time for what is written next.
func (w *writer) allow() {
	if !w.gone {
		_ = w.control.SetWriteDeadline(time.Now().Add(bodyTime))
	}
}

func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begun, w.status = true, status
	}
	if status >= 200 {
		w.body.mark(w.Header())
	}
	w.allow()
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	w.begun = true
	w.allow()
	n, err := w.ResponseWriter.Write(b)
	if err != nil {
		w.note(err)
	}
	return n, err
}

// FlushError is for http.ResponseController.
func (w *writer) FlushError() error {
	w.allow()
	return w.control.Flush()
}

// Hijack is part of http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := w.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetWriteDeadline(time.Now().Add(bodyTime)) // for what is in the buffer
	w.begun, w.gone = true, true
	return socket{c, bodyTime}, buffered, nil
}

// socket is a client's connection that is another protocol's now.
type socket struct {
	net.Conn
	most time.Duration // for a piece
}

func (s socket) Write(b []byte) (n int, err error) {
	for first := true; first || len(b) > 0; first = false {
		_ = s.SetWriteDeadline(time.Now().Add(s.most))
		k, err := s.Conn.Write(b[:min(len(b), bufferSize)])
		if n += k; err != nil {
			return n, err
		}
		b = b[k:]
	}
	return n, nil
}

// CloseWrite is half-close, where the connection has that.
func (s socket) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return s.Close()
}

// body is what a client sends. One that sends nothing for bodyTime has left.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	errs
	state sync.Mutex
	over  bool // nobody reads any more
	ended bool // all of it was read
}

// restTime is how long a client may go on sending what nobody reads.
const restTime = time.Second

func (b *body) Read(p []byte) (int, error) {
	if !b.allow() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.end()
	case err != nil && !errors.Is(err, http.ErrBodyReadAfterClose):
		b.note(err)
	}
	return n, err
}

// allow gives the client time for what comes next, if somebody wants that.
func (b *body) allow() bool {
	b.state.Lock()
	defer b.state.Unlock()
	if !b.over {
		_ = b.control.SetReadDeadline(time.Now().Add(bodyTime))
	}
	return !b.over
}

// end notes that all is read. From here on it is net/http that looks whether the client
// leaves.
func (b *body) end() {
	b.state.Lock()
	defer b.state.Unlock()
	b.ended = true
	if !b.over {
		_ = b.control.SetReadDeadline(time.Time{})
	}
}

// stop has nobody read any more. net/http may look for the rest for a while.
func (b *body) stop() {
	b.state.Lock()
	defer b.state.Unlock()
	b.over = true
	if !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(restTime))
	}
}

// mark has the connection end with an answer that begins before all of the body was
// read: what may be left of that is no request.
func (b *body) mark(answer http.Header) {
	if b == nil {
		return
	}
	b.state.Lock()
	defer b.state.Unlock()
	if !b.ended {
		answer.Set("Connection", "close")
	}
}

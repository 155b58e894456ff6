package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// headerPrefix tells a program what was taken from its path.
const headerPrefix = "X-Forwarded-Prefix"

// forward has a program that serves HTTP answer a request, as it is. Both bodies go
// through as they come.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, f *Function, id, prefix string) {
	if r.Method == http.MethodConnect {
		http.Error(w, "a function is no proxy", http.StatusMethodNotAllowed)
		return
	}
	x := &exchange{writer: writer{ResponseWriter: w, control: http.NewResponseController(w)}, id: id, prefix: prefix}
	// An answer may begin before all of the request is there.
	_ = x.writer.control.EnableFullDuplex()
	res := f.Pool.Visit(r.Context(), id, func(ctx context.Context, to http.RoundTripper) (bool, error) {
		return x.run(r.WithContext(ctx), to)
	})
	g.record(f, id, &res)
	switch {
	case res.Err == nil:
	case x.writer.begun:
		panic(http.ErrAbortHandler) // the client is to see that there was to be more
	default:
		answer(w, &res, f, pool.HTTP)
	}
}

// exchange is one request on its way.
type exchange struct {
	writer writer
	body   *body
	id     string
	prefix string
	err    error // of the proxy's
	answer errs
}

// run sends the request and brings the answer.
func (x *exchange) run(r *http.Request, to http.RoundTripper) (failed bool, err error) {
	defer func() {
		switch e := recover(); {
		case e == http.ErrAbortHandler: // half of an answer
			err = x.reason(fmt.Errorf("it breaks off: %w", x.answer.failure()))
		case e != nil:
			panic(e)
		}
	}()
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &body{ReadCloser: r.Body, control: x.writer.control}
		r.Body = x.body
	}
	proxy := httputil.ReverseProxy{
		Rewrite: x.rewrite, ModifyResponse: x.modify, Transport: to, FlushInterval: -1, BufferPool: buffers{},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { x.err = x.reason(err) },
		ErrorLog:     silent,
	}
	proxy.ServeHTTP(&x.writer, r)
	return x.writer.status >= http.StatusInternalServerError, x.err
}

// reason is err, or what the client has done.
func (x *exchange) reason(err error) error {
	client := x.writer.failure()
	if client == nil && x.body != nil {
		client = x.body.failure()
	}
	if client != nil {
		return fmt.Errorf("%w: the client: %w", context.Canceled, client)
	}
	return err
}

// rewrite makes the program's request of the client's.
func (x *exchange) rewrite(r *httputil.ProxyRequest) {
	r.SetXForwarded()
	out := r.Out
	out.URL.Scheme, out.URL.Host = "http", "program"
	out.URL.RawQuery = r.In.URL.RawQuery
	out.Host = r.In.Host
	out.Trailer = r.In.Trailer // it is filled when the body is read
	out.Header.Set(HeaderInvocation, x.id)
	out.Header.Del(headerPrefix)
	if x.prefix != "" {
		out.Header.Set(headerPrefix, x.prefix)
		strip(out.URL, x.prefix)
	}
}

// strip takes a prefix off a path.
func strip(u *url.URL, prefix string) {
	u.Path = root(strings.TrimPrefix(u.Path, prefix))
	if u.RawPath == "" {
		return
	}
	raw, ok := strings.CutPrefix(u.RawPath, (&url.URL{Path: prefix}).EscapedPath())
	if !ok {
		raw = "" // it was written another way
	}
	u.RawPath = root(raw)
}

func root(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

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
	begun   bool
	status  int
	errs
}

func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begun, w.status = true, status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	w.begun = true
	_ = w.control.SetWriteDeadline(time.Now().Add(bodyTime))
	n, err := w.ResponseWriter.Write(b)
	if err != nil {
		w.note(err)
	}
	return n, err
}

// Unwrap has http.ResponseController flush and hijack.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// body is what a client sends. One that sends nothing for bodyTime has left.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	errs
}

func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(bodyTime))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		// From here on it is net/http that looks whether the client leaves.
		_ = b.control.SetReadDeadline(time.Time{})
		if err != io.EOF && !errors.Is(err, http.ErrBodyReadAfterClose) {
			b.note(err)
		}
	}
	return n, err
}

// answerBody is what a program sends.
type answerBody struct {
	io.ReadCloser
	*errs
}

func (b answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.note(err)
	}
	return n, err
}

func (x *exchange) modify(a *http.Response) error {
	if a.StatusCode != http.StatusSwitchingProtocols { // there the body is the connection
		a.Body = answerBody{a.Body, &x.answer}
	}
	return nil
}

// buffers are for bodies that go through.
type buffers struct{}

const bufferSize = 32 << 10

var pooled = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func (buffers) Get() []byte  { return pooled.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { pooled.Put((*[bufferSize]byte)(b)) }

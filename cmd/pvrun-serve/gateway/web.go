package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// headerPrefix tells a program what was taken from its path.
const headerPrefix = "X-Forwarded-Prefix"

// forward has a program that serves HTTP answer a request, as it is. Both bodies go
// through as they come.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, f *Function, id, prefix string) {
	switch {
	case r.Method == http.MethodConnect:
		http.Error(w, "a function is no proxy", http.StatusMethodNotAllowed)
		return
	case r.URL.Opaque != "": // as in http:path, which programs may take for anything
		http.Error(w, "the request's target has no path", http.StatusBadRequest)
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
		x.writer.allow() // for the end of the answer
	case x.writer.begun:
		panic(http.ErrAbortHandler) // the client is to see that there was to be more
	default:
		w.Header().Set(HeaderInvocation, id)
		x.body.mark(w.Header())
		answer(w, &res, f, pool.HTTP)
	}
}

// exchange is one request on its way.
type exchange struct {
	writer writer
	body   *body
	socket io.Closer // the program's connection, when it is another protocol's
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
		x.writer.body, r.Body = x.body, x.body
		defer x.body.stop()
	}
	defer func() {
		if x.socket != nil {
			x.socket.Close() // where it has not become the client's too
		}
	}()
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
	if raw != "" && raw[0] != '/' { // the slash behind the prefix was
		raw = ""
	}
	u.RawPath = root(raw)
}

func root(path string) string {
	if path == "" {
		return "/"
	}
	return path
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
	switch {
	case a.StatusCode == http.StatusSwitchingProtocols: // the body is the connection
		x.socket = a.Body
	case a.StatusCode < 200: // net/http takes any three characters that are a number
		return fmt.Errorf("malformed HTTP status %03d", a.StatusCode)
	default:
		a.Body = answerBody{a.Body, &x.answer}
	}
	// What the program says of the id goes, and what came before may have taken ours.
	x.writer.Header().Del(HeaderInvocation)
	a.Header.Set(HeaderInvocation, x.id)
	return nil
}

// buffers are for bodies that go through.
type buffers struct{}

const bufferSize = 32 << 10

var pooled = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func (buffers) Get() []byte  { return pooled.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { pooled.Put((*[bufferSize]byte)(b)) }

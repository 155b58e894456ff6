// Package gateway has functions answer HTTP requests, and shows how they are.
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hypercall"
)

// HeaderInvocation has the id of an invocation, in its answer.
const HeaderInvocation = "X-Pvrun-Invocation"

// bodyTime is how long a client may take to send its message, and to read the answer.
var bodyTime = time.Minute

// roomTime is how long a message waits until there is memory for it.
const roomTime = 10 * time.Second

// Gateway is an http.Handler. Its functions can be changed while it serves.
type Gateway struct {
	log     *slog.Logger
	table   atomic.Pointer[table]
	pages   http.Handler
	metrics *metrics
	begun   time.Time

	prefix string // of ids
	last   atomic.Uint64
}

// New makes a gateway without functions.
func New(log *slog.Logger) *Gateway {
	var b [4]byte
	rand.Read(b[:])
	g := &Gateway{log: log, prefix: hex.EncodeToString(b[:]), begun: time.Now()}
	g.table.Store(newTable(nil))
	g.metrics = newMetrics(g)
	g.pages = g.newPages()
	return g
}

// SetFunctions has requests go to these from now on. Paths, names and hosts differ.
func (g *Gateway) SetFunctions(all []*Function) { g.table.Store(newTable(all)) }

// Forget drops what is known of a function that is not served any more.
func (g *Gateway) Forget(f *Function) { g.metrics.forget(f.Name) }

func (g *Gateway) functions() []*Function { return g.table.Load().all }

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := g.table.Load()
	f, prefix := t.find(r.Host, r.URL.Path)
	if f == nil {
		if name, ok := awsName(r.URL.Path); ok {
			g.serveAWS(w, r, t.names[name])
			return
		}
		allow(w)
		g.pages.ServeHTTP(w, r)
		return
	}
	id := g.nextID()
	w.Header().Set(HeaderInvocation, id)
	if c, known := f.Pool.Contract(); known && c != pool.HTTP {
		g.serve(w, r, f, id, c)
	} else {
		g.forward(w, r, f, id, prefix)
	}
}

// nextID is unique in this process, and most likely among all.
func (g *Gateway) nextID() string {
	return g.prefix + "-" + strconv.FormatUint(g.last.Add(1), 10)
}

// serve has a function answer what a request has as its body.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, f *Function, id string, c pool.Contract) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "a function takes messages by POST", http.StatusMethodNotAllowed)
		return
	}
	message, free, err := f.message(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	res := f.Pool.Invoke(invokeContext(r, c), id, message)
	free()
	g.record(f, id, &res)
	answer(w, &res, f, c)
}

// httpError is why a request has no invocation.
type httpError struct {
	status int
	error
}

func statusOf(err error) int {
	var h httpError
	if !errors.As(err, &h) {
		return http.StatusBadRequest
	}
	return h.status
}

func refuse(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	allow(w)
	http.Error(w, err.Error(), status)
}

// message reads a request's body, when there is room for it; free gives the room back.
func (f *Function) message(w http.ResponseWriter, r *http.Request) (b []byte, free func(), err error) {
	room := r.ContentLength
	switch {
	case room > hypercall.MaxMessage:
		return nil, nil, errTooLong
	case room < 0:
		room = hypercall.MaxMessage
	}
	ctx, stop := context.WithTimeout(r.Context(), roomTime)
	defer stop()
	if f.bodies.Acquire(ctx, room) != nil {
		return nil, nil, httpError{http.StatusTooManyRequests, errors.New("too many messages wait already")}
	}
	free = func() { f.bodies.Release(room) }
	if b, err = readBody(w, r); err != nil {
		free()
		return nil, nil, err
	}
	return b, free, nil
}

var errTooLong = httpError{http.StatusRequestEntityTooLarge, fmt.Errorf("a message has %d bytes at the most", hypercall.MaxMessage)}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	// At the body's end net/http takes it back, and looks whether the client leaves.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return nil, err
	}
	body := http.MaxBytesReader(w, r.Body, hypercall.MaxMessage)
	if r.ContentLength < 0 {
		b, err := io.ReadAll(body)
		return b, readError(err)
	}
	b := make([]byte, r.ContentLength)
	_, err := io.ReadFull(body, b)
	return b, readError(err)
}

func readError(err error) error {
	if long := (*http.MaxBytesError)(nil); errors.As(err, &long) {
		return errTooLong
	}
	return err
}

// statuses are what outcomes are answered with.
var statuses = map[pool.Outcome]int{
	pool.OK:       http.StatusOK,
	pool.Failed:   http.StatusInternalServerError,
	pool.TimedOut: http.StatusGatewayTimeout,
	pool.Ended:    http.StatusBadGateway,
	pool.Broken:   http.StatusBadGateway,
	pool.Fault:    http.StatusBadGateway,
	pool.Busy:     http.StatusTooManyRequests,
	pool.NotReady: http.StatusServiceUnavailable,
	pool.Host:     http.StatusServiceUnavailable,

	pool.Cancelled: http.StatusServiceUnavailable, // nobody reads it
}

func answer(w http.ResponseWriter, res *pool.Result, f *Function, c pool.Contract) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	switch res.Outcome {
	case pool.OK, pool.Failed:
		h.Set("Content-Type", contentType(res, c))
	case pool.Busy, pool.NotReady:
		h.Set("Retry-After", "1")
		fallthrough
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	if c == pool.Lambda && res.Outcome == pool.Failed {
		h.Set(headerError, unhandled)
	}
	text := res.Response.Data
	if res.Err != nil {
		text = append([]byte(f.words(res)), '\n')
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	allow(w)
	w.WriteHeader(statuses[res.Outcome])
	w.Write(text) // a client that has gone needs no answer
}

// allow gives the client time to read an answer that is whole: of this answer only.
func allow(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTime))
}

// contentType is of a response: what Lambda's programs answer is JSON.
func contentType(res *pool.Result, c pool.Contract) string {
	switch {
	case c == pool.Lambda:
		return "application/json"
	case res.Response.Failed:
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// words are one line on an invocation without a response.
func (f *Function) words(res *pool.Result) string {
	switch res.Outcome {
	case pool.TimedOut:
		return fmt.Sprintf("time-out: no response after %v", f.Pool.Status().Limits.Timeout)
	case pool.Ended:
		return res.Err.Error() + " in place of answering"
	case pool.NotReady:
		if why := f.Trouble(); why != "" {
			return res.Err.Error() + ": " + firstLine(why)
		}
	}
	return firstLine(res.Err.Error())
}

// record counts an invocation and logs it.
func (g *Gateway) record(f *Function, id string, res *pool.Result) {
	took := res.Waited + res.Ran
	if res.Outcome == pool.Busy || res.Outcome == pool.NotReady {
		took = -1
	}
	f.window.add(time.Now(), took, res.Outcome != pool.OK)
	g.metrics.observe(f.Name, res)
	level := slog.LevelWarn
	switch res.Outcome {
	case pool.OK, pool.Cancelled, pool.Busy, pool.NotReady:
		level = slog.LevelDebug // the metrics have them
	case pool.Failed:
		level = slog.LevelInfo
	}
	if !g.log.Enabled(context.Background(), level) {
		return
	}
	list := []slog.Attr{
		slog.String("function", f.Name), slog.String("invocation", id), slog.String("outcome", string(res.Outcome)),
		slog.Duration("waited", res.Waited), slog.Duration("ran", res.Ran), slog.Bool("cold", res.Cold),
	}
	if res.Err != nil {
		list = append(list, slog.String("error", firstLine(f.words(res))))
	}
	g.log.LogAttrs(context.Background(), level, "invocation", list...)
}

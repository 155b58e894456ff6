package lambda

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// life serves the Runtime API to the program of a machine, from when it was made or
// rewound on. All that comes to it is the program's, and hostile.
type life struct {
	arn    string
	server http.Server
	ctx    context.Context
	cancel context.CancelFunc
	served chan struct{} // closed: it takes no connections any more
	events chan *event   // of 1

	mu      sync.Mutex
	current *event // that Invoke waits for
	asked   bool   // the program has asked for events
}

// event is one that the program is to answer.
type event struct {
	id       string
	body     []byte
	deadline time.Time
	extra    Extra
	settle   func()        // is called before done is closed
	done     chan struct{} // closed: there is a response, and the program knows that

	// Of the life's lock:
	taken     bool // by the program
	answering bool // a response is under way
	answered  bool
	response  hv.Response
}

// maxHeader is the most of a request's header, in bytes.
const maxHeader = 64 << 10

func (m *Machine) begin() *life {
	l := &life{arn: m.arn, served: make(chan struct{}), events: make(chan *event, 1)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.server = http.Server{
		Handler: l.handler(), MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // it is the program's doing
	}
	go func() {
		defer close(l.served)
		_ = l.server.Serve(&listener{l, m.VM})
	}()
	return l
}

// listener is the connections that the program makes.
type listener struct {
	life *life
	vm   VM
}

func (l *listener) Accept() (net.Conn, error) { return l.vm.Accept(l.life.ctx) }
func (l *listener) Addr() net.Addr            { return &net.TCPAddr{} }
func (l *listener) Close() error              { l.life.cancel(); return nil }

// end ends all connections. None that comes later is taken.
func (l *life) end() {
	l.cancel()
	l.server.Close()
	<-l.served
}

// put has the program get an event. The one before is over.
func (l *life) put(e *event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = e
	select {
	case <-l.events: // nobody has asked for the last one
	default:
	}
	l.events <- e
}

// take is what has become of an event, which is over.
func (l *life) take(e *event) (hv.Response, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = nil
	return e.response, e.answered
}

func (l *life) handler() http.Handler {
	const api = "/2018-06-01/runtime/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api+"invocation/next", l.next)
	mux.HandleFunc("POST "+api+"invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) { l.answer(w, r, false) })
	mux.HandleFunc("POST "+api+"invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) { l.answer(w, r, true) })
	mux.HandleFunc("POST "+api+"init/error", l.initError)
	return mux
}

// next hands out the event, when there is one.
func (l *life) next(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.asked = true
	l.mu.Unlock()
	select {
	case e := <-l.events:
		l.mu.Lock()
		e.taken = true
		l.mu.Unlock()
		e.write(w, l.arn)
	case <-r.Context().Done():
	case <-l.ctx.Done():
	}
}

func (e *event) write(w http.ResponseWriter, arn string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(e.body)))
	h.Set("Lambda-Runtime-Aws-Request-Id", e.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(e.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", arn)
	h.Set("Lambda-Runtime-Trace-Id", e.trace())
	if e.extra.Context != "" {
		h.Set("Lambda-Runtime-Client-Context", e.extra.Context)
	}
	w.Write(e.body) // a program that has gone needs none
}

// trace is the client's, or one that is not to be sampled, as the AWS X-Ray Developer
// Guide has it, "Tracing header".
func (e *event) trace() string {
	if e.extra.Trace != "" {
		return e.extra.Trace
	}
	var b [20]byte
	rand.Read(b[:])
	return fmt.Sprintf("Root=1-%08x-%x;Parent=%x;Sampled=0", time.Now().Unix(), b[:12], b[12:])
}

// refusal is an answer to a request that cannot be.
type refusal struct {
	status int
	kind   string
	text   string
}

var (
	errID    = &refusal{http.StatusBadRequest, "InvalidRequestID", "Invalid request ID"}
	errState = &refusal{http.StatusForbidden, "InvalidStateTransition", "it was answered, or not asked for"}
	errLong  = &refusal{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", fmt.Sprintf("a response has %d bytes at the most", hypercall.MaxMessage)}
	errBody  = &refusal{http.StatusBadRequest, "InvalidRequest", "the body breaks off"}
)

func (r *refusal) write(w http.ResponseWriter) { reply(w, r.status, errorText(r.kind, r.text)) }

func reply(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	w.Write(text)
}

// errorText is an error as programs and clients of Lambda know it.
func errorText(kind, text string) []byte {
	b, _ := json.Marshal(struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}{text, kind})
	return b
}

// claim is the event of an id that is to be answered now.
func (l *life) claim(id string) (*event, *refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := l.current; {
	case e == nil || e.id != id:
		return nil, errID
	case !e.taken || e.answering:
		return nil, errState
	default:
		e.answering = true
		return e, nil
	}
}

// answer takes a response, or an error in place of one. One that is streamed is taken
// whole.
func (l *life) answer(w http.ResponseWriter, r *http.Request, failed bool) {
	e, no := l.claim(r.PathValue("id"))
	if no != nil {
		no.write(w)
		return
	}
	data, no := readBody(w, r)
	switch {
	case no != nil && no == errLong:
		data, failed = errorText("Function.ResponseSizeTooLarge", no.text), true
	case no != nil:
		data, failed = errorText("Runtime.TruncatedResponse", no.text), true
	case r.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "":
		data, failed = trailerError(r), true
	}
	l.finish(w, e, hv.Response{Data: data, Failed: failed}, no)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, hypercall.MaxMessage))
	if long := (*http.MaxBytesError)(nil); errors.As(err, &long) {
		return nil, errLong
	} else if err != nil {
		return nil, errBody
	}
	return data, nil
}

// trailerError is the error that a streamed response ended with.
func trailerError(r *http.Request) []byte {
	kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type")
	data, err := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
	if err != nil || !json.Valid(data) {
		return errorText(kind, "the response broke off")
	}
	return data
}

// initError takes an error from a program that could not begin.
func (l *life) initError(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	e := l.current
	if e == nil || l.asked || e.answering {
		l.mu.Unlock()
		errState.write(w)
		return
	}
	e.answering = true
	l.mu.Unlock()
	data, no := readBody(w, r)
	if no != nil {
		data = errorText("Runtime.InitError", no.text)
	}
	l.finish(w, e, hv.Response{Data: data, Failed: true}, no)
}

// finish tells the program that its answer has come, or why it is none, and then who
// waits: the machine stands still from there on.
func (l *life) finish(w http.ResponseWriter, e *event, response hv.Response, no *refusal) {
	if no != nil {
		no.write(w)
	} else {
		reply(w, http.StatusAccepted, []byte(`{"status":"OK"}`))
	}
	_ = http.NewResponseController(w).Flush()
	l.mu.Lock()
	e.answered, e.response = true, response
	l.mu.Unlock()
	e.settle()
	close(e.done)
}

package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/lambda"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// Headers of the Invoke API, AWS Lambda API Reference, "Invoke".
const (
	headerError     = "X-Amz-Function-Error"
	headerErrorType = "X-Amzn-Errortype"
	headerRequest   = "X-Amzn-Requestid"
	headerVersion   = "X-Amz-Executed-Version"
	headerKind      = "X-Amz-Invocation-Type"
	headerContext   = "X-Amz-Client-Context"
	headerTrace     = "X-Amzn-Trace-Id"

	unhandled = "Unhandled"
	latest    = "$LATEST"
)

// silent is the log of what is told otherwise.
var silent = log.New(io.Discard, "", 0)

// awsName is the function that a path of the Invoke API names: by name or by ARN, with a
// version or without.
func awsName(path string) (name string, ok bool) {
	name, ok = strings.CutPrefix(path, "/2015-03-31/functions/")
	if !ok {
		return "", false
	}
	if name, ok = strings.CutSuffix(name, "/invocations"); !ok {
		return "", false
	}
	if _, after, isARN := strings.Cut(name, ":function:"); isARN {
		name = after
	}
	name, _, _ = strings.Cut(name, ":")
	return name, true
}

// serveAWS answers as the Invoke API does. Nobody looks at signatures.
func (g *Gateway) serveAWS(w http.ResponseWriter, r *http.Request, f *Function) {
	id := g.nextID()
	w.Header().Set(HeaderInvocation, id)
	w.Header().Set(headerRequest, id)
	kind := r.Header.Get(headerKind)
	switch {
	case f == nil || isHTTP(f):
		refuseAWS(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuseAWS(w, http.StatusMethodNotAllowed, "InvalidRequestContentException", "must be POST")
		return
	case kind == "DryRun":
		w.WriteHeader(http.StatusNoContent)
		return
	case kind != "" && kind != "RequestResponse":
		refuseAWS(w, http.StatusBadRequest, "InvalidParameterValueException", "invocation type "+kind+" is not supported")
		return
	}
	message, free, err := f.message(w, r)
	if err != nil {
		refuseMessage(w, err)
		return
	}
	res := f.Pool.Invoke(invokeContext(r, pool.Lambda), id, message)
	free()
	g.record(f, id, &res)
	answerAWS(w, &res, f, id)
}

func isHTTP(f *Function) bool {
	c, known := f.Pool.Contract()
	return known && c == pool.HTTP
}

// invokeContext is the request's, with what a client says for a program of Lambda's.
func invokeContext(r *http.Request, c pool.Contract) context.Context {
	if c != pool.Lambda {
		return r.Context()
	}
	x := lambda.Extra{Trace: headerValue(r.Header.Get(headerTrace))}
	if b, err := base64.StdEncoding.DecodeString(r.Header.Get(headerContext)); err == nil && json.Valid(b) {
		x.Context = headerValue(string(b))
	}
	return lambda.With(r.Context(), x)
}

// headerValue is text that can be a header's, or nothing.
func headerValue(text string) string {
	for _, c := range []byte(text) {
		if c < ' ' || c == 0x7f {
			return ""
		}
	}
	return text
}

func refuseAWS(w http.ResponseWriter, status int, kind, text string) {
	allow(w)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(headerErrorType, kind)
	w.WriteHeader(status)
	b, _ := json.Marshal(map[string]string{"Type": "User", "Message": text, "message": text})
	w.Write(b)
}

func refuseMessage(w http.ResponseWriter, err error) {
	status, kind := statusOf(err), "InvalidRequestContentException"
	switch status {
	case http.StatusRequestEntityTooLarge:
		kind = "RequestTooLargeException"
	case http.StatusTooManyRequests:
		kind = "TooManyRequestsException"
	}
	refuseAWS(w, status, kind, err.Error())
}

// answerAWS answers a function's error with 200, and says in a header that it is one. So
// is its end, and a time-out.
func answerAWS(w http.ResponseWriter, res *pool.Result, f *Function, id string) {
	switch res.Outcome {
	case pool.Busy:
		refuseAWS(w, http.StatusTooManyRequests, "TooManyRequestsException", f.words(res))
		return
	case pool.NotReady, pool.Host, pool.Cancelled:
		refuseAWS(w, http.StatusServiceUnavailable, "ServiceException", f.words(res))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(headerVersion, latest)
	text := res.Response.Data
	if res.Err != nil {
		text = endText(res, f, id)
	}
	if res.Outcome != pool.OK {
		h.Set(headerError, unhandled)
	}
	allow(w)
	w.Write(text)
}

// endText is what Lambda's clients get where there is no response.
func endText(res *pool.Result, f *Function, id string) []byte {
	kind, text := "Runtime.ExitError", f.words(res)
	if res.Outcome == pool.TimedOut {
		kind, text = "Sandbox.Timedout", fmt.Sprintf("Task timed out after %.2f seconds", f.Pool.Status().Limits.Timeout.Seconds())
	}
	b, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": "RequestId: " + id + " Error: " + text})
	return b
}

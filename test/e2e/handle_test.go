package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

var functions = define(programsDir, "function", "")

// Package function in a machine.
func TestHandle(t *testing.T) {
	t.Parallel()
	f := newFunction(t, functions)
	for range 50 {
		for _, message := range []string{"x", "", strings.Repeat("y", 4072), strings.Repeat("z", 4073), strings.Repeat("m", hypercall.MaxMessage)} {
			if got := f.ask(t, message, false); got != message {
				t.Fatalf("%d bytes: got %d, %.40q", len(message), len(got), got)
			}
			if len(message) > 5000 {
				break // once is enough
			}
		}
	}
	same(t, "large", f.ask(t, "large", false), string(make([]byte, hypercall.MaxMessage)))
	same(t, "long", f.ask(t, "long", true), "a response of 6291457 bytes; 6291456 are the most")
	same(t, "fail", f.ask(t, "fail", true), "no good")
	same(t, "deadline", f.ask(t, "deadline", false), "true")
	same(t, "goroutines", f.ask(t, "goroutines", false), "true")
	same(t, "identity", f.ask(t, "identity", false), "0 32 true")
}

// A message's deadline ends its context, and without one there is none.
func TestHandleDeadline(t *testing.T) {
	t.Parallel()
	f := newFunction(t, functions)
	got, err := f.Invoke(context.Background(), []byte("deadline"))
	if err != nil || string(got.Data) != "false" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A panic is the program's end, with its trace.
func TestHandlePanic(t *testing.T) {
	t.Parallel()
	f := newFunction(t, functions)
	f.ask(t, "x", false)
	got, err := f.Invoke(context.Background(), []byte("panic"))
	if ended := (*hv.EndedError)(nil); !errors.As(err, &ended) || ended.Exit.Code != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if text := f.stderr.String(); !strings.HasPrefix(text, "panic: at once\n\ngoroutine ") {
		t.Errorf("stderr: got %s", text)
	}
}

// SIGTERM ends Handle, and what is under way is answered.
func TestHandleEnds(t *testing.T) {
	t.Parallel()
	f := newFunction(t, functions)
	same(t, "response", f.ask(t, "end", false), "ending")
	var err error
	for err == nil { // messages may come before the signal, or while the program ends
		var got hv.Response
		got, err = f.Invoke(t.Context(), []byte("x"))
		want := map[bool]string{false: "x", true: "the program is ending"}[got.Failed]
		if err == nil && string(got.Data) != want {
			t.Fatalf("got %+v", got)
		}
	}
	if ended := (*hv.EndedError)(nil); !errors.As(err, &ended) || ended.Exit.Code != 0 || f.stdout.String() != "ended\n" {
		t.Errorf("got %v, %s%s", err, &f.stdout, &f.stderr)
	}
}

// A program says it when it gets no messages.
func TestHandleWithoutMessages(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		wants(t, run(t, functions, in(mode)), 1, "", "/dev/function: this machine gets no messages; those of pvrun invoke do\n")
	})
}

// Images of functions have no package net, but where SQLite brings it.
func TestFunctionsWithoutNet(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(built(t, define(imagesDir, "fn-hello", "").image))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "net/http.") || strings.Contains(string(text), filepath.Join("net", "dial.go")) {
		t.Error("fn-hello has a network")
	}
}

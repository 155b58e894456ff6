package main

import (
	"testing"

	"github.com/pvrun/pvrun/hypercall"
)

func TestReadyValue(t *testing.T) {
	for text, want := range map[string]readyValue{
		"message":               {hypercall.ReadyMessage, 0, 0},
		"call":                  {hypercall.ReadyCall, 0, 0},
		"listen:8080":           {hypercall.ReadyListen, 8080, 0},
		"call,listen:1":         {hypercall.ReadyCall | hypercall.ReadyListen, 1, 0},
		"listen:65535,message":  {hypercall.ReadyMessage | hypercall.ReadyListen, 65535, 0},
		"message,call,listen:9": {hypercall.ReadyMessage | hypercall.ReadyCall | hypercall.ReadyListen, 9, 0},
		"connect":               {hypercall.ReadyConnect, 0, 9001},
		"connect:80,listen:81":  {hypercall.ReadyConnect | hypercall.ReadyListen, 81, 80},
	} {
		got := readyValue{moments: hypercall.ReadyMessage}
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		var again readyValue
		if err := again.Set(got.String()); err != nil || again != want {
			t.Errorf("%s: shown as %s", text, got.String())
		}
	}
	for _, text := range []string{
		"", ",", "message,", "soon", "listen", "listen:", "listen:0", "listen:65536", "listen:-1", "listen:http",
		"listen:1,listen:2", "connect,connect:2", "connect:", "connect:0", "connect:x", "message:1", "Message", " call",
	} {
		got := readyValue{moments: hypercall.ReadyCall}
		if err := got.Set(text); err == nil || got.moments != hypercall.ReadyCall {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestReadyLacking(t *testing.T) {
	v := readyValue{hypercall.ReadyListen | hypercall.ReadyConnect | hypercall.ReadyCall, 80, 90}
	if got, want := v.lacking(), "it does not listen on TCP port 80, and it has not connected to 127.0.0.1:90, and it has not called function.Ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

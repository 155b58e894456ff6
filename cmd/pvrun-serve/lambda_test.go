package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func hostileLambda(t *testing.T) string { return image(t, "test/function/hostilelambda") }

// A program of the SDK's is found to be one, and answers both ways.
func TestLambda(t *testing.T) {
	s := start(t, "fl="+image(t, "images/fn-lambda"))
	s.ready("fl")
	for range 3 {
		status, text := s.post("fl", `{"name": "you"}`)
		var g struct{ Text, Request string }
		if err := json.Unmarshal([]byte(text), &g); status != 200 || err != nil || g.Text != "hello you" || g.Request == "" {
			t.Errorf("got %d, %s", status, text)
		}
	}
	if status, text := s.post("fl", `{}`); status != 500 || !strings.Contains(text, `"errorMessage":"no name"`) {
		t.Errorf("got %d, %s", status, text)
	}
	for _, test := range []struct {
		name, kind, body string
		status           int
		failed           string
		want             string
	}{
		{"fl", "", `{"name": "you"}`, 200, "", `{"text":"hello you"`},
		{"fl:$LATEST", "RequestResponse", `{"name": "you"}`, 200, "", `{"text":"hello you"`},
		{"arn:aws:lambda:us-east-1:000000000000:function:fl", "", `{"name": "you"}`, 200, "", `{"text":"hello you"`},
		{"fl", "", `{}`, 200, "Unhandled", `{"errorMessage":"no name","errorType":"errorString"}`},
		{"fl", "DryRun", `{}`, 204, "", ""},
		{"fl", "Event", `{}`, 400, "", `{"Message":"invocation type Event is not supported"`},
		{"other", "", `{}`, 404, "", `{"Message":"Function not found"`},
	} {
		status, failed, text := s.invokeAPI(test.name, test.kind, test.body)
		if status != test.status || failed != test.failed || !strings.HasPrefix(text, test.want) {
			t.Errorf("%s %s: got %d, %s, %s", test.name, test.kind, status, failed, text)
		}
	}
	if f := s.status("fl"); f.Contract != "lambda" {
		t.Errorf("got %+v", f)
	}
	s.end(sigterm)
	s.nothingLeft()
}

// invokeAPI invokes a function as AWS's clients do.
func (s *serve) invokeAPI(name, kind, body string) (status int, failed, text string) {
	r, err := http.NewRequest("POST", s.url+"/2015-03-31/functions/"+name+"/invocations", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("X-Amz-Invocation-Type", kind)
	}
	r.Header.Set("X-Amz-Client-Context", base64.StdEncoding.EncodeToString([]byte(`{"client":{}}`)))
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		s.t.Error(err)
	}
	return a.StatusCode, a.Header.Get("X-Amz-Function-Error"), string(b)
}

// Whatever a program does to the Runtime API, its client has an answer that says so, and
// the next one has a machine.
func TestLambdaFaults(t *testing.T) {
	s := start(t, "-f", configFile(t, `
defaults: {timeout: 2m, contract: lambda, memory: 64m}
functions:
  rewound: {image: %[1]s}
  kept: {image: %[1]s, isolation: instance, max: 1}
  short: {image: %[1]s, timeout: 500ms}
  init: {image: %[1]s, args: [init]}
  many: {image: %[1]s, isolation: instance, concurrency: 2}
`, hostileLambda(t)))
	s.ready("rewound", "kept", "short", "init")
	wrong := strings.Join([]string{
		`400 {"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}`,
		`400 {"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}`,
		`403 {"errorMessage":"it was answered, or not asked for","errorType":"InvalidStateTransition"}`,
		"404 404 page not found\n", "404 404 page not found\n",
	}, "\n")
	for _, test := range []struct {
		event  string
		status int
		want   string // the beginning
	}{
		{"hello", 200, "hello"},
		{"exit", 502, "the program has ended with code 4 in place of answering\n"},
		{"panic", 502, "the program has ended with code 2 in place of answering\n"},
		{"error", 500, `{"errorMessage":"no good","errorType":"Test"}`},
		{"wrong", 200, wrong},
		{"twice", 200, "first"},
		{"long", 500, `{"errorMessage":"a response has 6291456 bytes at the most","errorType":"Function.ResponseSizeTooLarge"}`},
		{"break", 500, `{"errorMessage":"the body breaks off","errorType":"Runtime.TruncatedResponse"}`},
		{"garbage", 200, "garbage was sent"},
		{"stream", 200, "one two three"},
		{"stream Test.Broken", 500, `{"errorMessage":"the response broke off","errorType":"Test.Broken"}`},
		{"many", 200, "many"},
		{"late", 200, "late"},
		{"hello again", 200, "hello again"},
	} {
		for _, name := range []string{"rewound", "kept"} {
			if status, got := s.post(name, test.event); status != test.status || !strings.HasPrefix(got, test.want) {
				t.Errorf("%s: %s: got %d, %.300q", name, test.event, status, got)
			}
		}
	}
	for _, event := range []string{"spin", "next"} {
		if status, got := s.post("short", event); status != 504 || got != "time-out: no response after 500ms\n" {
			t.Errorf("%s: got %d, %q", event, status, got)
		}
	}
	if status, failed, got := s.invokeAPI("short", "", "spin"); status != 200 || failed != "Unhandled" || !strings.Contains(got, "Task timed out after 0.50 seconds") {
		t.Errorf("got %d, %s, %s", status, failed, got)
	}
	if status, failed, got := s.invokeAPI("rewound", "", "exit"); status != 200 || failed != "Unhandled" || !strings.Contains(got, `"errorType":"Runtime.ExitError"`) {
		t.Errorf("got %d, %s, %s", status, failed, got)
	}
	if status, got := s.post("init", "x"); status != 500 || got != `{"errorMessage":"cannot begin","errorType":"Test.Init"}` {
		t.Errorf("init: got %d, %s", status, got)
	}
	s.await("many is refused", func() bool { return s.status("many").Trouble != "" })
	if got := s.status("many").Trouble; got != "concurrency: a program of contract lambda has one invocation at a time" {
		t.Errorf("got %s", got)
	}
	for i, want := range []string{"[a]", "[a a]"} {
		if status, got := s.post("rewound", "remember a"); status != 200 || got != "[a]" {
			t.Errorf("got %d, %s", status, got)
		}
		if status, got := s.post("kept", "remember a"); status != 200 || got != want {
			t.Errorf("%d: got %d, %s", i, status, got)
		}
	}
	long := bytes.Repeat([]byte("x"), 6<<20)
	if status, got := s.post("kept", string(long)); status != 200 || got != string(long) {
		t.Errorf("got %d, %d bytes", status, len(got))
	}
	s.end(sigterm)
	s.nothingLeft()
}

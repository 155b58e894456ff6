package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readRound plays what go test -json wrote for a small package, recorded in
// testdata/events.
func readRound(t *testing.T, name string) *round {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "events", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRound()
	eachLine(bytes.NewReader(text), r.line)
	return r
}

// statuses is the top-level tests of a round, one word each; ? has not ended,
// and waits where it is in brackets.
func (r *round) statuses() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(r.tests)) {
		test := r.tests[name]
		s := string(test.status)
		switch {
		case !isTop(name):
			continue
		case s == "" && test.paused:
			s = "(?)"
		case s == "":
			s = "?"
		}
		list = append(list, name+"="+s)
	}
	return strings.Join(list, " ")
}

func TestRounds(t *testing.T) {
	const before = "TestA=pass TestB=fail "
	for _, c := range []struct {
		events   string
		tests    string
		down     bool
		suspects string
		line     string // that tells why it went down
	}{
		{"ends", "ExampleBad=fail ExampleFoo=pass FuzzX=pass " + before + "TestMode=pass TestPar=pass TestZ=skip", false, "[]", ""},
		{"panic", before + "TestMode=fail TestPar=? TestZ=skip", true, "[]", "panic: boom [recovered, repanicked]"},
		{"subpanic", before + "TestMode=fail TestPar=(?) TestZ=skip", true, "[]", "panic: sub boom [recovered, repanicked]"},
		{"panic-elsewhere", before + "TestMode=? TestPar=? TestZ=skip", true, "[TestMode TestPar]", "panic: boom in goroutine"},
		{"exit", before + "TestMode=? TestPar=? TestZ=skip", true, "[TestMode TestPar]", "FAIL	ev	0.003s"},
		{"hang", before + "TestMode=? TestPar=pass TestZ=skip", true, "[TestMode]", "panic: test timed out after 4s"},
		{"kill", before + "TestMode=? TestPar=? TestZ=skip", true, "[TestMode TestPar]", "signal: killed"},
		{"leak", "ExampleFoo=pass FuzzX=pass TestA=pass TestMode=pass TestZ=skip", false, "[]", ""},
		{"build", "", false, "[]", ""},
	} {
		r := readRound(t, c.events)
		if got := r.statuses(); got != c.tests {
			t.Errorf("%s: got %s, want %s", c.events, got, c.tests)
		}
		if got := r.down(); got != c.down {
			t.Errorf("%s: down: got %v, want %v", c.events, got, c.down)
		}
		if got := fmt.Sprint(r.suspects()); r.down() && got != c.suspects {
			t.Errorf("%s: suspects: got %s, want %s", c.events, got, c.suspects)
		}
		if got := telling(r.tail.text, r.loose.text); c.down && got != c.line {
			t.Errorf("%s: line: got %q, want %q", c.events, got, c.line)
		}
	}
}

// An example panics after it is said to have failed.
func TestSettle(t *testing.T) {
	r := newRound()
	for _, e := range []event{
		{Action: "run", Test: "TestA"},
		{Action: "output", Test: "TestA", Output: "--- FAIL: TestA (0.00s)\n"},
		{Action: "fail", Test: "TestA"},
		{Action: "run", Test: "ExampleB"},
		{Action: "output", Test: "ExampleB", Output: "--- FAIL: ExampleB (0.00s)\n"},
		{Action: "fail", Test: "ExampleB"},
		{Action: "output", Output: "panic: boom\n"},
	} {
		r.event(e)
	}
	r.settle()
	if a, b := r.tests["TestA"].output.text, r.tests["ExampleB"].output.text; a != "" || b != "panic: boom\n" {
		t.Errorf("got %q and %q", a, b)
	}
	if s := r.suspects(); s != nil {
		t.Errorf("suspects: got %v", s)
	}
}

func TestBrokenAtEnd(t *testing.T) {
	for name, want := range map[string]string{
		"ends":  "",
		"leak":  "fails although no test does: leak!",
		"build": "is not built: ./a_test.go:3:30: undefined: t",
	} {
		r, res := readRound(t, name), newResult()
		res.absorb(r, false)
		if got := brokenAtEnd(res, r); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestNoise(t *testing.T) {
	r := newRound()
	eachLine(strings.NewReader("pvrun: run p.test: guest fault\n{not json\n{\"x\":1}\nlast"), r.line)
	if want := "pvrun: run p.test: guest fault\n{not json\n{\"x\":1}\nlast\n"; r.loose.text != want {
		t.Errorf("got %q, want %q", r.loose.text, want)
	}
	if !r.down() {
		t.Error("a run without events did not go down")
	}
}

func TestClipped(t *testing.T) {
	c := clipped{most: 5}
	c.add("abc")
	c.add("defg")
	c.add("h")
	if c.text != "abcde" {
		t.Errorf("got %q", c.text)
	}
}

package main

import (
	"encoding/json"
	"regexp"
	"strings"
)

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

// Sizes of kept output: of one test, and of the end of a binary that went down.
const (
	keepOutput = 16 << 10
	keepTail   = 32 << 10
)

// testRun is what a round saw of one test.
type testRun struct {
	status  status
	paused  bool // waits for its turn among the parallel tests
	seconds float64
	output  clipped
}

// round is one run of a test binary, as its events tell it.
type round struct {
	tests   map[string]*testRun
	passed  bool    // go test's verdict on the package
	ended   bool    // the binary came to its end and said PASS or FAIL
	seconds float64 // of the binary
	build   clipped // what the compiler said, when it failed
	tail    clipped // what came after the last test had begun or ended
	failed  string  // the test that ended last, when it failed
	loose   clipped // what is of no test, and what is no event
}

func newRound() *round { return &round{tests: map[string]*testRun{}} }

// line takes a line of go test's output.
func (r *round) line(text []byte) {
	var e event
	if json.Unmarshal(text, &e) != nil || e.Action == "" {
		r.loose.add(strings.TrimRight(string(text), "\n") + "\n")
		return
	}
	r.event(e)
}

func (r *round) event(e event) {
	switch e.Action {
	case "build-output":
		r.build.add(e.Output)
	case "output":
		r.output(e)
	case "run", "pause", "cont":
		r.tail.reset(keepTail)
		r.failed = ""
		r.test(e.Test).paused = e.Action == "pause"
	case "pass", "fail", "skip":
		r.end(e)
	}
}

// test is the run of a test; it begins when it is first heard of.
func (r *round) test(name string) *testRun {
	t := r.tests[name]
	if t == nil {
		t = &testRun{output: clipped{most: keepOutput}}
		r.tests[name] = t
	}
	return t
}

func (r *round) end(e event) {
	if e.Test == "" {
		r.passed, r.seconds = e.Action == "pass", e.Elapsed
		return
	}
	t := r.test(e.Test)
	t.status, t.seconds = status(e.Action), e.Elapsed
}

// frame matches the lines with which package testing says what runs.
var frame = regexp.MustCompile(`^\s*(=== (RUN|PAUSE|CONT|NAME|ATTR|ARTIFACTS)\s|--- (PASS|FAIL|SKIP|BENCH): )`)

func (r *round) output(e event) {
	switch {
	case frame.MatchString(e.Output):
		r.tail.reset(keepTail)
		r.failed = ""
		if strings.HasPrefix(e.Output, "--- FAIL: ") {
			r.failed = e.Test
		}
		return
	case e.Test == "" && (e.Output == "PASS\n" || e.Output == "FAIL\n"):
		r.ended = true
		return
	case e.Test == "":
		r.loose.add(e.Output)
	default:
		r.test(e.Test).output.add(e.Output)
	}
	r.tail.add(e.Output)
}

// settle gives the test that failed last what the binary said when it then went
// down: the panic of an example comes after the example's end.
func (r *round) settle() {
	t := r.tests[r.failed]
	if t != nil && r.down() && crash.MatchString(r.tail.text) && !strings.Contains(t.output.text, r.tail.text) {
		t.output.add(r.tail.text)
	}
}

// down reports whether the binary went down before its end. One that was never
// built did not.
func (r *round) down() bool { return !r.passed && !r.ended && r.build.text == "" }

// clipped is text of which only the beginning is kept.
type clipped struct {
	text string
	most int // 0: keepTail
}

func (c *clipped) add(s string) {
	if c.most == 0 {
		c.most = keepTail
	}
	c.text += s[:min(len(s), max(0, c.most-len(c.text)))]
}

func (c *clipped) reset(most int) { *c = clipped{most: most} }

// top is the test that a subtest belongs to.
func top(name string) string {
	name, _, _ = strings.Cut(name, "/")
	return name
}

func isTop(name string) bool { return !strings.Contains(name, "/") }

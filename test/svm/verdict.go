package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pvrun/pvrun/test/svm/plan"
)

// verdict reads what the machine says and finds what is wrong with it. A test that was
// to run and of which nothing is heard has failed.
type verdict struct {
	out    io.Writer // for people
	all    io.Writer // for everything that the tests say
	expect []expected
	now    *expected
	done   bool
	bad    int
}

// expected is a suite and what has become of it.
type expected struct {
	suite
	tests   []string          // names that have to pass
	results map[string]string // PASS, FAIL or SKIP, of tests and of parts of tests
	said    map[string][]string
	current string // the test that speaks
	lines   []string
	ended   bool
}

// marked is a line that package testing wrote itself, after the mark that
// -test.v=test2json has it set in front.
var marked = regexp.MustCompile("^(.*?)\x16(?:=== (RUN|NAME|CONT|PAUSE)\\s+(\\S*)|\\s*--- (PASS|FAIL|SKIP): (\\S+))")

// line takes a line of the machine's.
func (v *verdict) line(s string) {
	s = strings.TrimRight(s, "\r\n")
	kind, rest, _ := strings.Cut(s, " ")
	switch {
	case strings.HasPrefix(s, plan.Output) && v.now != nil:
		v.now.line(strings.TrimPrefix(s, plan.Output))
		fmt.Fprintln(v.all, strings.ReplaceAll(s[len(plan.Output):], "\x16", ""))
	case kind == plan.Begin:
		v.now = nil
		if i := slices.IndexFunc(v.expect, func(e expected) bool { return e.dir == rest }); i >= 0 {
			v.now = &v.expect[i]
			v.now.results, v.now.said = map[string]string{}, map[string][]string{}
		}
	case kind == plan.End && v.now != nil:
		v.end(strings.Fields(rest))
	case kind == plan.Done:
		v.done = true
	default:
		v.wrong("the machine says: %s", s)
	}
}

func (e *expected) line(s string) {
	m := marked.FindStringSubmatch(s)
	if m == nil || m[1] != "" {
		text := s
		if m != nil {
			text = m[1]
		}
		e.said[e.current] = append(e.said[e.current], text)
		e.lines = append(e.lines, text)
	}
	switch {
	case m == nil:
	case m[2] != "":
		e.current = m[3]
	default:
		e.results[m[5]] = m[4]
		e.current = m[5] // why it skips follows
	}
}

// end judges a suite: fields are its name, its seconds and its state.
func (v *verdict) end(fields []string) {
	e, before := v.now, v.bad
	v.now = nil
	if len(fields) < 3 {
		v.wrong("%s: no end", e.dir)
		return
	}
	e.ended = true
	for _, name := range slices.Sorted(maps.Keys(e.results)) {
		v.result(e, name)
	}
	missing := slices.DeleteFunc(slices.Clone(e.tests), func(name string) bool { return e.results[name] != "" })
	if len(missing) > 0 {
		v.wrong("%s: no result of %s", e.dir, strings.Join(missing, ", "))
	}
	if state := strings.Join(fields[2:], " "); state != "ok" {
		v.wrong("%s: %s", e.dir, state)
		if v.bad == before+1+min(1, len(missing)) { // no test says why
			v.quote(e.lines, 60)
		}
	}
	skipped := 0
	for _, r := range e.results {
		if r == "SKIP" {
			skipped++
		}
	}
	fmt.Fprintf(v.out, "%-12s %4d tests and parts, %d skipped, %s s: %s\n", e.dir, len(e.results), skipped, fields[1],
		map[bool]string{true: "ok", false: "FAILED"}[v.bad == before])
}

func (v *verdict) result(e *expected, name string) {
	switch e.results[name] {
	case "FAIL":
		if e.hasFailedPart(name) && len(e.said[name]) == 0 {
			return // the part is reported
		}
		v.wrong("%s: %s failed", e.dir, name)
		v.quote(e.said[name], 40)
	case "SKIP":
		if _, ok := e.skips[name]; !ok {
			v.wrong("%s: %s skips", e.dir, name)
			v.quote(e.said[name], 10)
		}
	}
}

func (e *expected) hasFailedPart(name string) bool {
	for part, r := range e.results {
		if r == "FAIL" && strings.HasPrefix(part, name+"/") {
			return true
		}
	}
	return false
}

// finish says what the machine has not come to, and whether all is well.
func (v *verdict) finish(machine error, complaint string) bool {
	if machine != nil {
		v.wrong("%v", machine)
	}
	if complaint != "" {
		v.wrong("the machine's kernel says: %s", complaint)
	}
	for _, e := range v.expect {
		switch {
		case e.ended:
		case e.results == nil:
			v.wrong("%s: not begun", e.dir)
		default:
			v.wrong("%s: not ended; the last test was %s", e.dir, e.current)
			v.quote(e.lines, 40)
		}
	}
	if !v.done {
		v.wrong("the machine ended before its work was done")
	}
	return v.bad == 0
}

func (v *verdict) wrong(format string, args ...any) {
	v.bad++
	fmt.Fprintf(v.out, "FAIL: "+format+"\n", args...)
}

// quote shows the last of some lines.
func (v *verdict) quote(lines []string, most int) {
	for _, line := range lines[max(0, len(lines)-most):] {
		fmt.Fprintf(v.out, "    %s\n", line)
	}
}

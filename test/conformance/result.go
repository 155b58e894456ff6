package main

import (
	"maps"
	"slices"
)

// status is how a test ended.
type status string

const (
	pass status = "pass"
	fail status = "fail"
	skip status = "skip"
	// down: the binary went down and the test brought it down.
	down status = "down"
)

// result is what is stored of a unit for one side.
type result struct {
	// Key is all that the result depends on.
	Key string
	// Wall is the time in seconds with all building, Seconds that of the tests.
	Wall, Seconds float64
	// Rounds is how often the binary was run, which is more than once when
	// it went down.
	Rounds int
	// Passed are the names of tests and subtests that passed; those of tests
	// whose time counts have it in Times, in seconds.
	Passed []string
	Times  map[string]float64 `json:",omitempty"`
	// Other are the tests that did not pass.
	Other map[string]verdict `json:",omitempty"`
	// Broken says what is wrong apart from the tests: the binary is not built,
	// goes down before or after them, or fails although none of them does.
	Broken string `json:",omitempty"`
}

// verdict is how a test that did not pass ended.
type verdict struct {
	Status status
	Output string `json:",omitempty"`
	// Alone: it was judged in a run of its own.
	Alone bool `json:",omitempty"`
}

// slow is the time in seconds from which a test's time is stored.
const slow = 0.1

func newResult() *result {
	return &result{Times: map[string]float64{}, Other: map[string]verdict{}}
}

// done are the top-level tests that have a verdict.
func (r *result) done() []string {
	names := slices.Collect(maps.Keys(r.Other))
	names = slices.DeleteFunc(append(names, r.Passed...), func(n string) bool { return !isTop(n) })
	slices.Sort(names)
	return slices.Compact(names)
}

// absorb takes what a round says for certain: the tests that ended, and their
// subtests.
func (r *result) absorb(round *round, alone bool) {
	r.Rounds++
	r.Seconds += round.seconds
	for name, t := range round.tests {
		parent := round.tests[top(name)]
		if t.status == "" || parent == nil || parent.status == "" {
			continue
		}
		if isTop(name) && t.seconds >= slow {
			r.Times[name] = t.seconds
		}
		if t.status == pass {
			r.Passed = append(r.Passed, name)
			continue
		}
		r.Other[name] = verdict{t.status, t.output.text, alone}
	}
	slices.Sort(r.Passed)
	r.Passed = slices.Compact(r.Passed)
}

// broughtDown gives a test that ended its binary its verdict.
func (r *result) broughtDown(name string, round *round, alone bool) {
	r.Other[name] = verdict{down, round.tail.text, alone}
}

// statuses are all tests and subtests.
func (r *result) statuses() map[string]status {
	m := map[string]status{}
	for _, name := range r.Passed {
		m[name] = pass
	}
	for name, v := range r.Other {
		m[name] = v.Status
	}
	return m
}

func (r *result) failed() bool {
	for _, v := range r.Other {
		if v.Status == fail || v.Status == down {
			return true
		}
	}
	return false
}

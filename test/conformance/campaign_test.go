package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fake is a test binary in which tests run in order; those whose name begins
// with Par run together at the end.
type fake struct {
	tests []string // name or name:behaviour
	calls []string
}

// attempt behaves as the names say: ok, fail, skip, panic (which fails first),
// crash (which says nothing of the test).
func (f *fake) attempt(_ context.Context, c choice) (*round, error) {
	f.calls = append(f.calls, strings.TrimSpace(c.run+" -"+strings.Join(c.skip, ",")))
	if len(f.calls) > 50 {
		return nil, errors.New("no end")
	}
	r := newRound()
	var parallel []string
	for _, t := range f.tests {
		name, how, _ := strings.Cut(t, ":")
		if c.run != "" && name != c.run || slices.Contains(c.skip, name) {
			continue
		}
		r.event(event{Action: "run", Test: name})
		if strings.HasPrefix(name, "Par") {
			r.event(event{Action: "pause", Test: name})
			parallel = append(parallel, t)
			continue
		}
		if !play(r, name, how) {
			return r, nil
		}
	}
	for _, t := range parallel {
		name, _, _ := strings.Cut(t, ":")
		r.event(event{Action: "cont", Test: name})
	}
	for _, t := range parallel {
		if name, how, _ := strings.Cut(t, ":"); !play(r, name, how) {
			return r, nil
		}
	}
	r.event(event{Action: "output", Output: "PASS\n"})
	r.passed = !slices.ContainsFunc(f.tests, func(t string) bool { return strings.HasSuffix(t, ":fail") })
	return r, nil
}

// play reports whether the binary goes on.
func play(r *round, name, how string) bool {
	switch how {
	case "crash":
		r.event(event{Action: "output", Test: name, Output: "pvrun: fault in " + name + "\n"})
		return false
	case "panic":
		r.event(event{Action: "output", Test: name, Output: "panic: " + name + "\n"})
		r.event(event{Action: "fail", Test: name})
		return false
	case "":
		how = "pass"
	}
	r.event(event{Action: how, Test: name})
	return true
}

func TestCampaign(t *testing.T) {
	for _, c := range []struct {
		name, tests, passed, other, broken string
		calls                              int
	}{
		{"all pass", "A B", "A B", "", "", 1},
		{"some fail", "A:fail B C:skip", "B", "A:fail C:skip", "", 1},
		{"a crash", "A B:crash C", "A C", "B:down", "", 2},
		{"two crashes", "A:crash B C:crash D", "B D", "A:down C:down", "", 3},
		{"a panic", "A B:panic C", "A C", "B:fail", "", 2},
		{"a crash among parallel tests", "A ParB:crash ParC ParD", "A ParC ParD", "ParB:down", "", 5},
		{"a panic among parallel tests", "A ParB:panic ParC ParD", "A ParC ParD", "ParB:fail", "", 2},
		{"only crashes", "A:crash B:crash", "", "A:down B:down", "", 3},
	} {
		f := &fake{tests: strings.Fields(c.tests)}
		res, err := (&campaign{attempt: f.attempt, most: 20}).run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var other []string
		for _, name := range res.done() {
			if v, ok := res.Other[name]; ok {
				other = append(other, name+":"+string(v.Status))
			}
		}
		got := fmt.Sprintf("%s / %s / %s / %d", strings.Join(res.Passed, " "), strings.Join(other, " "), res.Broken, len(f.calls))
		if want := fmt.Sprintf("%s / %s / %s / %d", c.passed, c.other, c.broken, c.calls); got != want {
			t.Errorf("%s: got %s, want %s; calls %q", c.name, got, want, f.calls)
		}
		if res.Rounds != len(f.calls) {
			t.Errorf("%s: got %d rounds, want %d", c.name, res.Rounds, len(f.calls))
		}
	}
}

func TestCampaignKeepsWhatItSaw(t *testing.T) {
	f := &fake{tests: []string{"A:crash", "B"}}
	res, err := (&campaign{attempt: f.attempt, most: 20}).run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := res.Other["A"].Output, "pvrun: fault in A\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A binary that goes down outside its tests, or too often, ends the campaign.
func TestCampaignEnds(t *testing.T) {
	dead := func(context.Context, choice) (*round, error) {
		r := newRound()
		r.line([]byte("fatal error: at once\n"))
		return r, nil
	}
	res, err := (&campaign{attempt: dead, most: 20}).run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "goes down outside its tests: fatal error: at once"; res.Broken != want {
		t.Errorf("got %q, want %q", res.Broken, want)
	}
	f := &fake{tests: strings.Fields("A:crash B:crash C:crash D:crash")}
	if res, err = (&campaign{attempt: f.attempt, most: 3}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "given up after 3 rounds: pvrun: fault in C"; res.Broken != want {
		t.Errorf("got %q, want %q", res.Broken, want)
	}
}

// A test that goes down only together with others keeps what it gets alone.
func TestCampaignAlone(t *testing.T) {
	attempt := func(_ context.Context, c choice) (*round, error) {
		r := newRound()
		for _, name := range []string{"A", "B"} {
			if c.run == "" && !slices.Contains(c.skip, name) || c.run == name {
				r.event(event{Action: "run", Test: name})
			}
		}
		if len(r.tests) < 2 {
			for name := range r.tests {
				r.event(event{Action: "pass", Test: name})
			}
			r.ended, r.passed = true, true
		}
		return r, nil
	}
	res, err := (&campaign{attempt: attempt, most: 20}).run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(res.Passed, " "); got != "A B" || res.Rounds != 4 {
		t.Errorf("got %q after %d rounds, want A B after 4", got, res.Rounds)
	}
}

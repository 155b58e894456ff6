package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// choice says which tests of a package a round runs. Empty: all.
type choice struct {
	run  string   // only this one
	skip []string // all but these
}

// campaign runs a package's tests so that each gets its own verdict. A test
// that brings the binary down hides those after it, so the binary is then run
// again without it and without those that are done.
type campaign struct {
	// attempt makes a round.
	attempt func(ctx context.Context, c choice) (*round, error)
	// most is how many rounds a package gets.
	most int
	// skip are tests that are not run.
	skip []string
}

func (c *campaign) run(ctx context.Context) (*result, error) {
	res := newResult()
	for {
		done := res.done()
		r, err := c.attempt(ctx, choice{skip: slices.Concat(c.skip, done)})
		if err != nil {
			return nil, err
		}
		r.settle()
		res.absorb(r, false)
		if !r.down() {
			res.Broken = brokenAtEnd(res, r)
			return res, nil
		}
		if err := c.blame(ctx, res, r); err != nil {
			return nil, err
		}
		switch {
		case len(res.done()) == len(done):
			res.Broken = "goes down outside its tests: " + telling(r.tail.text, r.loose.text)
			return res, nil
		case res.Rounds >= c.most:
			res.Broken = fmt.Sprintf("given up after %d rounds: %s", res.Rounds, telling(r.tail.text, r.loose.text))
			return res, nil
		}
	}
}

// brokenAtEnd says what is wrong with a binary that was not built, or that came
// to its end and still failed.
func brokenAtEnd(res *result, r *round) string {
	switch {
	case r.passed:
		return ""
	case r.build.text != "":
		return "is not built: " + firstLine(withoutComments(r.build.text))
	case !res.failed():
		return "fails although no test does: " + telling(r.tail.text, r.loose.text)
	}
	return ""
}

// withoutComments leaves out the lines in which the go command names packages.
func withoutComments(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "# ") }), "\n")
}

// blame finds the tests that brought a round down. One that ran alone did it.
// Of several, each is run by itself, and keeps the verdict it gets there.
func (c *campaign) blame(ctx context.Context, res *result, r *round) error {
	suspects := r.suspects()
	if len(suspects) == 1 {
		res.broughtDown(suspects[0], r, false)
		return nil
	}
	for _, name := range suspects {
		if res.Rounds >= c.most {
			return nil
		}
		alone, err := c.attempt(ctx, choice{run: name})
		if err != nil {
			return err
		}
		alone.settle()
		res.absorb(alone, true)
		if alone.down() && (alone.tests[name] == nil || alone.tests[name].status == "") {
			res.broughtDown(name, alone, true)
		}
	}
	return nil
}

// suspects are the top-level tests that were running when the round ended;
// none when a test is already known to have failed by a panic of its own.
func (r *round) suspects() []string {
	var names []string
	for name, t := range r.tests {
		switch {
		case t.status == fail && strings.Contains("\n"+t.output.text, "\npanic: "):
			return nil
		case isTop(name) && t.status == "" && !t.paused:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

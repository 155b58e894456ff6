package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// buildTime is what a round may take beyond the time of its tests.
const buildTime = 5 * time.Minute

// ways is how a package's tests are run otherwise than others'.
type ways struct {
	env  []string // more of it
	skip []string // tests that are not run
}

// testUnit is the unit of a package's tests, run by go test in dir.
func (l *lab) testUnit(section, group, pkg, dir, inputs string, w ways) unit {
	u := unit{section: section, name: pkg, group: group, pkg: pkg, inputs: inputs}
	u.run = func(ctx context.Context, s side, b budget) (*result, error) {
		c := campaign{most: l.rounds, skip: w.skip}
		c.attempt = func(ctx context.Context, ch choice) (*round, error) {
			limit := b.limit(ch)
			return attempt(ctx, command{dir: dir, env: append(l.environment(s), w.env...), args: l.testArgs(s, pkg, ch, limit), limit: limit + buildTime, quiet: b.quiet()})
		}
		return c.run(ctx)
	}
	return u
}

// testArgs is the command line for a round.
func (l *lab) testArgs(s side, pkg string, c choice, limit time.Duration) []string {
	args := []string{"go", "test"}
	if s == here {
		args = slices.Concat([]string{l.pvrun, "test"}, l.vm)
	}
	args = append(args, "-json", "-count=1", "-vet=off", fmt.Sprintf("-timeout=%v", limit))
	args = append(args, l.flags...)
	switch {
	case c.run != "":
		args = append(args, "-run=^("+c.run+")$")
	case len(c.skip) > 0:
		args = append(args, "-skip=^("+strings.Join(c.skip, "|")+")$")
	}
	return append(args, pkg)
}

// attempt runs a test binary once.
func attempt(ctx context.Context, c command) (*round, error) {
	r := newRound()
	end, err := c.run(ctx, r.line)
	if err != nil {
		return nil, err
	}
	if end.expired {
		r.tail.text = end.stderr + r.tail.text
	}
	r.tail.add(end.stderr)
	r.loose.add(end.stderr)
	if end.code != 0 {
		r.passed = false
	}
	return r, nil
}

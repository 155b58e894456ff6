package main

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pvrun/pvrun/test/svm/plan"
)

// suite is the tests of a package and what they need to have been built.
type suite struct {
	dir      string
	images   []string // folders of programs
	programs []string // the same, to run natively
	short    string   // the tests of a short run, a pattern; "" for all
	// Tests that are left out, and why.
	without map[string]string
	// Tests, or parts of tests, that may say that they skip, and why.
	skips map[string]string
}

const noGo = "runs the go command"

var suites = []suite{
	{dir: "hv/kvm"},
	{dir: "hv", images: []string{
		"test/function/web", "test/function/recall", "test/bench/work", "test/e2e/programs/rest", "images/blk",
	}},
	{dir: "test/guests", images: []string{"test/guests/prog"}},
}

// selected is the names of those tests that are to run.
func (s suite) selected(names []string, pattern string) ([]string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, out := s.without[name]
		return out || !re.MatchString(name)
	}), nil
}

// planned is how the machine runs tests of a suite.
func (s suite) planned(tests []string) plan.Suite {
	dir := path.Join(sources, s.dir)
	return plan.Suite{
		Name: s.dir,
		Dir:  dir,
		Args: []string{
			path.Join(dir, "built", path.Base(s.dir)+".test"),
			"-test.v=test2json", "-test.timeout=20m", "-test.run=^(" + strings.Join(tests, "|") + ")$",
		},
		Env: []string{"PVRUN_KVM=must", "PVRUN_BUILT=yes"},
	}
}

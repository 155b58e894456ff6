package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"path"
	"strings"
)

// exclusion is a line of exclusions.txt: a test that is known not to pass, and
// why.
type exclusion struct {
	pkg, test string // test may be a pattern of path.Match
	capability
	note string
}

//go:embed exclusions.txt
var exclusionsText string

// parseExclusions reads PACKAGE TEST CAPABILITY NOTE, a line each.
func parseExclusions(text string) (list []exclusion, err error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		e, err := parseExclusion(line)
		if err != nil {
			return nil, fmt.Errorf("exclusions.txt:%d: %w", n, err)
		}
		list = append(list, e)
	}
	return list, lines.Err()
}

func parseExclusion(line string) (exclusion, error) {
	f := strings.Fields(line)
	if len(f) < 4 {
		return exclusion{}, fmt.Errorf("%q: want PACKAGE TEST CAPABILITY NOTE", line)
	}
	e := exclusion{f[0], f[1], capability(f[2]), strings.Join(f[3:], " ")}
	if capabilities[e.capability] == "" {
		return e, fmt.Errorf("%s is none of the capabilities in classify.go", f[2])
	}
	if _, err := path.Match(e.test, ""); err != nil {
		return e, fmt.Errorf("%s: %w", f[1], err)
	}
	return e, nil
}

func (e exclusion) matches(pkg, test string) bool {
	ok, _ := path.Match(e.test, test)
	return ok && e.pkg == pkg
}

// known are the exclusions, and which of them have been of use.
type known struct {
	list []exclusion
	used []bool
	seen map[string]bool // packages that were compared
}

func newKnown(list []exclusion) *known {
	return &known{list, make([]bool, len(list)), map[string]bool{}}
}

// find is the exclusion of a test that did not pass.
func (k *known) find(pkg, test string) (exclusion, bool) {
	found := -1
	for i, e := range k.list {
		if e.matches(pkg, test) {
			k.used[i] = true
			if found < 0 {
				found = i
			}
		}
	}
	if found < 0 {
		return exclusion{}, false
	}
	return k.list[found], true
}

// stale are exclusions of packages that were compared and of which no test
// needed them.
func (k *known) stale() (list []exclusion) {
	for i, e := range k.list {
		if k.seen[e.pkg] && !k.used[i] {
			list = append(list, e)
		}
	}
	return list
}

package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	// derived matches the Go tree that images are built with.
	derived = regexp.MustCompile(`/[^\s:]*/pvrun/goroot/go[^/\s]+`)
	address = regexp.MustCompile(`\b0x[0-9a-f]{5,}\b`)
	// private matches network addresses that only mean something locally.
	private = regexp.MustCompile(`\b(10|192\.168|172\.\d\d)(\.\d+){2,3}\b`)
)

// page is a Markdown document being written.
type page struct{ strings.Builder }

func (p *page) f(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) line(cells ...string) { p.f("| %s |", strings.Join(cells, " | ")) }

// render is the document.
func (r *report) render() string {
	var p page
	p.f("# Conformance\n")
	p.f("Other people's tests, in a machine of pvrun and natively. `make conformance` wrote this\npage; nobody edits it. %s.\n", r.about)
	if r.standin {
		p.f("**NOT MEASURED WITH PVRUN: go test stood in for it, to try the program that writes this.**\n")
	}
	p.f("%s\n", strings.Join(r.answers(), "\n"))
	r.sums(&p)
	p.WriteString(howToRead)
	for i := range r.sections {
		r.sections[i].table(&p)
	}
	r.gaps(&p)
	r.rest(&p)
	return strings.TrimRight(p.String(), "\n") + "\n"
}

const howToRead = `## What counts

A test is a top-level test, an example, or a fuzz target with its seeds, as ` + "`go test -json`" + `
reports them; a program of $GOROOT/test is one test, which passes when it exits with 0
and writes what its .out file says, or nothing. Only what passes natively counts. Skipped
is not passed: a test counts as skipped here also when one of its subtests is skipped
here and passes natively. Subtests are counted apart. A test that brings its test binary
down counts as failed, and the binary is run again without it, so that those after it get
their own verdict. A machine has sockets, and the network of its own that they make with
one another. Times are those of the test binaries in seconds. The time-out here is four
times the native time and three minutes.

`

// sums is a line for each table, and a count of the gaps by capability.
func (r *report) sums(p *page) {
	p.line("", "packages", "complete", "but for exec", "tests natively", "passed here", "", "subtests natively", "passed here")
	p.line("---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, s := range r.sections {
		t := s.sum()
		p.line(s.title, num(t.units), num(t.complete), num(t.completeButExec), num(t.native), num(t.passed),
			percent(t.passed, t.native), num(t.nativeSubs), num(t.subs))
	}
	p.f("")
	n := map[capability]int{}
	for _, g := range r.allGaps() {
		n[g.capability] += g.tests
	}
	if len(n) == 0 {
		return
	}
	p.line("what is missing", "tests", "")
	p.line("---", "--:", "---")
	byCount := func(a, b capability) int { return cmp.Or(n[b]-n[a], cmp.Compare(a, b)) }
	for _, c := range slices.SortedFunc(maps.Keys(n), byCount) {
		p.line(string(c), num(n[c]), capabilities[c])
	}
	p.f("")
}

func num(n int) string { return fmt.Sprint(n) }

func (r *report) allGaps() (list []gap) {
	for _, s := range r.sections {
		for _, c := range s.all {
			list = append(list, c.gaps...)
		}
	}
	return list
}

func (s *part) table(p *page) {
	if len(s.rows) == 0 {
		return
	}
	p.f("## %s\n", s.title)
	p.line(s.head, "passed here", "natively", "failed", "skipped", "time", "natively")
	p.line("---", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, r := range s.rows {
		p.line(r.cells()...)
	}
	sum := row{"**sum**", s.sum()}
	p.line(sum.cells()...)
	p.f("")
}

func (r *row) cells() []string {
	if r.units == 0 {
		return []string{r.name, "not run", "", "", "", "", ""}
	}
	name := r.name
	if r.notRun > 0 {
		name += fmt.Sprintf(" (%d not run)", r.notRun)
	}
	return []string{name, num(r.passed), num(r.native), num(r.failed), num(r.skipped),
		fmt.Sprintf("%.1f", r.seconds), fmt.Sprintf("%.1f", r.nativeSeconds)}
}

// gaps lists every test that passes natively and not here.
func (r *report) gaps(p *page) {
	p.f("## What passes natively and not here")
	last := ""
	for _, g := range r.allGaps() {
		if g.pkg != last {
			p.f("\n**%s**\n", g.pkg)
			p.line("test", "", "needs", "says")
			p.line("---", "---", "---", "---")
		}
		last = g.pkg
		p.line(g.name(), string(g.status), string(g.capability), g.says())
	}
	p.f("")
}

func (g *gap) name() string {
	name := code(g.test)
	switch {
	case g.test == wholePackage:
		name += fmt.Sprintf(", tests: %d", g.tests)
	case len(g.subtests) > 0:
		name += " " + code(strings.TrimPrefix(g.subtests[0], g.test))
	}
	if n := len(g.subtests) - 1; n > 0 {
		name += fmt.Sprintf(" and %d more", n)
	}
	return name
}

func (g *gap) says() string {
	s := code(g.line)
	if g.note != "" {
		s += " " + g.note
	}
	return s
}

// longest is how much of a line the document shows.
const longest = 200

// code is text as a cell of a table shows it.
func code(text string) string {
	runes := []rune(strings.TrimSpace(text))
	if len(runes) > longest {
		runes = append(runes[:longest], '…')
	}
	if len(runes) == 0 {
		return ""
	}
	text = strings.NewReplacer("`", "'", "|", `\|`, "\t", " ", "\r", "").Replace(string(runes))
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD' // git and grep take a page with zeros for no text
		}
		return r
	}, text)
	return "`" + text + "`"
}

// rest is what no sum has in it.
func (r *report) rest(p *page) {
	p.f("## What fails natively, and does not count\n")
	n := 0
	for _, s := range r.sections {
		for _, c := range s.all {
			for _, g := range c.failsNative {
				p.f("- %s %s: %s", g.pkg, code(g.test), code(g.line))
				n++
			}
		}
	}
	if n == 0 {
		p.f("Nothing.")
	}
	if len(r.stale) > 0 {
		p.f("\n## Lines of exclusions.txt that nothing needs\n")
	}
	for _, e := range r.stale {
		p.f("- %s %s %s", e.pkg, e.test, e.capability)
	}
	if len(r.notRun) > 0 {
		p.f("\n## Not run\n\n%d, of these %s", len(r.notRun), strings.Join(r.notRun[:min(20, len(r.notRun))], ", "))
	}
	if r.otherKey > 0 {
		p.f("\n%d results are of another build of pvrun, another Go or other flags.", r.otherKey)
	}
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// report is what the document says.
type report struct {
	about    string // what was measured
	standin  bool
	sections []part
	stale    []exclusion
	notRun   []string
	otherKey int // results of another build of pvrun or with other flags
}

// part is a table of the document with what belongs to it.
type part struct {
	title string
	head  string // of the first column
	rows  []row
	all   []comparison
}

// row is a line of a table.
type row struct {
	name string
	tally
}

func (p *part) sum() (t tally) {
	for _, r := range p.rows {
		t.add(r.tally)
	}
	return t
}

// report writes the document where it belongs, or beside the results while
// there are some missing.
func (o *options) report(l *lab, units []unit, list []exclusion, w io.Writer) error {
	r, err := o.collect(l, units, newKnown(list))
	if err != nil {
		return err
	}
	name := o.doc
	if o.standin || o.short || len(r.notRun) > 0 || r.otherKey > 0 {
		name = filepath.Join(o.out, "report.md")
	}
	text := l.scrub(r.render())
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s\n", strings.Join(r.answers(), "\n"))
	fmt.Fprintf(w, "The document is %s.\n", name)
	if name != o.doc && !o.standin {
		fmt.Fprintf(w, "It is not yet %s: %d results are missing, %d are of another build or other flags.\n", o.doc, len(r.notRun), r.otherKey)
	}
	return nil
}

// collect compares all that is stored.
func (o *options) collect(l *lab, units []unit, k *known) (*report, error) {
	r := &report{about: o.about(l), standin: o.standin}
	var all []comparison
	for _, u := range units {
		n, err := load(l.file(u, native))
		if err != nil {
			return nil, err
		}
		h, err := load(l.file(u, o.there()))
		if err != nil {
			return nil, err
		}
		c := compare(u, n, h, k)
		if c.notRun > 0 {
			r.notRun = append(r.notRun, u.section+" "+u.name)
		} else if n.Key != l.key(u, native) || h.Key != l.key(u, o.there()) {
			r.otherKey++
		}
		all = append(all, c)
	}
	r.sections = parts(all)
	r.stale = k.stale()
	return r, nil
}

func (o *options) about(l *lab) string {
	vm := "pvrun test " + strings.Join(l.vm, " ")
	if o.standin {
		vm = "go test"
	}
	flags := strings.Join(append([]string{"-count=1", "-vet=off"}, l.flags...), " ")
	return fmt.Sprintf("%s, CGO_ENABLED=0; `go test %s` natively, `%s %[2]s` here", l.version, flags, vm)
}

// parts sorts comparisons into the tables of the document.
func parts(all []comparison) []part {
	sections := []string{"std", "goroot", "modules"}
	titles := []part{
		{title: "Standard library", head: "package"},
		{title: "Programs of $GOROOT/test", head: "folder"},
		{title: "Modules", head: "module"},
	}
	for _, c := range all {
		titles[slices.Index(sections, c.section)].put(c)
	}
	return titles
}

func (p *part) put(c comparison) {
	p.all = append(p.all, c)
	i := slices.IndexFunc(p.rows, func(r row) bool { return r.name == c.group })
	if i < 0 {
		i = len(p.rows)
		p.rows = append(p.rows, row{name: c.group})
	}
	p.rows[i].add(c.tally)
}

// answers are the sentences that everything else is the proof of.
func (r *report) answers() []string {
	std := r.sections[0].sum()
	return []string{
		fmt.Sprintf("- In %d of %d packages of the standard library every test that passes natively passes here, tests that need exec apart; in %d without that exception.",
			std.completeButExec, std.units, std.complete),
		r.sections[0].answer("Of the tests of the standard library"),
		r.sections[1].answer("Of the programs of $GOROOT/test"),
		r.sections[2].answer("Of the tests of modules"),
	}
}

func (p *part) answer(of string) string {
	t := p.sum()
	return fmt.Sprintf("- %s that pass natively, %s pass here (%d of %d).", of, percent(t.passed, t.native), t.passed, t.native)
}

// percent never rounds up to a hundred.
func percent(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", float64(n*1000/of)/10)
}

// scrub takes what belongs to one machine out of the document.
func (l *lab) scrub(text string) string {
	home, _ := os.UserHomeDir()
	cwd, _ := os.Getwd()
	relative, _ := filepath.Rel(l.module(), l.goroot) // as the go command shortens names
	text = derived.ReplaceAllString(text, "$$GOROOT")
	for _, place := range [][2]string{{relative, "$GOROOT/"}, {l.goroot, "$GOROOT/"}, {l.out, ""}, {cwd, ""}, {home, "~/"}} {
		if len(place[0]) > 1 {
			text = strings.ReplaceAll(text, place[0]+"/", place[1])
		}
	}
	return private.ReplaceAllString(address.ReplaceAllString(text, "0x…"), "$1.…")
}

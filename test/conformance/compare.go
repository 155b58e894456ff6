package main

import (
	"cmp"
	"slices"
	"strings"
)

// gap is a test that passes natively and not here.
type gap struct {
	pkg, test string
	status    status
	tests     int // that it stands for; 0: none, the package fails by itself
	subtests  []string
	capability
	line, note string
}

// wholePackage is the test that a gap names when it is of no test.
const wholePackage = "(package)"

// comparison is a unit on both sides.
type comparison struct {
	unit
	tally
	gaps        []gap
	failsNative []gap // what does not count, since it fails natively
}

// compare tells what passes natively and not here. It counts top-level tests;
// one of which a subtest passes natively and is skipped here does not pass.
func compare(u unit, n, h *result, k *known) comparison {
	c := comparison{unit: u}
	if n == nil || h == nil {
		c.notRun = 1
		return c
	}
	k.seen[u.pkg] = true
	c.units, c.seconds, c.nativeSeconds, c.rounds = 1, h.Seconds, n.Seconds, h.Rounds
	p := pair{u, n, h, h.statuses(), n.statuses()}
	var missing int
	for _, name := range n.Passed {
		switch st, subs := p.standing(name); {
		case !isTop(name):
			c.nativeSubs++
			c.subs += count(st == pass)
		case st == pass:
			c.native, c.passed = c.native+1, c.passed+1
		case st == "" && h.Broken != "":
			c.native, c.failed = c.native+1, c.failed+1
			missing++
		default:
			c.native++
			c.failed += count(st != skip)
			c.skipped += count(st == skip)
			c.gaps = append(c.gaps, p.gap(name, st, subs, k))
		}
	}
	if h.Broken != "" && n.Broken == "" {
		c.gaps = append(c.gaps, whole(u, h.Broken, missing, k))
	}
	c.failsNative = p.nativeFailures()
	c.complete = count(len(c.gaps) == 0)
	c.completeButExec = count(!slices.ContainsFunc(c.gaps, func(g gap) bool { return g.capability != needsExec }))
	return c
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pair is both results of a unit.
type pair struct {
	unit
	native, here  *result
	hereAll, nats map[string]status
}

// standing is how a test that passes natively ends here, with the subtests
// that are to blame.
func (p *pair) standing(name string) (status, []string) {
	st := p.hereAll[name]
	if !isTop(name) {
		return st, nil
	}
	var skipped, failed []string
	for sub, v := range p.here.Other {
		switch {
		case !strings.HasPrefix(sub, name+"/"):
		case v.Status != skip:
			failed = append(failed, sub)
		case p.nats[sub] == pass:
			skipped = append(skipped, sub)
		}
	}
	switch {
	case st == pass && len(skipped) > 0:
		return skip, leaves(skipped)
	case st == pass || st == skip:
		return st, nil
	}
	return st, leaves(failed)
}

// leaves are the names that are no other's parent.
func leaves(names []string) (list []string) {
	slices.Sort(names)
	for _, name := range names {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, name+"/") }) {
			list = append(list, name)
		}
	}
	return list
}

// gap says why a test does not pass. Where subtests are to blame, it is the
// first one that does not say so for certain.
func (p *pair) gap(name string, st status, subs []string, k *known) gap {
	g := gap{pkg: p.pkg, test: name, status: st, tests: 1, subtests: subs}
	if st == "" {
		g.status, g.line = fail, "it did not run"
	}
	blamed := subs
	if len(blamed) == 0 {
		blamed = []string{name}
	}
	for i, sub := range blamed {
		line, c := explain(p.here.Other[sub].Status, p.output(sub))
		if i == 0 || c == unexplained {
			g.line, g.capability = cmp.Or(line, g.line), c
		}
		if c == unexplained {
			break
		}
	}
	return g.excluded(k)
}

// output is what a test or subtest says, and then what those above it say.
func (p *pair) output(name string) string {
	text := p.here.Other[name].Output
	for i := strings.LastIndexByte(name, '/'); i >= 0; i = strings.LastIndexByte(name, '/') {
		name = name[:i]
		text += p.here.Other[name].Output
	}
	return text
}

// excluded looks a gap up that nothing explains yet.
func (g gap) excluded(k *known) gap {
	if g.capability != unexplained {
		return g
	}
	if e, ok := k.find(g.pkg, g.test); ok {
		g.capability, g.note = e.capability, e.note
	}
	return g
}

// whole is the gap of a test binary that fails by itself, with the tests that
// did not run for that.
func whole(u unit, broken string, tests int, k *known) gap {
	line, c := explain(fail, broken)
	return gap{pkg: u.pkg, test: wholePackage, status: fail, tests: tests, capability: c, line: line}.excluded(k)
}

// nativeFailures are tests that fail natively, and are in no sum.
func (p *pair) nativeFailures() (list []gap) {
	for name, v := range p.native.Other {
		if isTop(name) && v.Status != skip {
			list = append(list, gap{pkg: p.pkg, test: name, line: telling(v.Output)})
		}
	}
	if p.native.Broken != "" {
		list = append(list, gap{pkg: p.pkg, test: wholePackage, line: p.native.Broken})
	}
	slices.SortFunc(list, func(a, b gap) int { return cmp.Compare(a.test, b.test) })
	return list
}

// tally sums up units.
type tally struct {
	units, notRun, rounds     int
	complete, completeButExec int // units of which everything passes
	native, passed            int // tests that pass natively, and of them here
	failed, skipped           int // the others of them
	nativeSubs, subs          int // the same of subtests
	nativeSeconds, seconds    float64
}

func (t *tally) add(o tally) {
	t.units += o.units
	t.notRun += o.notRun
	t.rounds += o.rounds
	t.complete += o.complete
	t.completeButExec += o.completeButExec
	t.native += o.native
	t.passed += o.passed
	t.failed += o.failed
	t.skipped += o.skipped
	t.nativeSubs += o.nativeSubs
	t.subs += o.subs
	t.nativeSeconds += o.nativeSeconds
	t.seconds += o.seconds
}

package main

import (
	"fmt"
	"strings"

	"github.com/pvrun/pvrun/internal/compare"
)

// markdown is a table being written.
type markdown struct{ strings.Builder }

func (b *markdown) row(cells ...string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }

func (b *markdown) String() string { return strings.TrimRight(b.Builder.String(), "\n") }

// both calls line for each workload that was measured in pv and in trap.
func (f facts) both(line func(w compare.Result, pv, trap *compare.ModeResult)) {
	for _, w := range f.r.Workloads {
		if pv, trap := w.Mode(compare.PV), w.Mode(compare.Trap); pv != nil && trap != nil {
			line(w, pv, trap)
		}
	}
}

// table is what one operation takes, pv beside trap.
func (f facts) table() string {
	var b markdown
	b.row("one operation", "exits: pv", "trap", "kernel's count: pv", "trap", "fewest: pv", "trap", "time: pv", "trap")
	b.row("---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
	f.both(func(w compare.Result, pv, trap *compare.ModeResult) {
		b.row("**"+w.Name+"**: "+w.Operation, exits(pv), exits(trap), kernel(pv), kernel(trap), fewest(pv), fewest(trap),
			compare.TimeText(pv.PerOp.NS.Value), compare.TimeText(trap.PerOp.NS.Value))
	})
	return b.String()
}

// ratios is trap over pv, with the spread of the runs.
func (f facts) ratios() string {
	var b markdown
	b.row("trap over pv", "exits", "kernel's count", "time", "CPU time")
	b.row("---", "--:", "--:", "--:", "--:")
	f.both(func(w compare.Result, _, trap *compare.ModeResult) {
		if r := trap.Ratio; r != nil {
			b.row(w.Name, compare.RatioText(r.Exits), compare.RatioText(r.KernelExits), compare.RatioText(r.NS), compare.RatioText(r.CPU))
		}
	})
	return b.String()
}

// reach is what pv was to reach, and whether it does.
func (f facts) reach() string {
	var b markdown
	b.row("to be reached", "measured", "met")
	b.row("---", "--:", "---")
	for _, g := range f.r.Reach() {
		met := "**no**"
		if g.Met {
			met = "yes"
		}
		b.row(g.What, g.Got, met)
	}
	return b.String()
}

// bounds is the fewest exits that theory allows, with the reasoning.
func (f facts) bounds() string {
	var b markdown
	b.row("", "mode", "fewest", "because")
	b.row("---", "---", "--:", "---")
	f.both(func(w compare.Result, pv, trap *compare.ModeResult) {
		for _, m := range []*compare.ModeResult{pv, trap} {
			if m.Fewest != nil {
				b.row(w.Name, m.Mode, fewest(m), m.Fewest.Why)
			}
		}
	})
	return b.String()
}

// row says by which exits an operation comes out in either mode.
func (f facts) row(workload string) (string, error) {
	pv, err := f.reasons(workload, compare.PV)
	if err != nil {
		return "", err
	}
	trap, err := f.reasons(workload, compare.Trap)
	return fmt.Sprintf("- pv: %s\n- trap: %s", pv, trap), err
}

package main

import (
	"fmt"
	"io"

	"github.com/pvrun/pvrun/internal/compare"
)

// What pv is to reach: where it needs the host, at the most a fifth of trap's exits,
// by pvrun's count and by the kernel's, and a third of its time; where it does not,
// no exits. Trap mode has to be usable all the same.
const (
	wantExits  = 5.0
	wantTime   = 3.0
	wantBootNS = 5e9
)

// goal is one thing to reach.
type goal struct {
	what string
	got  string
	met  bool
}

// reach are the goals, and what a comparison says of them.
func reach(r *compare.Report) []goal {
	var goals []goal
	for i := range r.Workloads {
		w := &r.Workloads[i]
		pv, trap := w.Mode(compare.PV), w.Mode(compare.Trap)
		if pv == nil || trap == nil {
			continue
		}
		switch w.Name {
		case "paging-4k", "paging-2m", "console", "exceptions":
			goals = append(goals, fewer(w.Name, trap.Ratio)...)
			goals = append(goals, atLeast(w.Name+": time of trap/pv", trap.Ratio.NS, wantTime))
		case "timer": // which sleeps as long in each mode
			goals = append(goals, fewer(w.Name, trap.Ratio)...)
			goals = append(goals, atLeast(w.Name+": CPU time of trap/pv", trap.Ratio.CPU, wantTime))
		case "clock", "threads":
			v := pv.PerOp.Exits.Value
			goals = append(goals, goal{w.Name + ": exits in pv, none", compare.ExitsText(v), v < compare.None})
		case "boot":
			v := trap.PerOp.NS.Value
			goals = append(goals, goal{"boot: trap, less than " + compare.TimeText(wantBootNS), compare.TimeText(v), v < wantBootNS})
		}
	}
	return goals
}

func fewer(name string, r *compare.Ratios) []goal {
	return []goal{
		atLeast(name+": exits of trap/pv", r.Exits, wantExits),
		atLeast(name+": kernel's count of trap/pv", r.KernelExits, wantExits),
	}
}

// atLeast is a ratio that must not be smaller. One that is not known is not met.
func atLeast(what string, s *compare.Spread, least float64) goal {
	return goal{fmt.Sprintf("%s, %v or more", what, least), compare.RatioText(s), s != nil && s.Value >= least}
}

func writeReach(w io.Writer, goals []goal) {
	met := 0
	fmt.Fprintln(w, "\nWhat is to be reached")
	for _, g := range goals {
		verdict := "NOT MET"
		if g.met {
			verdict = "met"
			met++
		}
		fmt.Fprintf(w, "%-7s  %s: %s\n", verdict, g.what, g.got)
	}
	fmt.Fprintf(w, "%d of %d met\n", met, len(goals))
}

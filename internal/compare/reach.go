package compare

import (
	"fmt"
	"io"
	"strings"
)

// What pv is to reach: where it needs the host, at the most a fifth of trap's exits,
// by pvrun's count and by the kernel's, and a third of its time; where it does not,
// no exits. Trap mode has to be usable all the same.
const (
	wantExits  = 5.0
	wantTime   = 3.0
	wantBootNS = 5e9
	wantRing   = 0.1 // exits of a request when many are under way
)

// Goal is one thing to reach.
type Goal struct {
	What string
	Got  string
	Met  bool
}

// Reach are the goals, and what the report says of them.
func (r *Report) Reach() []Goal {
	var goals []Goal
	for i := range r.Workloads {
		w := &r.Workloads[i]
		pv, trap := w.first(PV), w.first(Trap)
		if pv == nil || trap == nil {
			continue
		}
		ratio := trap.Ratio
		if ratio == nil {
			ratio = new(Ratios)
		}
		switch w.Name {
		case "paging-4k", "paging-2m", "console", "exceptions", "blk-read-4k", "blk-write-4k", "blk-read-1m", "blk-write-1m",
			"net-request", "net-in", "net-out":
			goals = append(goals, fewer(w.Name, ratio)...)
			goals = append(goals, atLeast(w.Name+": time of trap/pv", ratio.NS, wantTime))
		case "blk-read-4k-32", "blk-write-4k-32":
			goals = append(goals, fewer(w.Name, ratio)...)
			goals = append(goals, atMost(w.Name+": exits in pv", pv.PerOp.Exits.Value, wantRing))
		case "blk-sync": // which waits as long in each mode
			goals = append(goals, fewer(w.Name, ratio)...)
		case "timer": // which sleeps as long in each mode
			goals = append(goals, fewer(w.Name, ratio)...)
			goals = append(goals, atLeast(w.Name+": CPU time of trap/pv", ratio.CPU, wantTime))
		case "clock", "threads":
			v := pv.PerOp.Exits.Value
			goals = append(goals, Goal{w.Name + ": exits in pv, none", ExitsText(v), v < None})
		case "boot":
			v := trap.PerOp.NS.Value
			goals = append(goals, Goal{"boot: trap, less than " + TimeText(wantBootNS), TimeText(v), v < wantBootNS})
		}
	}
	return goals
}

func fewer(name string, r *Ratios) []Goal {
	return []Goal{
		atLeast(name+": exits of trap/pv", r.Exits, wantExits),
		atLeast(name+": kernel's count of trap/pv", r.KernelExits, wantExits),
	}
}

// atLeast is a ratio that must not be smaller. One that is not known is not met.
func atLeast(what string, s *Spread, least float64) Goal {
	return Goal{fmt.Sprintf("%s, %v or more", what, least), RatioText(s), s != nil && s.Value >= least}
}

func atMost(what string, v, most float64) Goal {
	return Goal{fmt.Sprintf("%s, %v or fewer", what, most), ExitsText(v), v <= most}
}

// WriteReach writes whether the goals are met.
func (r *Report) WriteReach(w io.Writer) error {
	goals := r.Reach()
	met := 0
	var b strings.Builder
	fmt.Fprintln(&b, "\nWhat is to be reached")
	for _, g := range goals {
		verdict := "NOT MET"
		if g.Met {
			verdict = "met"
			met++
		}
		fmt.Fprintf(&b, "%-7s  %s: %s\n", verdict, g.What, g.Got)
	}
	fmt.Fprintf(&b, "%d of %d met\n", met, len(goals))
	_, err := io.WriteString(w, b.String())
	return err
}

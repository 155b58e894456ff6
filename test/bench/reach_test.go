package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/internal/compare"
)

// measured is a comparison in which trap takes so many times as much as pv.
func measured(exits, kernel, time, cpu float64) *compare.Report {
	r := &compare.Report{}
	for _, w := range compare.Workloads() {
		trap := compare.ModeResult{Mode: compare.Trap, Ratio: &compare.Ratios{
			Exits: &compare.Spread{Value: exits}, KernelExits: &compare.Spread{Value: kernel},
			NS: &compare.Spread{Value: time}, CPU: &compare.Spread{Value: cpu},
		}}
		r.Workloads = append(r.Workloads, compare.Result{Name: w.Name, Modes: []compare.ModeResult{{Mode: compare.PV}, trap}})
	}
	return r
}

// missed are the goals that are not met.
func missed(r *compare.Report) string {
	var list []string
	for _, g := range reach(r) {
		if !g.met {
			list = append(list, g.what)
		}
	}
	return strings.Join(list, "; ")
}

func TestReach(t *testing.T) {
	r := measured(5, 5, 3, 3)
	if n, bad := len(reach(r)), missed(r); n != 18 || bad != "" {
		t.Errorf("%d goals, missed: %s", n, bad)
	}
	for want, r := range map[string]*compare.Report{
		"exits of trap/pv, 5 or more":          measured(4.9, 5, 3, 3),
		"kernel's count of trap/pv, 5 or more": measured(5, 4.9, 3, 3),
		": time of trap/pv, 3 or more":         measured(5, 5, 2.9, 3),
		"timer: CPU time of trap/pv":           measured(5, 5, 3, 2.9),
	} {
		if got := missed(r); !strings.Contains(got, want) || strings.Count(got, ";") > 4 {
			t.Errorf("missed: %s, want only %s", got, want)
		}
	}
	r.Workloads[1].Modes[0].PerOp.Exits.Value = 0.01
	r.Workloads[0].Modes[1].PerOp.NS.Value = 5e9
	r.Workloads[2].Modes[1].Ratio.KernelExits = nil // a kernel that does not count
	const want = "boot: trap, less than 5 s; clock: exits in pv, none; timer: kernel's count of trap/pv, 5 or more"
	if got := missed(r); got != want {
		t.Errorf("missed: %s, want %s", got, want)
	}
	var b bytes.Buffer
	writeReach(&b, reach(r))
	for _, want := range []string{"NOT MET  boot: trap, less than 5 s: 5 s\n", "met      timer: exits of trap/pv, 5 or more: 5x", "15 of 18 met\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

package compare

import (
	"bytes"
	"strings"
	"testing"
)

// taking is a comparison in which trap takes so many times as much as pv.
func taking(exits, kernel, time, cpu float64) *Report {
	r := &Report{}
	for _, w := range Workloads() {
		trap := ModeResult{Mode: Trap, Ratio: &Ratios{
			Exits: &Spread{Value: exits}, KernelExits: &Spread{Value: kernel},
			NS: &Spread{Value: time}, CPU: &Spread{Value: cpu},
		}}
		r.Workloads = append(r.Workloads, Result{Name: w.Name, Modes: []ModeResult{{Mode: PV}, trap}})
	}
	return r
}

// missed are the goals that are not met.
func missed(r *Report) string {
	var list []string
	for _, g := range r.Reach() {
		if !g.Met {
			list = append(list, g.What)
		}
	}
	return strings.Join(list, "; ")
}

func TestReach(t *testing.T) {
	r := taking(5, 5, 3, 3)
	if n, bad := len(r.Reach()), missed(r); n != 47 || bad != "" {
		t.Errorf("%d goals, missed: %s", n, bad)
	}
	for want, r := range map[string]*Report{
		"exits of trap/pv, 5 or more":          taking(4.9, 5, 3, 3),
		"kernel's count of trap/pv, 5 or more": taking(5, 4.9, 3, 3),
		": time of trap/pv, 3 or more":         taking(5, 5, 2.9, 3),
		"timer: CPU time of trap/pv":           taking(5, 5, 3, 2.9),
	} {
		if got := missed(r); !strings.Contains(got, want) || strings.Count(got, ";") > 14 {
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
	if err := r.WriteReach(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOT MET  boot: trap, less than 5 s: 5 s\n", "met      timer: exits of trap/pv, 5 or more: 5x", "44 of 47 met\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

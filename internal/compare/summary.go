package compare

import (
	"fmt"
	"slices"
	"strings"
)

// summary says in plain sentences what the numbers mean.
func (r *Report) summary() []string {
	list := []string{r.summaryOfNone()}
	base := r.base()
	for _, mode := range r.Modes {
		switch {
		case mode == base || base == "":
		case modeOf(mode) == PV:
			list = append(list, r.summaryOfEngine(base, mode))
		default:
			list = append(list, r.summaryAgainst(base, mode)...)
		}
	}
	if len(r.Modes) == 1 {
		list = append(list, r.summaryOfOne(r.Modes[0]))
	}
	list = append(list, fmt.Sprintf(
		"These are numbers of %s, %s. How often the guest has to come out is a matter of its mode; what that costs, and what the kernel adds of its own, are matters of the machine.",
		r.engines(), r.CPU))
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// summaryOfNone names what needs no exits at all.
func (r *Report) summaryOfNone() string {
	var parts []string
	for _, mode := range r.Modes {
		var names []string
		for i := range r.Workloads {
			if m := r.Workloads[i].Mode(mode); isNone(m.PerOp.Exits.Value) {
				names = append(names, r.Workloads[i].Name)
			}
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%s in %s", and(names), mode))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("No exits, that is fewer than one in %.0f operations: %s.", 1/None, strings.Join(parts, "; "))
}

// extremes are the workloads with the smallest and the largest value.
type extremes struct {
	least, most         float64
	leastName, mostName string
	n                   int
}

func (e *extremes) add(name string, v float64) {
	if e.n == 0 || v < e.least {
		e.least, e.leastName = v, name
	}
	if e.n == 0 || v > e.most {
		e.most, e.mostName = v, name
	}
	e.n++
}

// text is "2x (boot) to 40x (timer)".
func (e *extremes) text() string {
	if e.n == 1 {
		return fmt.Sprintf("%s (%s)", times(e.least), e.leastName)
	}
	return fmt.Sprintf("%s (%s) to %s (%s)", times(e.least), e.leastName, times(e.most), e.mostName)
}

// summaryAgainst is about the workloads that need the host in the base, which is pv.
func (r *Report) summaryAgainst(base, mode string) []string {
	var exits, kernel, ns extremes
	fewer := 0
	for i := range r.Workloads {
		w := &r.Workloads[i]
		ratio := w.Mode(mode).Ratio
		if ratio.Exits == nil {
			continue
		}
		exits.add(w.Name, ratio.Exits.Value)
		if ratio.Exits.Value > 1 {
			fewer++
		}
		if ratio.KernelExits != nil {
			kernel.add(w.Name, ratio.KernelExits.Value)
		}
		if ratio.NS != nil {
			ns.add(w.Name, ratio.NS.Value)
		}
	}
	if exits.n == 0 {
		return nil
	}
	text := fmt.Sprintf("Of the %s that %s the host in %s, %d %s fewer exits there than in %s.",
		plural(float64(exits.n), "workload"), verb(exits.n, "need"), base, fewer, verb(fewer, "take"), mode)
	if exits.n == 1 {
		text = fmt.Sprintf("%s needs the host in %s too.", exits.leastName, base)
	}
	how := fmt.Sprintf("For the same operation %s takes %s the exits of %s", mode, exits.text(), base)
	if kernel.n > 0 {
		how += fmt.Sprintf("; with those that end in the kernel, which no count may leave out, it is %s", kernel.text())
	}
	if ns.n > 0 {
		how += fmt.Sprintf("; and %s the time", ns.text())
	}
	return []string{text + " " + how + "."}
}

// summaryOfEngine is about pv on another engine than the base's: exits are the same ones.
func (r *Report) summaryOfEngine(base, way string) string {
	var ns, cpu, memory extremes
	for i := range r.Workloads {
		w := &r.Workloads[i]
		m := w.Mode(way)
		if m.Ratio.NS != nil {
			ns.add(w.Name, m.Ratio.NS.Value)
		}
		if m.Ratio.CPU != nil {
			cpu.add(w.Name, m.Ratio.CPU.Value)
		}
		if v := w.Mode(base).PerOp.Memory.Value; v > 0 {
			memory.add(w.Name, m.PerOp.Memory.Value/v)
		}
	}
	var parts []string
	for _, x := range []struct {
		e    *extremes
		what string
	}{{&ns, "time"}, {&cpu, "CPU time"}, {&memory, "memory"}} {
		if x.e.n > 0 {
			parts = append(parts, x.e.text()+" the "+x.what)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("The same image in %s takes %s of %s.", way, strings.Join(parts, ", "), base)
}

// verb is a verb with n things before it.
func verb(n int, s string) string {
	if n == 1 {
		return s + "s"
	}
	return s
}

// summaryOfOne is for a single mode, with nothing to compare.
func (r *Report) summaryOfOne(mode string) string {
	var exits, kernel extremes
	for i := range r.Workloads {
		m := r.Workloads[i].Mode(mode)
		if isNone(m.PerOp.Exits.Value) {
			continue
		}
		exits.add(r.Workloads[i].Name, m.PerOp.Exits.Value)
		if m.PerOp.KernelExits != nil {
			kernel.add(r.Workloads[i].Name, m.PerOp.KernelExits.Value/m.PerOp.Exits.Value)
		}
	}
	if exits.n == 0 {
		return ""
	}
	text := fmt.Sprintf("In %s, an operation takes from %s (%s) to %s (%s)", mode,
		plural(exits.least, "exit"), exits.leastName, number(exits.most), exits.mostName)
	if exits.n == 1 {
		text = fmt.Sprintf("In %s, %s takes %s", mode, exits.leastName, plural(exits.least, "exit"))
	}
	if kernel.n > 0 {
		text += fmt.Sprintf("; the kernel, which counts those too that it answers itself, counts %s as many", kernel.text())
	}
	return text + "."
}

func and(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

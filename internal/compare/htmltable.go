package compare

import (
	"fmt"
)

// table is all that is known of a workload: a column for each mode, and one for
// each ratio.
func (p *page) table(w *Result, classes map[string]string) {
	p.f("<table>\n<thead><tr><th>for one operation <small>exits, time to answer</small></th>")
	for _, m := range w.Modes {
		p.f("<th>%s</th>", escape(m.Mode))
	}
	for _, m := range w.Modes {
		if m.Ratio != nil {
			p.f("<th>%s / %s</th>", escape(m.Mode), escape(p.r.base()))
		}
	}
	p.f("</tr></thead>\n<tbody>")
	p.row(w, "sum", "exits", func(m *ModeResult) string { return ExitsText(m.PerOp.Exits.Value) },
		func(r *Ratios) *Spread { return r.Exits })
	p.reasonRows(w, classes)
	p.row(w, "sum", "all exits, by the kernel’s own count", func(m *ModeResult) string { return optional(m.PerOp.KernelExits) },
		func(r *Ratios) *Spread { return r.KernelExits })
	p.row(w, "", "fewest exits that theory allows", (*ModeResult).fewest, nil)
	p.row(w, "sum", "time", func(m *ModeResult) string {
		return TimeText(m.PerOp.NS.Value) + small(m.PerOp.NS.rangeText(TimeText))
	}, func(r *Ratios) *Spread { return r.NS })
	p.row(w, "", "CPU time of the host", func(m *ModeResult) string { return TimeText(m.PerOp.HostCPU.Value) }, nil)
	p.row(w, "", "CPU time of the guest", func(m *ModeResult) string { return TimeText(m.PerOp.GuestCPU.Value) }, nil)
	p.row(w, "", "CPU time together", func(m *ModeResult) string {
		return TimeText(m.PerOp.HostCPU.Value + m.PerOp.GuestCPU.Value)
	}, func(r *Ratios) *Spread { return r.CPU })
	p.row(w, "", "memory of a whole run, at its end", func(m *ModeResult) string { return memoryText(m.PerOp.Memory.Value) }, nil)
	p.row(w, "", "operations of a run, of "+plural(float64(p.r.Runs), "run"), func(*ModeResult) string { return group(fmt.Sprint(w.Ops)) }, nil)
	p.f("</tbody>\n</table>")
}

func small(s string) string { return " <small>" + s + "</small>" }

// row has a cell for each mode and each ratio; ratio may be nil.
func (p *page) row(w *Result, class, title string, cell func(*ModeResult) string, ratio func(*Ratios) *Spread) {
	p.f("<tr class=\"%s\"><td>%s</td>", class, title)
	for i := range w.Modes {
		p.f("<td>%s</td>", cell(&w.Modes[i]))
	}
	for _, m := range w.Modes {
		if m.Ratio == nil {
			continue
		}
		text := ""
		if ratio != nil {
			text = "-"
			if s := ratio(m.Ratio); s != nil {
				text = times(s.Value) + small(s.rangeText(number))
			}
		}
		p.f("<td>%s</td>", text)
	}
	p.f("</tr>")
}

// reasonRows has a row for each reason of any mode, in the charts' colours. Those
// that hardly count are one row.
func (p *page) reasonRows(w *Result, classes map[string]string) {
	weight, rest := w.weights(), map[string]bool{}
	for _, name := range heaviest(weight) {
		if isNone(weight[name]) {
			rest[name] = true
			continue
		}
		p.reasonRow(w, classes[name], name, func(n string) bool { return n == name })
	}
	if len(rest) > 0 {
		p.reasonRow(w, "rest", othersText(len(rest)), func(n string) bool { return rest[n] })
	}
}

func (p *page) reasonRow(w *Result, class, title string, is func(string) bool) {
	swatch := fmt.Sprintf(`<svg class="swatch" viewBox="0 0 10 10"><rect width="10" height="10" class="%s"/></svg>`, class)
	p.row(w, "reason", swatch+"<code>"+escape(title)+"</code>", func(m *ModeResult) string {
		exits, ns, n := m.sum(func(x Reason) bool { return is(x.Name) })
		if n == 0 {
			return ""
		}
		return ExitsText(exits) + small(TimeText(ns))
	}, nil)
}

// sum adds up reasons.
func (m *ModeResult) sum(is func(Reason) bool) (exits, ns float64, n int) {
	for _, x := range m.Reasons {
		if is(x) {
			exits, ns, n = exits+x.Exits, ns+x.NS, n+1
		}
	}
	return exits, ns, n
}

// othersText stands for n reasons that hardly count.
func othersText(n int) string {
	return fmt.Sprintf("%s below %v each", plural(float64(n), "other"), None)
}

// method tells how to read the page.
func (p *page) method() {
	p.f("<section>\n<h2>How this was measured</h2>")
	for _, s := range Method {
		p.f("<p>%s</p>", escape(s))
	}
	p.f("</section>")
}

// Method tells how the numbers come about, a paragraph each.
var Method = []string{
	"Each workload is an ordinary Go program, and one image of it runs in every mode. It runs with many operations and then with none; what the second run took is taken off what the first one took, and the rest is divided by the number of operations. So neither the start nor the end of the machine is in an operation. Where an operation is a whole run, nothing is taken off. The modes take turns.",
	"An exit is a return of KVM_RUN to pvrun, and has one reason. Beside a reason’s count stands the time that pvrun spent until it let the guest in again. The kernel’s own count (KVM_GET_STATS_FD, exits) has those too that end in the kernel, such as the faults with which it fills its own page tables.",
	"The time of an operation is what the program itself measures with time.Now around all of them; that of a whole run is from the call that makes the machine to the machine’s end. CPU time is that of the whole process, pvrun and guest. The guest’s part is what Linux counts as guest time: where it counts by the clock tick, of 10 ms as a rule, that is a sample, and the way into and out of the guest falls to either side. With engine proc the guest’s part is its process’s. The host’s part is all the rest, pvrun’s own start included where an operation is a whole run.",
	"Exits and CPU times are averages over the runs. Times and ratios are medians, with the least and the greatest; a ratio is that of two runs which followed one another. What an operation takes besides, above the fewest exits that theory allows, is what the kernels and libraries in use do, and the host’s clock tick.",
}

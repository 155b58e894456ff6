package compare

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// WriteTable writes the report for a terminal.
func (r *Report) WriteTable(w io.Writer) error {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.wrap(r.about())
	r.operations(t)
	r.compared(t)
	r.byReason(t)
	r.bounds(t)
	r.memory(t)
	for _, s := range r.Summary {
		t.line("")
		t.wrap(s)
	}
	return t.w.Flush()
}

// about names what was measured and where.
func (r *Report) about() string {
	runs := fmt.Sprintf("%d runs", r.Runs)
	if r.Runs == 1 {
		runs = "1 run"
	}
	return fmt.Sprintf("pvrun %s, %s; %s of each; %d x %s, Linux %s",
		r.Pvrun, r.engines(), runs, r.CPUs, r.CPU, r.Kernel)
}

// engines names what the machines ran on.
func (r *Report) engines() string {
	text := fmt.Sprintf("engine %s on %s", r.Engine, r.Backend)
	for _, e := range r.Engines {
		if e != r.Engine {
			text += " and engine " + e
		}
	}
	return text
}

// table writes lines and, between them, tables whose columns are aligned.
type table struct{ w *tabwriter.Writer }

func (t *table) line(format string, args ...any) {
	t.w.Flush() // columns end here
	fmt.Fprintf(t.w, format+"\n", args...)
	t.w.Flush()
}

func (t *table) row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

// title begins a table.
func (t *table) title(text string, columns ...string) {
	t.line("\n%s", text)
	t.row(columns...)
}

// lineWidth is what a terminal of 100 columns shows with something to spare.
const lineWidth = 96

// wrap writes a paragraph.
func (t *table) wrap(text string) {
	for _, line := range wrapped(text, lineWidth) {
		t.line("%s", line)
	}
}

// wrapped is text in lines.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

func (r *Report) operations(t *table) {
	t.title("One operation. KERNEL is the kernel's own count of all exits, FEWEST what theory allows,\nHOST and GUEST are CPU time.",
		"WORKLOAD", "MODE", "COUNT", "EXITS", "KERNEL", "FEWEST", "TIME", "(RUNS)", "HOST", "GUEST")
	for _, w := range r.Workloads {
		for _, m := range w.Modes {
			v := m.PerOp
			t.row(w.Name, m.Mode, group(fmt.Sprint(w.Ops)), ExitsText(v.Exits.Value), optional(v.KernelExits), m.fewest(),
				TimeText(v.NS.Value), "("+v.NS.timeRange()+")", cpuText(v.HostCPU), cpuText(v.GuestCPU))
		}
	}
}

// cpuText is CPU time. The kernel tells the guest's part in ticks of 10 ms, which a
// short operation may have too many of, and the host's too few: less than none.
func cpuText(s Spread) string { return TimeText(max(0, s.Value)) }

// memoryText is a number of bytes.
func memoryText(v float64) string { return number(v/(1<<20)) + " MiB" }

func (m *ModeResult) fewest() string {
	if m.Fewest == nil {
		return "-"
	}
	return number(m.Fewest.Exits)
}

// optional is a number of exits that may not be known.
func optional(s *Spread) string {
	if s == nil {
		return "-"
	}
	return ExitsText(s.Value)
}

func (r *Report) compared(t *table) {
	begun := false
	for _, w := range r.Workloads {
		for _, m := range w.Modes {
			if m.Ratio == nil {
				continue
			}
			if !begun {
				t.title(fmt.Sprintf("Ratio to %[1]s: the median of the runs (least to greatest); - where %[1]s takes none.", r.base()),
					"WORKLOAD", "MODE", "EXITS", "KERNEL", "TIME", "CPU")
				begun = true
			}
			t.row(w.Name, m.Mode, RatioText(m.Ratio.Exits), RatioText(m.Ratio.KernelExits), RatioText(m.Ratio.NS), RatioText(m.Ratio.CPU))
		}
	}
}

func (r *Report) byReason(t *table) {
	t.title("Exits by reason. HANDLER is the time that pvrun spent on the answer.",
		"WORKLOAD", "MODE", "REASON", "EXITS/OP", "EXITS/RUN", "HANDLER NS/OP")
	for _, w := range r.Workloads {
		for _, m := range w.Modes {
			line := func(name string, exits, ns float64) {
				t.row(w.Name, m.Mode, name, ExitsText(exits), number(exits*float64(w.Ops)), number(ns))
			}
			for _, x := range m.Reasons {
				if !isNone(x.Exits) {
					line(x.Name, x.Exits, x.NS)
				}
			}
			isSmall := func(x Reason) bool { return isNone(x.Exits) }
			if exits, ns, n := m.sum(isSmall); n > 0 {
				line(othersText(n), exits, ns)
			}
		}
	}
}

// memory has a column for each way.
func (r *Report) memory(t *table) {
	t.title("Memory at the end of a whole run, pvrun's own and the machine's.", append([]string{"WORKLOAD"}, r.Modes...)...)
	for _, w := range r.Workloads {
		row := []string{w.Name}
		for _, m := range w.Modes {
			row = append(row, memoryText(m.PerOp.Memory.Value))
		}
		t.row(row...)
	}
}

func (r *Report) bounds(t *table) {
	begun := false
	for _, w := range r.Workloads {
		for _, m := range w.Modes {
			if m.Fewest == nil || w.first(modeOf(m.Mode)).Mode != m.Mode { // an engine changes nothing
				continue
			}
			if !begun {
				t.title("The fewest exits that theory allows.", "WORKLOAD", "MODE", "EXITS", "WHY")
				begun = true
			}
			const before = 30 // columns
			for i, line := range wrapped(m.Fewest.Why, lineWidth-before) {
				if i == 0 {
					t.row(w.Name, m.Mode, number(m.Fewest.Exits), line)
				} else {
					t.row("", "", "", line)
				}
			}
		}
	}
}

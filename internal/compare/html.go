package compare

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

//go:embed page.css
var css string

// escape makes text of s, inside and outside of attributes. Package html would
// do it too, and would set up something at each start of pvrun.
func escape(s string) string {
	for _, x := range [][2]string{{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {`"`, "&#34;"}, {"'", "&#39;"}} {
		s = strings.ReplaceAll(s, x[0], x[1])
	}
	return s
}

// page is an HTML page being written.
type page struct {
	strings.Builder
	r       *Report
	colours map[string]int // of reasons
}

func (p *page) f(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// WriteHTML writes the report as a page with charts. It needs no other file.
func (r *Report) WriteHTML(w io.Writer) error {
	p := &page{r: r, colours: r.colours()}
	p.f("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")
	p.f("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>pvrun compare</title>")
	p.f("<style>\n%s</style>\n</head>\n<body>\n<main>", css)
	p.f("<h1>What an operation costs in %s</h1>", escape(strings.Join(r.Modes, " and in ")))
	p.f("<p class=\"about\">%s</p>\n<div class=\"lead\">", escape(r.about()))
	for _, s := range r.Summary {
		p.f("<p>%s</p>", escape(s))
	}
	p.f("</div>")
	p.overviewOfExits()
	p.overviewOfTime()
	for i := range r.Workloads {
		p.workload(&r.Workloads[i])
	}
	p.method()
	p.f("</main>\n</body>\n</html>")
	_, err := io.WriteString(w, p.String())
	return err
}

// inks is how many colours for reasons page.css has.
const inks = 12

// colours gives each reason the colour that it has wherever it can, those that
// matter most first.
func (r *Report) colours() map[string]int {
	weight := map[string]float64{}
	for _, w := range r.Workloads {
		for _, m := range w.Modes {
			for _, x := range m.Reasons {
				weight[x.Name] += max(0, x.Exits) / max(m.PerOp.Exits.Value, None)
			}
		}
	}
	list := map[string]int{}
	for i, name := range heaviest(weight) {
		list[name] = i % inks
	}
	return list
}

// heaviest are the names by weight.
func heaviest(weight map[string]float64) []string {
	return slices.SortedFunc(maps.Keys(weight), func(a, b string) int {
		return cmp.Or(cmp.Compare(weight[b], weight[a]), strings.Compare(a, b))
	})
}

// weights are the most that each reason takes in any mode.
func (w *Result) weights() map[string]float64 {
	weight := map[string]float64{}
	for _, m := range w.Modes {
		for _, x := range m.Reasons {
			weight[x.Name] = max(weight[x.Name], x.Exits)
		}
	}
	return weight
}

// classes are the colours of a workload's reasons: of two that would have the same,
// the one that matters less takes the next that is free.
func (p *page) classes(w *Result) map[string]string {
	var taken [inks]bool
	list := map[string]string{}
	for n, name := range heaviest(w.weights()) {
		if n >= inks {
			list[name] = "rest"
			continue
		}
		i := p.colours[name]
		for taken[i] {
			i = (i + 1) % inks
		}
		taken[i] = true
		list[name] = fmt.Sprintf("c%d", i)
	}
	return list
}

// key explains a kind of bar.
func key(shape, text string) string {
	return fmt.Sprintf(`<span class="key"><svg viewBox="0 0 30 16">%s</svg>%s</span>`, shape, text)
}

func (p *page) modeKeys() (list []string) {
	for _, mode := range p.r.Modes {
		list = append(list, key(fmt.Sprintf(`<rect width="30" height="16" class="%s"/>`, modeClass(mode)), escape(mode)))
	}
	return list
}

func (p *page) overviewOfExits() {
	p.f("<section>\n<h2>Exits <small>for one operation</small></h2>\n<figure>")
	var groups []logGroup
	for _, w := range p.r.Workloads {
		g := logGroup{name: w.Name}
		for _, m := range w.Modes {
			g.bars = append(g.bars, m.exitsBar(w.Name))
		}
		groups = append(groups, g)
	}
	p.WriteString(logChart("Exits for one operation, by workload and mode", None, groups, number))
	keys := append(p.modeKeys(),
		key(`<rect width="30" height="16" class="rest pale"/>`, "behind it: all exits, by the kernel’s own count"),
		key(`<line x1="15" y1="0" x2="15" y2="16" class="mark"/>`, "the fewest that theory allows, where that is not 0"))
	p.f("<figcaption>%s</figcaption>", strings.Join(keys, "\n"))
	p.f("<p class=\"note\">The scale is logarithmic: each line stands for ten times as many as the one before it, so compare the numbers and not the lengths. No bar means none, that is fewer than one exit in %.0f operations.</p>", 1/None)
	p.f("</figure>\n</section>")
}

func (m *ModeResult) exitsBar(workload string) logBar {
	b := logBar{mode: m.Mode, value: m.PerOp.Exits.Value, text: ExitsText(m.PerOp.Exits.Value)}
	if isNone(b.value) {
		b.text, b.value = "none", 0
	}
	if k := m.PerOp.KernelExits; k != nil {
		if b.pale = k.Value; isNone(b.pale) {
			b.pale = 0
		} else {
			b.text += " · kernel " + ExitsText(k.Value)
		}
	}
	if m.Fewest != nil {
		b.mark = m.Fewest.Exits
	}
	b.tip = fmt.Sprintf("%s in %s: %s", workload, m.Mode, b.text)
	return b
}

func (p *page) overviewOfTime() {
	p.f("<section>\n<h2>Time <small>for one operation</small></h2>\n<figure>")
	var groups []logGroup
	for _, w := range p.r.Workloads {
		g := logGroup{name: w.Name}
		for _, m := range w.Modes {
			v := m.PerOp.NS.Value
			g.bars = append(g.bars, logBar{mode: m.Mode, value: v, text: TimeText(v),
				tip: fmt.Sprintf("%s in %s: %s", w.Name, m.Mode, m.PerOp.NS.rangeText(TimeText))})
		}
		groups = append(groups, g)
	}
	p.WriteString(logChart("Time for one operation, by workload and mode", 10, groups, TimeText))
	p.f("<figcaption>%s</figcaption>", strings.Join(p.modeKeys(), "\n"))
	p.f("<p class=\"note\">Logarithmic too. The median of the runs; a bar’s tooltip has the least and the greatest.</p>\n</figure>\n</section>")
}

// workload is a section with the chart and the table of one workload.
func (p *page) workload(w *Result) {
	p.f("<section>\n<h2>%s <small>%s</small></h2>\n<p>%s</p>", escape(w.Name), escape(w.Operation), escape(w.About))
	var stacks []stack
	any := false
	classes := p.classes(w)
	for i := range w.Modes {
		s := w.Modes[i].stack(classes)
		any = any || s.total() >= None || s.kernel >= None
		stacks = append(stacks, s)
	}
	p.f("<figure>")
	if any {
		p.WriteString(stackChart("Exits of "+w.Name+" by reason", stacks))
	}
	p.f("<figcaption>%s</figcaption>\n</figure>", escape(w.sentence(p.r.base())))
	p.table(w, classes)
	for _, m := range w.Modes {
		if m.Fewest != nil && w.first(modeOf(m.Mode)).Mode == m.Mode {
			p.f("<p class=\"note\">Fewest in %s: %s. %s.</p>", escape(m.Mode), number(m.Fewest.Exits), escape(upperFirst(m.Fewest.Why)))
		}
	}
	p.f("</section>")
}

func (m *ModeResult) stack(classes map[string]string) stack {
	s := stack{mode: m.Mode, text: ExitsText(m.PerOp.Exits.Value)}
	for _, x := range m.Reasons {
		if x.Exits > 0 {
			s.parts = append(s.parts, part{classes[x.Name], x.Name, x.Exits})
		}
	}
	if k := m.PerOp.KernelExits; k != nil {
		s.kernel, s.ktext = max(0, k.Value), ExitsText(k.Value)+" by the kernel’s count"
	}
	return s
}

// sentence says what the chart of a workload shows.
func (w *Result) sentence(base string) string {
	var list []string
	for _, m := range w.Modes {
		text := fmt.Sprintf("In %s one takes %s", m.Mode, TimeText(m.PerOp.NS.Value))
		if isNone(m.PerOp.Exits.Value) {
			text += " and no exit"
		} else {
			text += " and " + plural(m.PerOp.Exits.Value, "exit")
		}
		if r := m.Ratio; r != nil && r.Exits != nil && r.NS != nil {
			text += fmt.Sprintf(": %s the exits and %s the time of %s", times(r.Exits.Value), times(r.NS.Value), base)
		} else if r != nil && r.NS != nil {
			text += fmt.Sprintf(": %s the time of %s", times(r.NS.Value), base)
		}
		list = append(list, text+".")
	}
	return strings.Join(list, " ")
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

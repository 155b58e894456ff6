package compare

import (
	"fmt"
	"math"
	"strings"
)

// Charts are SVG, written by hand: bars, lines and words are all they have. One
// unit is about a pixel on a page as wide as a chart.
const (
	chartWidth = 1000.0
	chartLeft  = 130.0 // where bars begin
	chartRight = 800.0 // where the longest ends; its number comes after it
)

// chart is an SVG element being written.
type chart struct {
	strings.Builder
	height float64
}

func (c *chart) f(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

func (c *chart) text(x, y float64, class, anchor, s string) {
	c.f(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, escape(s))
}

// bar draws a bar with a tooltip.
func (c *chart) bar(x, y, width, height float64, class, tip string) {
	if width > 0 {
		c.f(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s"><title>%s</title></rect>`, x, y, width, height, class, escape(tip))
	}
}

func (c *chart) line(x1, y1, x2, y2 float64, class string) {
	c.f(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`, x1, y1, x2, y2, class)
}

// svg is the whole element; what is for those who cannot see it.
func (c *chart) svg(what string) string {
	return fmt.Sprintf("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n%s</svg>\n",
		chartWidth, c.height, escape(what), c.String())
}

// scale is logarithmic, over whole powers of ten.
type scale struct{ low, high int }

// newScale covers all values but those below least.
func newScale(least float64, values []float64) scale {
	s := scale{int(math.Floor(math.Log10(least))), int(math.Floor(math.Log10(least))) + 1}
	for _, v := range values {
		if v > 0 {
			s.high = max(s.high, int(math.Ceil(math.Log10(v))))
		}
	}
	return s
}

func (s scale) x(v float64) float64 {
	if v <= 0 {
		return chartLeft
	}
	at := (math.Log10(v) - float64(s.low)) / float64(s.high-s.low)
	return chartLeft + max(0, at)*(chartRight-chartLeft)
}

// logBar is a bar of an overview.
type logBar struct {
	mode        string
	value, pale float64 // pale is a longer one behind it, or 0
	mark        float64 // a line across, or 0
	text, tip   string
}

// logGroup is a workload's bars.
type logGroup struct {
	name string
	bars []logBar
}

const (
	barHeight = 17.0
	barGap    = 4.0
	groupGap  = 15.0
	axisSpace = 30.0
)

// logChart draws an overview over all workloads.
func logChart(what string, least float64, groups []logGroup, tick func(float64) string) string {
	var values []float64
	for _, g := range groups {
		for _, b := range g.bars {
			values = append(values, b.value, b.pale, b.mark)
		}
	}
	s := newScale(least, values)
	c := &chart{height: axisSpace}
	for _, g := range groups {
		c.height += float64(len(g.bars))*(barHeight+barGap) + groupGap
	}
	for p := s.low; p <= s.high; p++ {
		x := s.x(math.Pow10(p))
		c.line(x, axisSpace-8, x, c.height-groupGap/2, "grid")
		c.text(x, axisSpace-14, "soft", "middle", tick(math.Pow10(p)))
	}
	y := axisSpace
	for _, g := range groups {
		c.text(chartLeft-14, y+float64(len(g.bars))*(barHeight+barGap)/2+3, "", "end", short(g.name))
		for _, b := range g.bars {
			c.logBar(s, y, b)
			y += barHeight + barGap
		}
		y += groupGap
	}
	return c.svg(what)
}

func (c *chart) logBar(s scale, y float64, b logBar) {
	class, end := modeClass(b.mode), s.x(max(b.value, b.pale))
	c.bar(chartLeft, y, s.x(b.pale)-chartLeft, barHeight, class+" pale", b.tip)
	c.bar(chartLeft, y, s.x(b.value)-chartLeft, barHeight, class, b.tip)
	if b.mark > 0 {
		c.line(s.x(b.mark), y-2, s.x(b.mark), y+barHeight+2, "mark")
		end = max(end, s.x(b.mark))
	}
	c.text(end+8, y+barHeight-4, "", "start", b.text)
}

// stack is a mode's bar in a workload's own chart.
type stack struct {
	mode   string
	parts  []part
	text   string
	kernel float64
	ktext  string
}

// part is the share of a reason.
type part struct {
	class, name string
	value       float64
}

// stackChart draws bars made of parts, on a linear scale that begins at 0.
func stackChart(what string, stacks []stack) string {
	longest := 0.0
	for _, s := range stacks {
		longest = max(longest, s.kernel, s.total())
	}
	const thick, thin, between = 34.0, 12.0, 18.0
	c := &chart{}
	for _, s := range stacks {
		width := func(v float64) float64 { return v / longest * (chartRight - chartLeft) }
		c.text(chartLeft-14, c.height+thick*.65, "", "end", s.mode)
		x := chartLeft
		for _, p := range s.parts {
			c.bar(x, c.height, width(p.value), thick, p.class, fmt.Sprintf("%s: %s", p.name, ExitsText(p.value)))
			if width(p.value) > 8*float64(len(p.name))+12 {
				c.text(x+8, c.height+thick*.63, "in", "start", p.name)
			}
			x += width(p.value)
		}
		c.text(x+8, c.height+thick*.65, "", "start", s.text)
		c.height += thick + 3
		c.bar(chartLeft, c.height, width(s.kernel), thin, "kernel", s.ktext)
		c.text(chartLeft+width(s.kernel)+8, c.height+thin-1, "soft", "start", s.ktext)
		c.height += thin + between
	}
	c.height -= between - 4
	c.line(chartLeft, 0, chartLeft, c.height, "grid")
	return c.svg(what)
}

func (s stack) total() float64 {
	sum := 0.0
	for _, p := range s.parts {
		sum += p.value
	}
	return sum
}

// short is a name that fits beside a chart.
func short(name string) string {
	const most = 14
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}

// modeClass is the colour of a mode, or of one on an engine.
func modeClass(way string) string {
	engine, _, chosen := strings.Cut(way, " ")
	switch mode := modeOf(way); {
	case mode != PV && mode != Trap:
		return "third"
	case !chosen || engine == Engines[0]:
		return mode
	case mode == Trap:
		return "fourth"
	}
	return "third"
}

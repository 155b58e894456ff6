package load

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pvrun/pvrun/internal/compare"
)

// Report is what a run is told to people and programs as.
type Report struct {
	Program   string         `json:"program"`
	Isolation string         `json:"isolation"` // invocation, fresh or instance
	Workers   int            `json:"workers"`
	Count     int            `json:"invocations"` // with and without a good answer
	Errors    int            `json:"errors"`
	ByKind    map[string]int `json:"errors_by_kind"`
	Seconds   float64        `json:"seconds"`
	PerSecond float64        `json:"per_second"` // invocations
	Latency   Latency        `json:"latency_ns"`

	// For one invocation. nil is not known.
	Exits       *float64 `json:"exits,omitempty"`        // to user space
	KernelExits *float64 `json:"kernel_exits,omitempty"` // all, by the kernel's own count
}

// Latency is how long invocations without an error took, in ns: from the message to its
// answer. P99 is the time that 99 of 100 did not exceed, one of those measured. All are
// 0 when none was without an error.
type Latency struct {
	Min int64 `json:"min"`
	P50 int64 `json:"p50"`
	P90 int64 `json:"p90"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
}

// Report sums a result up. It sorts the latencies.
func (r *Result) Report() Report {
	rep := Report{Count: len(r.Latencies), ByKind: map[string]int{}, Seconds: r.Elapsed.Seconds()}
	for kind, n := range r.Failures {
		rep.Errors += n
		rep.ByKind[kind] = n
	}
	rep.Count += rep.Errors
	if r.Elapsed > 0 {
		rep.PerSecond = float64(rep.Count) / r.Elapsed.Seconds()
	}
	slices.Sort(r.Latencies)
	at := func(percent float64) int64 { return int64(percentile(r.Latencies, percent)) }
	rep.Latency = Latency{at(0), at(50), at(90), at(99), at(100)}
	return rep
}

// percentile is the least of the sorted values that percent of them do not exceed.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// WriteTable writes the report for a terminal.
func (r Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, value) }
	row("invocations", compare.NumberText(float64(r.Count)))
	row("errors", r.errorsText())
	row("workers", fmt.Sprintf("%d, isolation: %s", r.Workers, r.Isolation))
	row("per second", compare.NumberText(r.PerSecond))
	for _, l := range r.Latency.rows() {
		row("latency "+l.name, r.timeText(l.ns))
	}
	row("exits an invocation", exitsText(r.Exits))
	row("  by the kernel's count", exitsText(r.KernelExits))
	return t.Flush()
}

type latencyRow struct {
	name string
	ns   int64
}

func (l Latency) rows() []latencyRow {
	return []latencyRow{{"min", l.Min}, {"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}, {"max", l.Max}}
}

// timeText is a latency, or - when there is none.
func (r Report) timeText(ns int64) string {
	if r.Count == r.Errors {
		return "-"
	}
	return compare.TimeText(float64(ns))
}

func (r Report) errorsText() string {
	text := compare.NumberText(float64(r.Errors))
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.ByKind)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, r.ByKind[kind]))
	}
	if len(kinds) > 0 {
		text += " (" + strings.Join(kinds, ", ") + ")"
	}
	return text
}

func exitsText(v *float64) string {
	if v == nil {
		return "-"
	}
	return compare.ExitsText(*v)
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

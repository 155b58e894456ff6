package compare

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/pvrun/pvrun"
)

// Report is what a comparison has found. All of it is printed from here, also
// from one that was written as JSON.
type Report struct {
	Pvrun     string   `json:"pvrun"`  // its version
	Engine    string   `json:"engine"` // of several, the first
	Backend   string   `json:"backend"`
	Engines   []string `json:"engines,omitempty"` // where they were chosen
	CPU       string   `json:"cpu"`
	CPUs      int      `json:"cpus"`
	Kernel    string   `json:"kernel"`
	Runs      int      `json:"runs"`
	Modes     []string `json:"modes"` // or ways: "pv", "proc pv"
	Workloads []Result `json:"workloads"`
	Summary   []string `json:"summary"` // sentences
}

// Result is one workload.
type Result struct {
	Name      string       `json:"name"`
	Operation string       `json:"operation"`
	About     string       `json:"about"`
	Ops       int          `json:"operations"` // of one run
	Modes     []ModeResult `json:"modes"`
}

// ModeResult is one workload in one way. Values are those of one operation.
type ModeResult struct {
	Mode    string   `json:"mode"`             // as in the report's list
	Engine  string   `json:"engine,omitempty"` // if it was chosen
	Fewest  *Bound   `json:"fewest,omitempty"` // that theory allows
	PerOp   Values   `json:"per_op"`
	Reasons []Reason `json:"reasons"`
	Runs    []Round  `json:"runs"`
	Ratio   *Ratios  `json:"ratio_to_pv,omitempty"`
}

// Values are what an operation takes. Exits and CPU times are averages over the
// runs, so that reasons add up; NS is the median.
type Values struct {
	Exits       Spread  `json:"exits"`
	KernelExits *Spread `json:"kernel_exits,omitempty"` // all, by the kernel's own count, where it keeps one
	NS          Spread  `json:"ns"`
	HostCPU     Spread  `json:"host_cpu_ns"`
	GuestCPU    Spread  `json:"guest_cpu_ns"`
	Memory      Spread  `json:"memory_bytes"` // of a whole run: what pvrun and the machine have at the end
}

// Ratios are one way's values over those of pv, on the first engine, run by run, with the median. nil
// where pv takes none, or as good as none.
type Ratios struct {
	Exits       *Spread `json:"exits,omitempty"`
	KernelExits *Spread `json:"kernel_exits,omitempty"`
	NS          *Spread `json:"ns,omitempty"`
	CPU         *Spread `json:"cpu,omitempty"` // host and guest
}

// Spread is a value, and the least and the greatest of the runs.
type Spread struct {
	Value float64 `json:"value"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
}

// Reason is why the vCPU came out, for one operation on average.
type Reason struct {
	Name  string  `json:"name"`
	Exits float64 `json:"exits"`
	NS    float64 `json:"handler_ns"` // until it went in again
}

// Round is one run, for one operation.
type Round struct {
	Exits       float64  `json:"exits"`
	KernelExits *float64 `json:"kernel_exits,omitempty"`
	NS          float64  `json:"ns"`
	HostCPU     float64  `json:"host_cpu_ns"`
	GuestCPU    float64  `json:"guest_cpu_ns"`
	Memory      float64  `json:"memory_bytes"`
}

func (r Round) cpu() float64 { return r.HostCPU + r.GuestCPU }

// None is how many exits an operation may take on average and still count as
// taking none: the tick, and what differs between two starts, are in there.
const None = 0.01

// isNone reports whether exits are as good as none.
func isNone(exits float64) bool { return exits < None }

func newReport(cfg Config) *Report {
	r := &Report{
		Pvrun: pvrun.Version, CPU: cpuModel(), CPUs: runtime.NumCPU(), Kernel: kernelRelease(), Runs: cfg.Runs,
	}
	for _, w := range cfg.Ways {
		r.Modes = append(r.Modes, w.String())
		if w.Engine != "" && !slices.Contains(r.Engines, w.Engine) {
			r.Engines = append(r.Engines, w.Engine)
		}
	}
	return r
}

func (r *Report) add(ways []Way, w Workload, m measured) {
	res := Result{Name: w.Name, Operation: w.Operation, About: w.About, Ops: max(w.Ops, 1)}
	r.Engine, r.Backend = m[0][0].with.Stats.Engine, m[0][0].with.Stats.Backend
	for i, way := range ways {
		mr := modeResult(m[i])
		mr.Mode, mr.Engine = way.String(), way.Engine
		if b, ok := w.Fewest[way.Mode]; ok {
			mr.Fewest = &b
		}
		res.Modes = append(res.Modes, mr)
	}
	if base := res.Mode(r.base()); base != nil {
		for i := range res.Modes {
			if m := &res.Modes[i]; m != base {
				m.Ratio = ratios(m.Runs, base.Runs)
			}
		}
	}
	r.Workloads = append(r.Workloads, res)
}

// base is what the others are compared with: the first engine's pv. "" for none.
func (r *Report) base() string {
	if i := slices.IndexFunc(r.Modes, func(way string) bool { return modeOf(way) == PV }); i >= 0 {
		return r.Modes[i]
	}
	return ""
}

// first is the result in a mode, on the first engine, or nil.
func (r *Result) first(mode string) *ModeResult {
	for i := range r.Modes {
		if modeOf(r.Modes[i].Mode) == mode {
			return &r.Modes[i]
		}
	}
	return nil
}

// Mode is the result in a mode, or in one on an engine, or nil.
func (r *Result) Mode(name string) *ModeResult {
	for i := range r.Modes {
		if r.Modes[i].Mode == name {
			return &r.Modes[i]
		}
	}
	return nil
}

func modeResult(pairs []pair) ModeResult {
	m := ModeResult{Reasons: reasons(pairs)}
	for _, p := range pairs {
		m.Runs = append(m.Runs, p.round())
	}
	m.PerOp = Values{
		Exits:       spread(m.Runs, average, func(r Round) float64 { return r.Exits }),
		KernelExits: kernelSpread(m.Runs),
		NS:          spread(m.Runs, median, func(r Round) float64 { return r.NS }),
		HostCPU:     spread(m.Runs, average, func(r Round) float64 { return r.HostCPU }),
		GuestCPU:    spread(m.Runs, average, func(r Round) float64 { return r.GuestCPU }),
		Memory:      spread(m.Runs, median, func(r Round) float64 { return r.Memory }),
	}
	return m
}

// round is what one operation took.
func (p pair) round() Round {
	n := float64(p.with.Ops)
	r := Round{
		Exits:    digits((float64(p.with.Stats.Exits.Total) - float64(p.without.Stats.Exits.Total)) / n),
		NS:       digits(float64(p.with.NS) / n),
		HostCPU:  digits(float64(p.with.HostCPU-p.without.HostCPU) / n),
		GuestCPU: digits(float64(p.with.GuestCPU-p.without.GuestCPU) / n),
		Memory:   float64(p.with.Stats.Memory.HostRSS),
	}
	if all := p.with.Stats.KVM["exits"]; len(all) > 0 {
		k := float64(all[0])
		if less := p.without.Stats.KVM["exits"]; len(less) > 0 {
			k -= float64(less[0])
		}
		k = digits(k / n)
		r.KernelExits = &k
	}
	return r
}

// reasons are the averages over all runs, the most frequent first.
func reasons(pairs []pair) []Reason {
	exits, ns, ops := map[string]float64{}, map[string]float64{}, 0.0
	for _, p := range pairs {
		ops += float64(p.with.Ops)
		addCounts(exits, p.with.Stats.Exits.ByReason, 1)
		addCounts(exits, p.without.Stats.Exits.ByReason, -1)
		addCounts(ns, p.with.Stats.Exits.HandlerNS, 1)
		addCounts(ns, p.without.Stats.Exits.HandlerNS, -1)
	}
	var list []Reason
	for _, name := range slices.Sorted(maps.Keys(exits)) {
		if exits[name] != 0 {
			list = append(list, Reason{name, digits(exits[name] / ops), digits(ns[name] / ops)})
		}
	}
	slices.SortStableFunc(list, func(a, b Reason) int { return cmp.Compare(b.Exits, a.Exits) })
	return list
}

func addCounts(sum map[string]float64, counts map[string]uint64, sign float64) {
	for name, n := range counts {
		sum[name] += sign * float64(n)
	}
}

func kernelSpread(runs []Round) *Spread {
	for _, r := range runs {
		if r.KernelExits == nil {
			return nil
		}
	}
	s := spread(runs, average, func(r Round) float64 { return *r.KernelExits })
	return &s
}

// ratios are those of the runs of one round, which followed one another.
func ratios(runs, base []Round) *Ratios {
	return &Ratios{
		Exits:       ratio(runs, base, None, func(r Round) float64 { return r.Exits }),
		KernelExits: kernelRatio(runs, base),
		NS:          ratio(runs, base, math.SmallestNonzeroFloat64, func(r Round) float64 { return r.NS }),
		CPU:         ratio(runs, base, math.SmallestNonzeroFloat64, Round.cpu),
	}
}

// kernelRatio is nil, too, where the kernel does not count.
func kernelRatio(runs, base []Round) *Spread {
	if kernelSpread(runs) == nil || kernelSpread(base) == nil {
		return nil
	}
	return ratio(runs, base, None, func(r Round) float64 { return *r.KernelExits })
}

// ratio is nil when one of the base's values is below least.
func ratio(runs, base []Round, least float64, of func(Round) float64) *Spread {
	var list []float64
	for i := range min(len(runs), len(base)) {
		if of(base[i]) < least {
			return nil
		}
		list = append(list, of(runs[i])/of(base[i]))
	}
	s := spread(list, median, func(v float64) float64 { return v })
	return &s
}

func spread[T any](list []T, middle func([]float64) float64, of func(T) float64) Spread {
	var v []float64
	for _, x := range list {
		v = append(v, of(x))
	}
	slices.Sort(v)
	return Spread{digits(middle(v)), digits(v[0]), digits(v[len(v)-1])}
}

// median is of a sorted list.
func median(v []float64) float64 { return (v[(len(v)-1)/2] + v[len(v)/2]) / 2 }

func average(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// digits keeps the six digits of v that can mean anything.
func digits(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	return v
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func kernelRelease() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(text))
}

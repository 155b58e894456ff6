package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pvrun/pvrun/hv"
)

// Ways that are compared.
var (
	modes   = Ways(nil, Modes)
	engines = Ways([]string{"kvm", "proc"}, Modes)
)

// fake is a Runner whose machines take what costs says.
type fake struct {
	runs int
	jobs []Job
	err  error
}

// cost is what one operation takes.
type cost struct {
	exits  map[string]uint64
	kernel uint64 // exits that end in the kernel
	ns     int64
}

var costs = map[string]map[string]cost{
	PV: {
		"clock":      {nil, 0, 42},
		"timer":      {map[string]uint64{"hypercall.block": 1}, 0, 1_130_000},
		"paging":     {map[string]uint64{"hypercall.protect": 1, "hypercall.unmap": 1}, 1, 97_000},
		"exceptions": {map[string]uint64{"fault.exception": 1}, 1, 43_000},
	},
	Trap: {
		"clock":      {nil, 0, 44},
		"timer":      {map[string]uint64{"trap.CLI": 3, "trap.STI": 3, "trap.HLT": 1, "trap.IRETQ": 1, "trap.WRMSR.tsc_deadline": 1, "trap.WRMSR.x2apic_eoi": 1}, 11, 1_480_000},
		"paging":     {map[string]uint64{"trap.CLI": 6, "trap.STI": 6, "trap.INVLPG": 2, "fault.page.shadow": 1}, 18, 590_000},
		"exceptions": {map[string]uint64{"fault.exception": 1, "trap.MOV_from_CR2": 1, "trap.IRETQ": 1, "trap.CLI": 2, "trap.STI": 2}, 8, 261_000},
	},
}

func (f *fake) Run(_ context.Context, j Job) (s Sample, err error) {
	f.jobs = append(f.jobs, j)
	if f.err != nil {
		return s, f.err
	}
	f.runs++
	wobble := uint64(f.runs % 3)
	start := map[string]uint64{"hypercall.map": 11, "hypercall.exit": 1, "hypercall.console_write": 1, "fault.page": 4 + wobble}
	if j.Mode == Trap {
		start = map[string]uint64{"trap.CLI": 120, "io.uart.thr": 23, "fault.page.shadow": 210 + wobble}
	}
	c := costs[j.Mode][j.Image]
	if j.Counts {
		s.Ops, _ = strconv.Atoi(j.Args[0])
		s.NS = int64(s.Ops) * (c.ns + c.ns/50*int64(wobble))
	}
	s.Stats = hv.Stats{Mode: j.Mode, Engine: "kvm", Backend: "kvm_fake", KVM: map[string][]uint64{}, Memory: hv.MemoryStats{HostRSS: 20 << 20}}
	s.Stats.Exits = hv.ExitStats{ByReason: start, HandlerNS: map[string]uint64{}}
	for name, n := range c.exits {
		start[name] += n * uint64(s.Ops)
	}
	for name, n := range start {
		s.Stats.Exits.Total += n
		s.Stats.Exits.HandlerNS[name] = n * 2500
	}
	s.Stats.KVM["exits"] = []uint64{s.Stats.Exits.Total + 140 + c.kernel*uint64(s.Ops)}
	if j.Engine == "proc" {
		s.Stats.Engine, s.Stats.Backend, s.Stats.KVM = "proc", "", nil
		s.NS /= 2
	}
	s.Stats.TimeNS.Total = 5_000_000 * int64(1+wobble)
	s.HostCPU, s.GuestCPU = time.Duration(8e6+s.NS/3), time.Duration(1e6+s.NS/4)
	return s, nil
}

// images makes the fake know a program by its image.
func images() map[string]string {
	list := map[string]string{}
	for _, w := range Workloads() {
		list[w.Program] = w.Program
	}
	return list
}

func report(t *testing.T, ways []Way, names ...string) *Report {
	t.Helper()
	list, err := Select(names)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(context.Background(), Config{
		Workloads: list, Images: images(), Ways: ways, Runs: 3, Runner: &fake{}, Progress: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Pvrun, r.CPU, r.CPUs, r.Kernel = "1.2.3", "A <fast> CPU", 2, "6.1.0"
	r.Summary = r.summary()
	return r
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (make golden writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// TestOutputs writes a report in all forms.
func TestOutputs(t *testing.T) {
	r := report(t, modes, "boot", "clock", "timer", "paging-4k", "exceptions")
	for name, write := range map[string]func(io.Writer) error{
		"both.txt": r.WriteTable, "both.json": r.WriteJSON, "both.bench": r.WriteBench, "both.html": r.WriteHTML,
		"one.txt":       report(t, []Way{{Mode: PV}}, "boot", "timer").WriteTable,
		"one.html":      report(t, []Way{{Mode: PV}}, "clock", "timer").WriteHTML,
		"engines.txt":   report(t, engines, "boot", "clock", "timer").WriteTable,
		"engines.html":  report(t, engines, "clock", "timer").WriteHTML,
		"engines.bench": report(t, engines, "timer").WriteBench,
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		golden(t, name, b.String())
	}
}

// TestWidth: a table fits into a terminal of 100 columns, with what is measured of
// all workloads and ranges as wide as they get. The engine's name takes a few more.
func TestWidth(t *testing.T) {
	testWidth(t, report(t, modes, Names()...), 100)
	testWidth(t, report(t, engines, Names()...), 108)
}

func testWidth(t *testing.T, r *Report, most int) {
	r.CPU = strings.Repeat("A long name ", 10)
	for i := range r.Workloads {
		for j := range r.Workloads[i].Modes {
			m := &r.Workloads[i].Modes[j]
			m.PerOp.NS, m.PerOp.HostCPU = Spread{154_000, 15_200, 1_160_000}, Spread{Value: -0.971}
			if m.Ratio != nil {
				m.Ratio.NS, m.Ratio.CPU = &Spread{24.45, 14.45, 28.55}, &Spread{1541, 1234, 1789}
			}
		}
	}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > most {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// A page loads nothing, and shows text as text.
func TestPageIsAlone(t *testing.T) {
	r := report(t, modes, "timer")
	r.Workloads[0].Name = `<script src="https://example.org/x.js">`
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"http:", "https://e", "src=", "<script", "<link", "@import", "url("} {
		text := strings.NewReplacer(escape(r.Workloads[0].Name), "", escape(short(r.Workloads[0].Name)), "").Replace(b.String())
		if strings.Contains(text, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
}

// A report that is read from JSON is the same.
func TestJSONKeepsAll(t *testing.T) {
	r := report(t, modes, "timer", "clock")
	var first, second bytes.Buffer
	if err := r.WriteJSON(&first); err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(first.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	if err := again.WriteJSON(&second); err != nil || second.String() != first.String() {
		t.Errorf("%v: got\n%s\nwant\n%s", err, second.String(), first.String())
	}
}

// TestSubtraction checks that the start is not in an operation, and that reasons
// add up to all exits.
func TestSubtraction(t *testing.T) {
	r := report(t, modes, "timer", "paging-4k", "exceptions", "clock")
	for _, w := range r.Workloads {
		for _, m := range w.Modes {
			sum := 0.0
			for _, x := range m.Reasons {
				sum += x.Exits
			}
			want := 0.0
			for _, n := range costs[m.Mode][strings.TrimSuffix(w.Name, "-4k")].exits {
				want += float64(n)
			}
			if got := m.PerOp.Exits.Value; !near(got, want) || !near(sum, got) {
				t.Errorf("%s in %s: %v exits, by reason %v; want %v", w.Name, m.Mode, got, sum, want)
			}
		}
	}
}

func near(a, b float64) bool { return a-b < None && b-a < None }

func TestRatios(t *testing.T) {
	r := report(t, modes, "timer", "clock", "boot")
	timer := r.Workloads[2].Mode(Trap).Ratio
	if timer == nil || timer.Exits == nil || !near(timer.Exits.Value/10, 1) || timer.KernelExits == nil || !near(timer.KernelExits.Value/21, 1) {
		t.Errorf("timer: got %+v", timer)
	}
	if clock := r.Workloads[1].Mode(Trap).Ratio; clock.Exits != nil || clock.NS == nil {
		t.Errorf("clock, which takes no exits: got %+v", clock)
	}
	if r.Workloads[0].Mode(PV).Ratio != nil {
		t.Error("pv has a ratio to itself")
	}
}

// TestJobs checks what is run, in which order.
func TestJobs(t *testing.T) {
	f := &fake{}
	list, _ := Select([]string{"paging-2m", "boot"})
	list = append(list, Image("mine", []string{"a"}))
	names := images()
	names[""] = "mine.img"
	var progress bytes.Buffer
	_, err := Run(context.Background(), Config{Workloads: list, Images: names, Ways: modes, Runs: 2, Runner: f, Progress: &progress})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, j := range f.jobs {
		got = append(got, fmt.Sprint(j.Image, " ", j.Mode, " ", j.Args, " ", j.Counts))
	}
	want := `hello pv [] false, hello trap [] false, hello pv [] false, hello trap [] false, ` +
		`paging pv [50 2097152] true, paging pv [0 2097152] true, paging trap [50 2097152] true, paging trap [0 2097152] true, ` +
		`paging pv [50 2097152] true, paging pv [0 2097152] true, paging trap [50 2097152] true, paging trap [0 2097152] true, ` +
		`mine.img pv [a] false, mine.img trap [a] false, mine.img pv [a] false, mine.img trap [a] false`
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
	if s := progress.String(); !strings.Contains(s, "[2/3] paging-2m .... ") {
		t.Errorf("progress: %q", s)
	}
}

func TestRunFails(t *testing.T) {
	list, _ := Select([]string{"clock"})
	cfg := Config{Workloads: list, Images: images(), Ways: modes, Runs: 1, Runner: &fake{err: errors.New("no machine")}, Progress: io.Discard}
	if _, err := Run(context.Background(), cfg); err == nil || err.Error() != "compare clock: in pv: no machine" {
		t.Errorf("got %v", err)
	}
	cfg.Runner = liar{}
	if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "2000000 operations were asked for and 7 were done") {
		t.Errorf("got %v", err)
	}
}

// liar is a Runner whose programs do not do what they are told.
type liar struct{}

func (liar) Run(context.Context, Job) (Sample, error) { return Sample{Ops: 7}, nil }

func TestSelect(t *testing.T) {
	for _, test := range []struct{ names, want string }{
		{"clock", "clock"}, {"console,boot,console", "boot,console"}, {"paging", "paging-4k,paging-2m"}, {"paging-2m", "paging-2m"},
		{"hello", "boot"}, {strings.Join(Names(), ","), strings.Join(Names(), ",")},
	} {
		list, err := Select(strings.Split(test.names, ","))
		var got []string
		for _, w := range list {
			got = append(got, w.Name)
		}
		if s := strings.Join(got, ","); err != nil || s != test.want {
			t.Errorf("%s: got %s, %v; want %s", test.names, s, err, test.want)
		}
	}
	for _, name := range []string{"", "x", "Clock"} {
		if _, err := Select([]string{"clock", name}); err == nil || !strings.Contains(err.Error(), "there are boot, clock") {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// Each workload says all that a page shows of it.
func TestWorkloadsAreWhole(t *testing.T) {
	for _, w := range Workloads() {
		for _, mode := range Modes {
			if b, ok := w.Fewest[mode]; !ok || b.Why == "" || b.Exits < 0 {
				t.Errorf("%s: no reason for the fewest exits in %s", w.Name, mode)
			}
		}
		if w.Operation == "" || !strings.HasSuffix(w.About, ".") || w.Program == "" {
			t.Errorf("%s: incomplete: %+v", w.Name, w)
		}
	}
}

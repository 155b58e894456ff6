package compare

import (
	"fmt"
	"io"
	"strings"
)

// WriteBench writes the report in Go's benchmark format, a line for each run,
// for benchstat: `benchstat -col /mode FILE`.
func (r *Report) WriteBench(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: linux\ngoarch: amd64\npkg: github.com/pvrun/pvrun/compare\ncpu: %s\nbackend: %s\n",
		r.CPU, r.Backend)
	if len(r.Engines) == 0 { // else each line names its own
		fmt.Fprintf(&b, "engine: %s\n", r.Engine)
	}
	for _, unit := range []string{"exits/op", "kernel-exits/op", "host-cpu-ns/op", "guest-cpu-ns/op"} {
		fmt.Fprintf(&b, "Unit %s better=lower\n", unit)
	}
	for _, res := range r.Workloads {
		for _, m := range res.Modes {
			for _, run := range m.Runs {
				res.benchLine(&b, &m, run)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) benchLine(w io.Writer, m *ModeResult, run Round) {
	name := "/mode=" + modeOf(m.Mode)
	if m.Engine != "" {
		name = "/engine=" + m.Engine + name
	}
	fmt.Fprintf(w, "Benchmark%s%s\t%d\t%v ns/op\t%v exits/op", BenchName(r.Name), name, r.Ops, run.NS, run.Exits)
	if run.KernelExits != nil {
		fmt.Fprintf(w, "\t%v kernel-exits/op", *run.KernelExits)
	}
	fmt.Fprintf(w, "\t%v host-cpu-ns/op\t%v guest-cpu-ns/op\n", run.HostCPU, run.GuestCPU)
}

// BenchName makes a benchmark's name of a workload's: "Paging4k". The format
// takes what follows a dash at the end for a number of CPUs, and ends a name at
// white space.
func BenchName(name string) string {
	var b strings.Builder
	up := true
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z' && up:
			b.WriteRune(c - 'a' + 'A')
			up = false
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			b.WriteRune(c)
			up = false
		default:
			up = true
		}
	}
	if b.Len() == 0 {
		return "Image"
	}
	return b.String()
}

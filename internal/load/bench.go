package load

import (
	"fmt"
	"io"
	"strings"

	"github.com/pvrun/pvrun/internal/compare"
)

// WriteBench writes the report as a line of Go's benchmark format, for benchstat. As
// for a benchmark with RunParallel, ns/op is the time of all over their number.
func (r Report) WriteBench(w io.Writer) error {
	var b strings.Builder
	for _, unit := range []string{"p50-ns", "p99-ns", "exits/op", "kernel-exits/op", "errors/op"} {
		fmt.Fprintf(&b, "Unit %s better=lower\n", unit)
	}
	fmt.Fprintf(&b, "Benchmark%s/isolation=%s/workers=%d", compare.BenchName(r.Program), r.Isolation, r.Workers)
	fmt.Fprintf(&b, "\t%d\t%.0f ns/op", r.Count, r.Seconds*1e9/float64(max(r.Count, 1)))
	if r.Count > r.Errors {
		fmt.Fprintf(&b, "\t%d p50-ns\t%d p99-ns", r.Latency.P50, r.Latency.P99)
	}
	r.benchExits(&b)
	fmt.Fprintf(&b, "\t%.4g errors/op\n", float64(r.Errors)/float64(max(r.Count, 1)))
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) benchExits(w io.Writer) {
	if r.Exits != nil {
		fmt.Fprintf(w, "\t%.4g exits/op", *r.Exits)
	}
	if r.KernelExits != nil {
		fmt.Fprintf(w, "\t%.4g kernel-exits/op", *r.KernelExits)
	}
}

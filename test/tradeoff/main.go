// Command tradeoff makes docs/trade-off.md, and a page with charts beside it,
// of what `pvrun compare -o json` has found in pv and trap. The text is that of
// trade-off.md.tmpl; all numbers come from the comparison.
//
//	pvrun compare -o json | go run ./test/tradeoff [-doc FILE] [-page FILE]
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/template"

	"github.com/pvrun/pvrun/internal/compare"
)

//go:embed trade-off.md.tmpl
var text string

func main() {
	doc := flag.String("doc", "docs/trade-off.md", "write the document to `FILE`")
	page := flag.String("page", "", "write the page to `FILE`")
	flag.Parse()
	if err := run(os.Stdin, *doc, *page); err != nil {
		fmt.Fprintln(os.Stderr, "tradeoff:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, doc, page string) error {
	var r compare.Report
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("read the comparison: %w", err)
	}
	var b bytes.Buffer
	if err := render(&b, &r); err != nil {
		return err
	}
	if err := os.WriteFile(doc, b.Bytes(), 0o644); err != nil || page == "" {
		return err
	}
	b.Reset()
	if err := r.WriteHTML(&b); err != nil {
		return err
	}
	return os.WriteFile(page, b.Bytes(), 0o644)
}

// render writes the document.
func render(w io.Writer, r *compare.Report) error {
	f := facts{r}
	t, err := template.New("trade-off").Funcs(template.FuncMap{
		"exits": f.exits, "kernel": f.kernel, "time": f.time, "cpu": f.cpu, "fewest": f.fewest, "reasons": f.reasons,
		"table": f.table, "ratios": f.ratios, "bounds": f.bounds, "row": f.row, "reach": f.reach,
		"join": func(list []string) string { return strings.Join(list, "\n\n") },
	}).Parse(text)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// facts are what the text asks for, by workload and mode. What has not been
// measured is an error: nobody shall fill it in by hand.
type facts struct{ r *compare.Report }

func (f facts) get(workload, mode string) (*compare.ModeResult, error) {
	for i := range f.r.Workloads {
		if w := &f.r.Workloads[i]; w.Name == workload && w.Mode(mode) != nil {
			return w.Mode(mode), nil
		}
	}
	return nil, fmt.Errorf("the comparison has no %s in %s", workload, mode)
}

// fact is a text of a workload in a mode.
func (f facts) fact(workload, mode string, of func(*compare.ModeResult) string) (string, error) {
	m, err := f.get(workload, mode)
	if err != nil {
		return "", err
	}
	return of(m), nil
}

func (f facts) exits(workload, mode string) (string, error) { return f.fact(workload, mode, exits) }
func (f facts) kernel(workload, mode string) (string, error) {
	return f.fact(workload, mode, kernel)
}
func (f facts) time(workload, mode string) (string, error) {
	return f.fact(workload, mode, func(m *compare.ModeResult) string { return compare.TimeText(m.PerOp.NS.Value) })
}
func (f facts) cpu(workload, mode string) (string, error) { return f.fact(workload, mode, cpu) }
func (f facts) fewest(workload, mode string) (string, error) {
	return f.fact(workload, mode, fewest)
}

// reasons are those that an operation comes out for, with how often.
func (f facts) reasons(workload, mode string) (string, error) {
	return f.fact(workload, mode, func(m *compare.ModeResult) string {
		var list []string
		for _, x := range m.Reasons {
			if x.Exits >= compare.None {
				list = append(list, fmt.Sprintf("%s × `%s`", compare.ExitsText(x.Exits), x.Name))
			}
		}
		if len(list) == 0 {
			return "none"
		}
		return strings.Join(list, ", ")
	})
}

func exits(m *compare.ModeResult) string {
	if m.PerOp.Exits.Value < compare.None {
		return "none"
	}
	return compare.ExitsText(m.PerOp.Exits.Value)
}

func kernel(m *compare.ModeResult) string {
	switch k := m.PerOp.KernelExits; {
	case k == nil:
		return "not counted"
	case k.Value < compare.None:
		return "none"
	default:
		return compare.ExitsText(k.Value)
	}
}

func cpu(m *compare.ModeResult) string {
	return compare.TimeText(m.PerOp.HostCPU.Value + m.PerOp.GuestCPU.Value)
}

func fewest(m *compare.ModeResult) string {
	if m.Fewest == nil {
		return "-"
	}
	return compare.ExitsText(m.Fewest.Exits)
}

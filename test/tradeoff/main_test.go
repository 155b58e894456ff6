package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/internal/compare"
)

// measured is a report with each built-in workload in both modes.
func measured() *compare.Report {
	r := &compare.Report{Engine: "kvm", Backend: "kvm_pvm", Modes: compare.Modes, Summary: []string{"In short.", "At length."}}
	for i, w := range compare.Workloads() {
		res := compare.Result{Name: w.Name, Operation: w.Operation}
		for j, mode := range compare.Modes {
			n := float64(i + 100*j)
			bound := w.Fewest[mode]
			m := compare.ModeResult{Mode: mode, Fewest: &bound, Reasons: []compare.Reason{{Name: "why." + mode, Exits: n}}}
			m.PerOp.Exits.Value, m.PerOp.NS.Value = n, 1000*n
			m.PerOp.KernelExits = &compare.Spread{Value: 2 * n}
			if mode == compare.Trap && i > 0 {
				m.Ratio = &compare.Ratios{Exits: &compare.Spread{Value: 7, Min: 6, Max: 8}}
			}
			res.Modes = append(res.Modes, m)
		}
		r.Workloads = append(r.Workloads, res)
	}
	return r
}

func TestDocument(t *testing.T) {
	text, err := json.Marshal(measured())
	if err != nil {
		t.Fatal(err)
	}
	doc, page := filepath.Join(t.TempDir(), "doc.md"), filepath.Join(t.TempDir(), "page.html")
	if err := run(bytes.NewReader(text), doc, page); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"In short.\n\nAt length.\n", "| **timer**: one sleep of 1 ms | 2 | 102 | 4 | 204 | 1 | 3 | 2 µs | 102 µs |\n",
		"| clock | 7x (6–8) | - | - | - |\n", "- trap: 102 × `why.trap`\n", "- pv: none\n", "in pv, of which pvrun sees 5.\n",
		"| timer: exits of trap/pv, 5 or more | 7x (6–8) | yes |\n", "| timer: kernel's count of trap/pv, 5 or more | - | **no** |\n",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "{{") || strings.Contains(string(got), "no value") {
		t.Errorf("got\n%s", got)
	}
	if text, err := os.ReadFile(page); err != nil || !bytes.HasPrefix(text, []byte("<!DOCTYPE html>")) {
		t.Errorf("the page: %v", err)
	}
}

// A document is not made of half a comparison.
func TestIncomplete(t *testing.T) {
	r := measured()
	r.Workloads = r.Workloads[:3]
	if err := render(&bytes.Buffer{}, r); err == nil || !strings.Contains(err.Error(), "the comparison has no threads in pv") {
		t.Errorf("got %v", err)
	}
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := run(strings.NewReader("{"), doc, ""); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(doc); err == nil {
		t.Error("a document was written")
	}
}

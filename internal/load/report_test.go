package load

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var got bytes.Buffer
	if err := write(&got); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got.String(), want)
	}
}

// milliseconds are the durations 1 to n ms, in another order each time.
func milliseconds(n int) (list []time.Duration) {
	for _, i := range rand.Perm(n) {
		list = append(list, time.Duration(i+1)*time.Millisecond)
	}
	return list
}

func TestPercentiles(t *testing.T) {
	for n, want := range map[int]Latency{
		0:    {},
		1:    {1, 1, 1, 1, 1},
		2:    {1, 1, 2, 2, 2},
		10:   {1, 5, 9, 10, 10},
		100:  {1, 50, 90, 99, 100},
		101:  {1, 51, 91, 100, 101},
		1000: {1, 500, 900, 990, 1000},
	} {
		r := Result{Latencies: milliseconds(n)}
		got := r.Report().Latency
		for _, v := range []*int64{&want.Min, &want.P50, &want.P90, &want.P99, &want.Max} {
			*v *= int64(time.Millisecond)
		}
		if got != want {
			t.Errorf("of %d: got %+v, want %+v", n, got, want)
		}
	}
}

// The percentile of p is one that p of the values do not exceed, and no smaller
// one is.
func TestPercentileMeaning(t *testing.T) {
	for range 200 {
		list := make([]time.Duration, 1+rand.IntN(50))
		for i := range list {
			list[i] = time.Duration(rand.IntN(20))
		}
		slices.Sort(list)
		p := rand.Float64() * 100
		got := percentile(list, p)
		upTo := func(d time.Duration) float64 { // as many do not exceed d
			n := 0
			for _, v := range list {
				if v <= d {
					n++
				}
			}
			return 100 * float64(n) / float64(len(list))
		}
		if !slices.Contains(list, got) || upTo(got) < p || got > list[0] && upTo(got-1) >= p {
			t.Fatalf("%v of %v: got %v", p, list, got)
		}
	}
}

func example() Report {
	r := Result{Latencies: milliseconds(998), Failures: map[string]int{"ended": 1, "timed out": 1}, Elapsed: 2 * time.Second}
	rep := r.Report()
	rep.Program, rep.Isolation, rep.Workers = "my-func", "invocation", 4
	exits, kernel := 4.25, 31.0
	rep.Exits, rep.KernelExits = &exits, &kernel
	return rep
}

func TestWrite(t *testing.T) {
	r := example()
	golden(t, "table", r.WriteTable)
	golden(t, "json", r.WriteJSON)
	golden(t, "bench", r.WriteBench)
}

// Where nothing was measured, nothing is told.
func TestWriteNothing(t *testing.T) {
	res := Result{Failures: map[string]int{"ended": 3}, Elapsed: time.Second}
	r := res.Report()
	r.Program, r.Isolation, r.Workers = "x", "fresh", 1
	golden(t, "none-table", r.WriteTable)
	golden(t, "none-json", r.WriteJSON)
	golden(t, "none-bench", r.WriteBench)
}

func TestSum(t *testing.T) {
	var s Sum
	if s.Exits(3) != nil || s.KernelExits(3) != nil {
		t.Error("no machine, but exits")
	}
	one := hv.Stats{Mode: "pv", Exits: hv.ExitStats{Total: 5, BeforeMain: 1, ByReason: map[string]uint64{"a": 2, "b": 3}}}
	one.KVM = map[string][]uint64{"exits": {7}, "histogram": {1, 2}}
	one.TimeNS.Total, one.Memory.Guest = 100, 64
	two := one
	two.Exits = hv.ExitStats{Total: 1, ByReason: map[string]uint64{"b": 1}}
	two.KVM = map[string][]uint64{"exits": {2}, "histogram": {0, 0, 4}}
	s.Add(one)
	s.Add(two)
	got := s.Stats
	if got.Exits.Total != 6 || got.Exits.BeforeMain != 1 || got.Exits.ByReason["a"] != 2 || got.Exits.ByReason["b"] != 4 {
		t.Errorf("exits: got %+v", got.Exits)
	}
	if !slices.Equal(got.KVM["histogram"], []uint64{1, 2, 4}) || got.TimeNS.Total != 200 || got.Memory.Guest != 64 || got.Mode != "pv" {
		t.Errorf("got %+v", got)
	}
	if one.Exits.ByReason["b"] != 3 || one.KVM["exits"][0] != 7 {
		t.Errorf("the first was changed: %+v", one)
	}
	if *s.Exits(4) != 1.5 || *s.KernelExits(3) != 3 || s.Machines != 2 {
		t.Errorf("got %v, %v exits", *s.Exits(4), *s.KernelExits(3))
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/pvrun/pvrun/hv"
)

// diskBenchmark is what is done with a disk. The same program works natively on the
// same file, which lies in the host's page cache for both: neither uses O_DIRECT, so
// what is compared is the way to the host and back, and for sync the host's disk.
type diskBenchmark struct {
	name  string
	kind  string // of images/blk
	bytes int
	depth int
	ops   int
	speed float64 // at least, of native's; 0: the latency counts
}

// latency is how much longer than natively one operation may take, in ns.
const latency = 60_000

// Exits of an operation when many are under way: those that pvrun sees, and all.
const (
	userExits = 0.1
	allExits  = 0.2
)

var diskBenchmarks = []diskBenchmark{
	{"DiskRead4k32", "read", 4096, 32, 100_000, 0.5},
	{"DiskWrite4k32", "write", 4096, 32, 100_000, 0.5},
	{"DiskRead4k1", "read", 4096, 1, 30_000, 0},
	{"DiskWrite4k1", "write", 4096, 1, 30_000, 0},
	{"DiskRead1m", "read", 1 << 20, 1, 1000, 0.7},
	{"DiskWrite1m", "write", 1 << 20, 1, 500, 0.7},
	{"DiskSync", "sync", 4096, 1, 200, 0},
}

// diskBytes is the size of the file.
const diskBytes = 64 << 20

// oneCPU confines a process and what it starts; half of what is to be reached with
// two CPUs is to be reached with one.
var oneCPU = []string{"taskset", "-c", "0"}

// runDisks compares with all CPUs, then with one.
func (s *suite) runDisks(pattern *regexp.Regexp) error {
	begun := false
	for _, on := range []struct {
		suffix string
		prefix []string
		factor float64
	}{{"", nil, 1}, {"OneCPU", oneCPU, 2}} {
		for _, b := range diskBenchmarks {
			b.name += on.suffix
			if !pattern.MatchString(b.name) {
				continue
			}
			if !begun {
				if err := s.prepareDisk(); err != nil {
					return err
				}
				begun = true
			}
			if err := s.compareDisk(b, on.prefix, on.factor); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
	}
	return nil
}

// prepareDisk makes the file and the program.
func (s *suite) prepareDisk() error {
	fmt.Println("disk: a file in the host's page cache, no O_DIRECT")
	if err := s.buildImage("blk"); err != nil {
		return err
	}
	return os.WriteFile(s.path("disk.img"), bytes.Repeat([]byte("contents"), diskBytes/8), 0o644)
}

// buildImage builds a program of images/, for both sides.
func (s *suite) buildImage(name string) error {
	for _, args := range [][]string{
		{"go", "build", "-C", "images", "-trimpath", "-o", s.path(name), "./" + name},
		{s.path("pvrun"), "build", "-o", s.path(name + ".img"), "./images/" + name},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// compareDisk has both sides work with the file.
func (s *suite) compareDisk(b diskBenchmark, prefix []string, factor float64) error {
	native := append([]string{s.path("blk")}, append(b.args(), s.path("disk.img"))...)
	guest := append([]string{"--disk", s.path("disk.img"), s.path("blk.img")}, b.args()...)
	return s.compareTimed(b, prefix, factor, func() ([]string, []string, error) { return native, guest, nil })
}

// compareTimed runs both sides in turn and prints a line for each: a command, and
// what pvrun run is told.
func (s *suite) compareTimed(b diskBenchmark, prefix []string, factor float64, sides func() (native, guest []string, err error)) error {
	var native, guest []sample
	for i := -1; i < s.runs; i++ { // the first of each warms the caches
		command, args, err := sides()
		if err != nil {
			return err
		}
		n, err := timed(prefix, command)
		if err != nil {
			return err
		}
		stats := s.path("stats.json")
		g, err := timed(prefix, append([]string{s.path("pvrun"), "run", "--stats", stats}, args...))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(stats)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &g.stats); err != nil {
			return err
		}
		if i >= 0 {
			native, guest = append(native, n), append(guest, g)
		}
	}
	b.report(native, guest, factor)
	return nil
}

func (b diskBenchmark) args() []string {
	return []string{strconv.Itoa(b.ops), b.kind, strconv.Itoa(b.bytes), strconv.Itoa(b.depth)}
}

// timed runs a program that prints its operations and their time.
func timed(prefix, command []string) (x sample, err error) {
	line := append(append([]string{}, prefix...), command...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return x, fmt.Errorf("%v: %w", line, err)
	}
	var ops, ns int64
	if _, err := fmt.Sscanf(string(out), "ops=%d ns=%d", &ops, &ns); err != nil || ops == 0 {
		return x, fmt.Errorf("%v printed %q", line, out)
	}
	x = usage(cmd)
	x.ops, x.ns = float64(ops), float64(ns)/float64(ops)
	return x, nil
}

// kernelExits are all exits as the kernel counts them.
func kernelExits(s *hv.Stats) (n float64) {
	for _, v := range s.KVM["exits"] {
		n += float64(v)
	}
	return n
}

// report prints both sides, and what is to be reached. With one CPU that is half:
// half the speed, twice the exits and the latency.
func (b diskBenchmark) report(native, guest []sample, factor float64) {
	ns := func(x sample) float64 { return x.ns }
	cpu := func(x sample) float64 { return x.cpu / x.ops }
	user := median(guest, func(x sample) float64 { return float64(x.stats.Exits.Total-x.stats.Exits.BeforeMain) / x.ops })
	all := median(guest, func(x sample) float64 { return kernelExits(&x.stats) / x.ops })
	base, took := median(native, ns), median(guest, ns)
	fmt.Printf("Benchmark%s/native\t%d\t%.0f ns/op\t%.0f cpu-ns/op\n", b.name, len(native), base, median(native, cpu))
	fmt.Printf("Benchmark%s/pvrun\t%d\t%.0f ns/op\t%.0f cpu-ns/op\t%.3f x-native\t%.4g exits/op\t%.4g kernel-exits/op\n",
		b.name, len(guest), took, median(guest, cpu), took/base, user, all)
	if b.kind == "sync" {
		return // what it costs is for the reader to see
	}
	if b.speed > 0 {
		b.reach("speed of native's, or more", base/took, b.speed/factor, base/took >= b.speed/factor)
	} else {
		b.reach("us longer than natively, or less", (took-base)/1000, latency/1000*factor, took-base <= latency*factor)
	}
	if b.depth > 1 {
		b.reach("exits/op, or less", user, userExits*factor, user <= userExits*factor)
		b.reach("kernel-exits/op, or less", all, allExits*factor, all <= allExits*factor)
	}
}

func (b diskBenchmark) reach(what string, got, want float64, met bool) {
	verdict := "NOT MET"
	if met {
		verdict = "met"
	}
	fmt.Printf("%-7s  %s: %.3g %s: %.3g\n", verdict, b.name, want, what, got)
}

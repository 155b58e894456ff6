package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// sample is one run of a program.
type sample struct {
	ns    float64 // an operation
	ops   float64
	cpu   float64 // ns of CPU time, user and system, guest included, per run
	rss   float64 // bytes, at the most
	stats hv.Stats
}

// engines are what machines run on, where it can be used, with the names of their rows.
// What a guest's process has used of CPU time and memory is not pvrun's.
func engines() [][2]string {
	list := [][2]string{{hv.EngineProc, "process"}}
	if hv.KVMUsable() == nil {
		list = append([][2]string{{hv.EngineKVM, "pvrun"}}, list...)
	}
	return list
}

// compare runs all sides in turn and prints a line for each.
func (s *suite) compare(b benchmark) error {
	var native []sample
	guests := make([][]sample, len(engines()))
	for i := -1; i < s.runs; i++ { // the first of each warms the caches
		n, err := s.native(b)
		if err != nil {
			return err
		}
		if i >= 0 {
			native = append(native, n)
		}
		for k, engine := range engines() {
			g, err := s.guest(b, engine[0])
			if err != nil {
				return err
			}
			if i >= 0 {
				guests[k] = append(guests[k], g)
			}
		}
	}
	base := median(native, func(x sample) float64 { return x.ns })
	report(b, "native", native, base, false)
	for k, engine := range engines() {
		report(b, engine[1], guests[k], base, true)
	}
	return nil
}

func (s *suite) native(b benchmark) (sample, error) {
	cmd := exec.Command(s.path(b.program), b.args()...)
	cmd.Env = []string{"GOMAXPROCS=1"}
	return measure(cmd, b)
}

func (s *suite) guest(b benchmark, engine string) (sample, error) {
	args := []string{"run", "--engine", engine}
	if b.memory != "" {
		args = append(args, "-m", b.memory)
	}
	stats := s.path("stats.json")
	counted := append(slices.Clone(args), "--stats", stats, s.path(b.program+".img"))
	// Statistics cost time, so they are taken in a run of their own.
	if out, err := exec.Command(s.path("pvrun"), append(counted, b.args()...)...).CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, out)
	}
	cmd := exec.Command(s.path("pvrun"), append(append(args, s.path(b.program+".img")), b.args()...)...)
	x, err := measure(cmd, b)
	if err != nil {
		return x, err
	}
	text, err := os.ReadFile(stats)
	if err != nil {
		return x, err
	}
	return x, json.Unmarshal(text, &x.stats)
}

func (b benchmark) args() []string {
	if b.arg == "" {
		return nil
	}
	return []string{b.arg}
}

func measure(cmd *exec.Cmd, b benchmark) (sample, error) {
	if b.wall {
		return measureWall(cmd)
	}
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	f := strings.Fields(string(out))
	if len(f) != 3 {
		return sample{}, fmt.Errorf("%v printed %q", cmd.Args, out)
	}
	x := usage(cmd)
	if x.ns, err = strconv.ParseFloat(f[1], 64); err != nil {
		return x, err
	}
	x.ops, err = strconv.ParseFloat(f[2], 64)
	return x, err
}

// measureWall times a process from fork to exit. Its output goes nowhere: a
// pipe and who reads it would be measured too.
func measureWall(cmd *exec.Cmd) (sample, error) {
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return sample{}, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	x := usage(cmd)
	x.ns, x.ops = float64(wall), 1
	return x, nil
}

func usage(cmd *exec.Cmd) sample {
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return sample{cpu: float64(ru.Utime.Nano() + ru.Stime.Nano()), rss: float64(ru.Maxrss) * 1024}
}

func report(b benchmark, side string, list []sample, base float64, guest bool) {
	ns := median(list, func(x sample) float64 { return x.ns })
	line := fmt.Sprintf("Benchmark%s/%s\t%d\t%.0f ns/op\t%.0f cpu-ns/run\t%.1f rss-MiB", b.name, side, len(list), ns,
		median(list, func(x sample) float64 { return x.cpu }), median(list, func(x sample) float64 { return x.rss })/(1<<20))
	if guest {
		line += fmt.Sprintf("\t%.3f x-native\t%.4g exits/op\t%.0f exits/run\t%.0f exits-before-main",
			ns/base,
			median(list, func(x sample) float64 { return float64(x.stats.Exits.Total-x.stats.Exits.BeforeMain) / x.ops }),
			median(list, func(x sample) float64 { return float64(x.stats.Exits.Total) }),
			median(list, func(x sample) float64 { return float64(x.stats.Exits.BeforeMain) }))
	}
	fmt.Println(line)
}

func median(list []sample, of func(sample) float64) float64 {
	v := make([]float64, len(list))
	for i, x := range list {
		v[i] = of(x)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

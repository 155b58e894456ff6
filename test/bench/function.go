package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"time"

	"github.com/pvrun/pvrun/internal/load"
)

// functionSide is a way to have one program answer messages, one at a time.
type functionSide struct {
	name  string
	count int // messages of a run
	// run sends them; what it returns is for one message.
	run func(s *suite, count int) (invoked, error)
}

// invoked is what a run was: the latency of a message, and what else is known.
type invoked struct {
	load.Report
	cpu float64 // ns of CPU time for a message
}

// functionSides are told beside one another. Native is a process for each message:
// fork and exec of the same handler, with the message on stdin.
var functionSides = []functionSide{
	{"process", 200, (*suite).processes},
	{"instance", 5000, func(s *suite, n int) (invoked, error) { return s.pool(n, "--isolation", "instance") }},
	{"rewound", 5000, func(s *suite, n int) (invoked, error) { return s.pool(n) }},
	{"fresh", 200, func(s *suite, n int) (invoked, error) { return s.pool(n, "--fresh") }},
	{"restore", 20, func(s *suite, n int) (invoked, error) { return s.each(n, s.path("greets.snap")) }},
	{"boot", 20, func(s *suite, n int) (invoked, error) { return s.each(n, s.path("greets.img")) }},
}

const (
	greetMessage  = `{"name": "you"}`
	greetResponse = "hello you\n"
)

func (s *suite) runFunctions(pattern *regexp.Regexp) error {
	sides := slices.DeleteFunc(slices.Clone(functionSides), func(f functionSide) bool {
		return !pattern.MatchString("FunctionInvoke/" + f.name)
	})
	if len(sides) == 0 {
		return nil
	}
	if err := s.buildFunction(); err != nil {
		return err
	}
	results := make([][]invoked, len(sides))
	for i := -1; i < s.runs; i++ { // the first of each warms the caches
		for k, side := range sides {
			got, err := side.run(s, side.count)
			if err != nil {
				return fmt.Errorf("FunctionInvoke/%s: %w", side.name, err)
			}
			if i >= 0 {
				results[k] = append(results[k], got)
			}
		}
	}
	for k, side := range sides {
		reportInvoked("FunctionInvoke", side.name, results[k], results[0], sides[0].name)
	}
	return nil
}

func (s *suite) buildFunction() error {
	const dir = "test/function/programs"
	for _, args := range [][]string{
		{"go", "build", "-C", dir, "-trimpath", "-o", s.path("greets"), "./greets"},
		{s.path("pvrun"), "build", "-o", s.path("greets.img"), "./" + dir + "/greets"},
		{s.path("pvrun"), "snapshot", "-f", "-o", s.path("greets.snap"), s.path("greets.img")},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// pool has one pvrun send all messages, as flags say.
func (s *suite) pool(count int, flags ...string) (got invoked, err error) {
	args := append([]string{"invoke", s.path("greets.snap"), "-d", greetMessage, "-n", fmt.Sprint(count), "-o", "json"}, flags...)
	cmd := exec.Command(s.path("pvrun"), args...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return got, err
	}
	got.cpu = usage(cmd).cpu / float64(count)
	return got, json.Unmarshal(text, &got.Report)
}

// each has a pvrun of its own for each message.
func (s *suite) each(count int, target string) (invoked, error) {
	return commands(count, func() *exec.Cmd {
		return exec.Command(s.path("pvrun"), "invoke", target, "-d", greetMessage)
	})
}

func (s *suite) processes(count int) (invoked, error) {
	return commands(count, func() *exec.Cmd {
		cmd := exec.Command(s.path("greets"))
		cmd.Stdin = bytes.NewReader([]byte(greetMessage))
		return cmd
	})
}

// commands times processes from fork until their response is there.
func commands(count int, command func() *exec.Cmd) (got invoked, err error) {
	var res load.Result
	all := time.Now()
	for range count {
		cmd := command()
		begun := time.Now()
		out, err := cmd.Output()
		took := time.Since(begun)
		if err != nil || string(out) != greetResponse {
			return got, fmt.Errorf("%v: %v: %q", cmd.Args, err, out)
		}
		res.Latencies = append(res.Latencies, took)
		got.cpu += usage(cmd).cpu / float64(count)
	}
	res.Elapsed = time.Since(all)
	got.Report = res.Report()
	return got, nil
}

// report prints medians over the runs. The times are those until the response is
// there; what is done between two messages is in the number a second.
func reportInvoked(group, name string, list, base []invoked, baseName string) {
	p50 := func(r invoked) float64 { return float64(r.Latency.P50) }
	fmt.Printf("Benchmark%s/%s\t%d\t%.0f ns/op\t%.0f p99-ns\t%.4g op/s\t%.0f cpu-ns/op",
		group, name, len(list), middle(list, p50), middle(list, func(r invoked) float64 { return float64(r.Latency.P99) }),
		middle(list, func(r invoked) float64 { return r.PerSecond }), middle(list, func(r invoked) float64 { return r.cpu }))
	if name != baseName {
		fmt.Printf("\t%.4g x-%s", middle(list, p50)/middle(base, p50), baseName)
	}
	if list[0].Exits != nil {
		fmt.Printf("\t%.4g exits/op", middle(list, func(r invoked) float64 { return *r.Exits }))
	}
	if list[0].KernelExits != nil {
		fmt.Printf("\t%.4g kernel-exits/op", middle(list, func(r invoked) float64 { return *r.KernelExits }))
	}
	fmt.Println()
}

// middle is the median.
func middle(list []invoked, of func(invoked) float64) float64 {
	var v []float64
	for _, r := range list {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

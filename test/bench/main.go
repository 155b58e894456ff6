// Command bench compares programs in a pvrun machine with the same programs on
// the host, alternating in one run, and prints medians in Go's benchmark
// format. Absolute times drift with the machine; the ratios ("x-native") are
// what to look at.
//
// Then databases on a folder of the host's, disks, with all CPUs and with one, what
// netstack adds to a program's start and image, web servers on networks, messages to
// functions, the standard library's own benchmarks, compared by benchstat, and the
// modes of a machine, by pvrun compare.
//
//	go run ./test/bench [-n runs] [-run regexp] [-keep dir]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/compare"
)

func main() {
	n := flag.Int("n", 11, "runs of each side; the median is printed")
	only := flag.String("run", "", "only benchmarks whose name matches; the standard library's are std/strings and so on, the modes' compare")
	keep := flag.String("keep", "", "leave the standard library's results in `DIR`, for other ways to look at them")
	flag.Parse()
	if err := run(*n, *only, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(n int, only, keep string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pvrun-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := suite{dir: dir, runs: n}
	if err := s.build(); err != nil {
		return err
	}
	printHeader(n)
	for _, b := range benchmarks {
		if !pattern.MatchString(b.name) {
			continue
		}
		if err := s.compare(b); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	if err := s.runDatabases(pattern); err != nil {
		return err
	}
	if err := s.runDisks(pattern); err != nil {
		return err
	}
	if err := s.runNetstack(pattern); err != nil {
		return err
	}
	if err := s.runNetworks(pattern); err != nil {
		return err
	}
	if err := s.runFunctions(pattern); err != nil {
		return err
	}
	if err := s.runServe(pattern); err != nil {
		return err
	}
	if err := s.runClones(pattern); err != nil {
		return err
	}
	if err := s.runPackages(pattern, keep); err != nil || !pattern.MatchString("compare") {
		return err
	}
	return s.compareModes()
}

// compareModes tells what an operation costs in each mode of a machine, and whether
// that is what was to be reached.
func (s *suite) compareModes() error {
	fmt.Println()
	cmd := exec.Command(s.path("pvrun"), "compare", "-o", "json")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("pvrun compare: %w", err)
	}
	var r compare.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("pvrun compare: %w", err)
	}
	if err := r.WriteTable(os.Stdout); err != nil {
		return err
	}
	return r.WriteReach(os.Stdout)
}

// benchmark is one row: a program's arguments and what to report of it.
type benchmark struct {
	name    string
	program string // hello or work
	arg     string
	memory  string
	wall    bool // measure exec to exit, not what the program says
}

var benchmarks = []benchmark{
	{name: "HelloExecToExit", program: "hello", wall: true},
	{name: "Primes", program: "work", arg: "primes"},
	{name: "JSON", program: "work", arg: "json"},
	{name: "SHA256", program: "work", arg: "sha256"},
	{name: "Regexp", program: "work", arg: "regexp"},
	{name: "PingPong", program: "work", arg: "pingpong"},
	{name: "Mutex", program: "work", arg: "mutex"},
	{name: "GC32MiB", program: "work", arg: "gc", memory: "256m"},
	{name: "TimeNow", program: "work", arg: "now"},
	{name: "FirstTouch64MiB", program: "work", arg: "touch", memory: "256m"},
	{name: "Sleep1ms", program: "work", arg: "sleep"},
}

// suite is the built programs.
type suite struct {
	dir  string
	runs int
}

func (s *suite) path(name string) string { return filepath.Join(s.dir, name) }

func (s *suite) build() error {
	steps := [][]string{
		{"go", "build", "-o", s.path("pvrun"), "./cmd/pvrun"},
		{"go", "build", "-C", "cmd/pvrun-net", "-o", s.path("pvrun-net"), "."},
		{"go", "build", "-trimpath", "-o", s.path("work"), "./test/bench/work"},
		{"go", "build", "-C", "images", "-trimpath", "-o", s.path("hello"), "./hello"},
		{s.path("pvrun"), "build", "-o", s.path("work.img"), "./test/bench/work"},
		{s.path("pvrun"), "build", "-o", s.path("hello.img"), "./images/hello"},
	}
	for _, args := range steps {
		cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func printHeader(n int) {
	fmt.Printf("goos: %s\ngoarch: %s\npkg: github.com/pvrun/pvrun/test/bench\ncpu: %s\n",
		runtime.GOOS, runtime.GOARCH, cpuModel())
	thp, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	fmt.Printf("backend: %s\nthp: %s\nmedian-of: %d\n", hv.Backend(), strings.TrimSpace(string(thp)), n)
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(b), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

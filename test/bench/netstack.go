package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What netstack may add to the smallest web server: ms until it listens, and MiB of its
// image.
const (
	netstackStart = 4
	netstackImage = 4
)

// startSide is one of four that are compared: two programs, each in a machine and
// natively. What the one with net/http takes longer in a machine than natively, beyond
// what the other does, is netstack's.
type startSide struct {
	program string // of test/bench
	guest   bool
	times   []startTimes
	file    int64 // bytes
	loaded  int64 // of these, what comes into memory
}

// startTimes are ns since the process was started.
type startTimes struct{ toMain, toListen, toEnd float64 }

func (s *suite) runNetstack(pattern *regexp.Regexp) error {
	if !pattern.MatchString("StartNetstack") {
		return nil
	}
	sides := []*startSide{{program: "hello"}, {program: "hello", guest: true}, {program: "hellohttp"}, {program: "hellohttp", guest: true}}
	for _, x := range sides {
		if err := s.buildStart(x); err != nil {
			return err
		}
	}
	for i := -1; i < s.runs; i++ { // the first of each warms the caches
		for _, x := range sides {
			t, err := s.startOnce(x)
			if err != nil {
				return err
			}
			if i >= 0 {
				x.times = append(x.times, t)
			}
		}
	}
	for _, x := range sides {
		x.report()
	}
	inits, err := s.netstackInits(sides[3])
	if err != nil {
		return err
	}
	reportNetstack(sides, inits)
	return nil
}

// netstackInits is what the stack's packages do before main, in ns. The rest of what it
// adds is that the image is larger: more to load, more pages to be touched.
func (s *suite) netstackInits(x *startSide) (ns float64, err error) {
	var list []sample
	for range s.runs {
		cmd := exec.Command(s.path("pvrun"), "run", "--net", "none", "-e", "GODEBUG=inittrace=1", s.startFile(x))
		var trace strings.Builder
		cmd.Stderr = &trace
		if err := cmd.Run(); err != nil {
			return 0, fmt.Errorf("%v: %w", cmd.Args, err)
		}
		var sum float64
		for _, found := range stackInit.FindAllStringSubmatch(trace.String(), -1) {
			ms, err := strconv.ParseFloat(found[1], 64)
			if err != nil {
				return 0, err
			}
			sum += ms * 1e6
		}
		list = append(list, sample{ns: sum})
	}
	return median(list, func(x sample) float64 { return x.ns }), nil
}

// stackInit is a line of GODEBUG=inittrace=1.
var stackInit = regexp.MustCompile(`(?m)^init pvrun/(?:mod/|guest/socket )\S* ?@\S+ ms, (\S+) ms clock`)

// startFile is where a side's program lies.
func (s *suite) startFile(x *startSide) string {
	if x.guest {
		return s.path("start-" + x.program + ".img")
	}
	return s.path("start-" + x.program)
}

func (s *suite) buildStart(x *startSide) error {
	args := []string{"go", "build", "-trimpath"}
	if x.guest {
		args = []string{s.path("pvrun"), "build"}
	}
	file := s.startFile(x)
	cmd := exec.Command(args[0], append(args[1:], "-o", file, "./test/bench/"+x.program)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	x.file = info.Size()
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			x.loaded += int64(p.Filesz)
		}
	}
	return nil
}

// startOnce runs a program whose output goes to a file: whoever reads a pipe would be
// measured too.
func (s *suite) startOnce(x *startSide) (t startTimes, err error) {
	cmd := exec.Command(s.startFile(x))
	cmd.Env = []string{"GOMAXPROCS=1"}
	if x.guest {
		cmd = exec.Command(s.path("pvrun"), "run", "--net", "none", s.startFile(x))
	}
	out, err := os.Create(s.path("start.txt"))
	if err != nil {
		return t, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return t, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	t.toEnd = float64(time.Since(began))
	text, err := os.ReadFile(out.Name())
	if err != nil {
		return t, err
	}
	return t, t.parse(began, string(text))
}

// parse reads when main began and, of a program that does, when it listened.
func (t *startTimes) parse(began time.Time, text string) error {
	words := strings.Fields(text)
	if len(words) != 1 && len(words) != 2 {
		return fmt.Errorf("a program printed %q", text)
	}
	var at [2]float64
	for i := range at {
		ns, err := strconv.ParseInt(words[min(i, len(words)-1)], 10, 64)
		if err != nil {
			return fmt.Errorf("a program printed %q", text)
		}
		at[i] = float64(time.Unix(0, ns).Sub(began))
	}
	t.toMain, t.toListen = at[0], at[1]
	return nil
}

func (x *startSide) report() {
	name := map[bool]string{false: "native", true: "pvrun"}[x.guest]
	fmt.Printf("BenchmarkStart_%s/%s\t%d\t%.0f ns/op\t%.0f ns-to-main\t%.0f ns-to-listen\t%d file-bytes\t%d loaded-bytes\n",
		x.program, name, len(x.times), medianStart(x.times, func(t startTimes) float64 { return t.toEnd }),
		medianStart(x.times, func(t startTimes) float64 { return t.toMain }),
		medianStart(x.times, func(t startTimes) float64 { return t.toListen }), x.file, x.loaded)
}

// reportNetstack prints what is left of the differences: the median of the rounds'.
func reportNetstack(sides []*startSide, inits float64) {
	rounds := make([]startTimes, len(sides[0].times))
	for i := range rounds {
		of := func(f func(startTimes) float64) float64 {
			return beyond(f(sides[0].times[i]), f(sides[1].times[i]), f(sides[2].times[i]), f(sides[3].times[i]))
		}
		rounds[i] = startTimes{
			of(func(t startTimes) float64 { return t.toMain }),
			of(func(t startTimes) float64 { return t.toListen }),
			of(func(t startTimes) float64 { return t.toEnd }),
		}
	}
	file := beyond(sides[0].file, sides[1].file, sides[2].file, sides[3].file)
	loaded := beyond(sides[0].loaded, sides[1].loaded, sides[2].loaded, sides[3].loaded)
	listen := medianStart(rounds, func(t startTimes) float64 { return t.toListen })
	fmt.Printf("BenchmarkStartNetstack\t%d\t%.0f ns/op\t%.0f ns-to-main\t%.0f ns-to-listen\t%.0f ns-init\t%d file-bytes\t%d loaded-bytes\n",
		len(rounds), medianStart(rounds, func(t startTimes) float64 { return t.toEnd }),
		medianStart(rounds, func(t startTimes) float64 { return t.toMain }), listen, inits, file, loaded)
	b := diskBenchmark{name: "StartNetstack"}
	b.reach("ms until it listens, or less", listen/1e6, netstackStart, listen <= netstackStart*1e6)
	b.reach("MiB of the image's file, or less", float64(file)/(1<<20), netstackImage, file <= netstackImage<<20)
	b.reach("MiB of it that are loaded, or less", float64(loaded)/(1<<20), netstackImage, loaded <= netstackImage<<20)
}

// beyond is what a program with net adds in a machine beyond what it adds natively.
func beyond[T int64 | float64](plain, plainGuest, net, netGuest T) T {
	return netGuest - plainGuest - (net - plain)
}

func medianStart(list []startTimes, of func(startTimes) float64) float64 {
	all := make([]sample, len(list))
	for i, t := range list {
		all[i].ns = of(t)
	}
	return median(all, func(x sample) float64 { return x.ns })
}

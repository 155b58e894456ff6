package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// clones is how many machines of one snapshot are alive at once.
const clones = 1000

// clonesInWorkers is how many there are at once in the workers of pvrun-serve; fewer when
// the host's memory gets short.
const clonesInWorkers = 10_000

// runClones makes many machines of one snapshot, in this process and then in workers, and
// has all of them answer, twice.
func (s *suite) runClones(pattern *regexp.Regexp) error {
	here, workers := pattern.MatchString("FunctionClones/process"), pattern.MatchString("FunctionClones/workers")
	if !here && !workers {
		return nil
	}
	if err := s.buildFunction(); err != nil {
		return err
	}
	if here {
		if err := s.clonesHere(); err != nil {
			return err
		}
	}
	if !workers {
		return nil
	}
	return s.clonesInWorkers()
}

// clonesInWorkers has the benchmark of pvrun-serve's package worker do it.
func (s *suite) clonesInWorkers() error {
	cmd := exec.Command("go", "test", "-C", "cmd/pvrun-serve", "-run", "^$", "-bench", "^BenchmarkClones$", "-benchtime", "1x",
		"-timeout", "30m", "./worker", "-clones", strconv.Itoa(clonesInWorkers), "-snapshot", s.path("greets.snap"),
		"-ask", greetMessage, "-answer", strings.TrimSpace(greetResponse))
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("FunctionClones/workers: %w\n%s", err, text)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "BenchmarkClones"); ok {
			fmt.Print("BenchmarkFunctionClones/workers", rest)
		}
	}
	return nil
}

// clonesHere tells what each takes of the host's memory: of all that there is, and as
// memory of this process that no other machine shares; and how long the last ones took.
func (s *suite) clonesHere() error {
	snap, err := hv.OpenSnapshot(s.path("greets.snap"))
	if err != nil {
		return err
	}
	defer snap.Close()
	available, private := memoryNumbers()
	var list []*hv.VM
	defer func() {
		for _, vm := range list {
			vm.Close()
		}
	}()
	begun := time.Now()
	var late time.Time // the last 100 are to come
	for range clones {
		if len(list) == clones-100 {
			late = time.Now()
		}
		vm, err := snap.New(hv.Clone{})
		if err != nil {
			return fmt.Errorf("clone %d: %w", len(list), err)
		}
		list = append(list, vm)
		if err := greet(vm); err != nil {
			return fmt.Errorf("clone %d: %w", len(list), err)
		}
	}
	made, last := time.Since(begun), time.Since(late)
	begun = time.Now()
	for _, vm := range list {
		if err := vm.Rewind(); err != nil {
			return err
		}
		if err := greet(vm); err != nil {
			return err
		}
	}
	again := time.Since(begun)
	availableNow, privateNow := memoryNumbers()
	fmt.Printf("BenchmarkFunctionClones/process\t%d\t%d ns/op\t%d beside-900-ns/clone\t%d again-ns/op\t%.3f MiB/clone\t%.3f private-MiB/clone\n",
		clones, made.Nanoseconds()/clones, last.Nanoseconds()/100, again.Nanoseconds()/clones,
		float64(available-availableNow)/clones/(1<<20), float64(privateNow-private)/clones/(1<<20))
	return nil
}

func greet(vm *hv.VM) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := vm.Invoke(ctx, []byte(greetMessage))
	if err == nil && string(r.Data) != greetResponse {
		err = fmt.Errorf("response %q", r.Data)
	}
	return err
}

// memoryNumbers are the bytes that the host has available, and those of this process
// that are nobody else's.
func memoryNumbers() (available, private int64) {
	return field("/proc/meminfo", "MemAvailable:"), field("/proc/self/status", "RssAnon:")
}

// field is a number of kibibytes in a file of /proc, in bytes.
func field(path, name string) (n int64) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name); ok {
			fmt.Sscan(text, &n)
		}
	}
	return n << 10
}

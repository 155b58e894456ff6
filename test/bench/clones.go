package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/pvrun/pvrun/hv"
)

// clones is how many machines of one snapshot are alive at once.
const clones = 1000

// runClones makes many machines of one snapshot, has all of them answer, twice, and
// tells what each takes of the host's memory: of all that there is, and as memory of
// this process that no other machine shares.
func (s *suite) runClones(pattern *regexp.Regexp) error {
	if !pattern.MatchString("FunctionClones") {
		return nil
	}
	if err := s.buildFunction(); err != nil {
		return err
	}
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
	for range clones {
		vm, err := snap.New(hv.Clone{})
		if err != nil {
			return fmt.Errorf("clone %d: %w", len(list), err)
		}
		list = append(list, vm)
		if err := greet(vm); err != nil {
			return fmt.Errorf("clone %d: %w", len(list), err)
		}
	}
	made := time.Since(begun)
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
	fmt.Printf("BenchmarkFunctionClones\t%d\t%d ns/op\t%d again-ns/op\t%.3f MiB/clone\t%.3f private-MiB/clone\n",
		clones, made.Nanoseconds()/clones, again.Nanoseconds()/clones,
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

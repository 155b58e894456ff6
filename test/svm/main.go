// Svm runs tests that need KVM on a second back end of it: Debian's kernel with kvm-amd,
// in a PC whose processor with SVM QEMU emulates. That PC has no other way to run guests,
// so nothing of it depends on the KVM of this machine, which need not even have one.
//
//	go run ./test/svm [-short] [-suite DIR] [-run PATTERN] [-v]
//
// It runs in the root of the sources and leaves what it makes in out/svm. What QEMU runs
// it runs slowly: right and wrong mean something there, times do not.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pvrun/pvrun/test/svm/plan"
)

// options are the flags.
type options struct {
	short, verbose bool
	suite, pattern string
	limit          time.Duration
	cpus           int
	dir            string
}

func main() {
	var o options
	flag.BoolVar(&o.short, "short", false, "run the short choice of tests")
	flag.BoolVar(&o.verbose, "v", false, "show the tests' output")
	flag.StringVar(&o.suite, "suite", "", "run the tests of this folder only")
	flag.StringVar(&o.pattern, "run", "", "run tests whose names match")
	flag.DurationVar(&o.limit, "limit", time.Hour, "how long the machine may run")
	flag.IntVar(&o.cpus, "cpus", 1, "the machine's processors")
	flag.StringVar(&o.dir, "dir", "out/svm", "for what is made")
	flag.Parse()
	ok, err := test(o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "svm:", err)
	}
	if err != nil || !ok {
		fmt.Println("kvm-amd, emulated: FAILED")
		os.Exit(1)
	}
	fmt.Println("kvm-amd, emulated: ok")
}

func test(o options, out io.Writer) (ok bool, err error) {
	if err := installEmulator(); err != nil {
		return false, err
	}
	k, err := fetchKernel(filepath.Join(o.dir, "kernel"))
	if err != nil {
		return false, err
	}
	shell, err := fetchShell(filepath.Join(o.dir, "busybox"))
	if err != nil {
		return false, err
	}
	b, err := newBuilder(o.dir)
	if err != nil {
		return false, err
	}
	all, err := os.Create(filepath.Join(o.dir, "output.txt"))
	if err != nil {
		return false, err
	}
	defer all.Close()
	v := &verdict{out: out, all: all}
	if o.verbose {
		v.all = io.MultiWriter(all, out)
	}
	p, err := b.plan(o, v)
	if err != nil {
		return false, err
	}
	m := machine{
		kernel: k.image, initrd: filepath.Join(o.dir, "initramfs.cpio"), disk: filepath.Join(o.dir, "disk"),
		console: filepath.Join(o.dir, "console.txt"),
		limit:   o.limit, memory: 4096, cpus: o.cpus,
	}
	if err := pack(k, shell, p, b, m.initrd); err != nil {
		return false, err
	}
	defer os.Remove(m.initrd)
	defer os.Remove(m.disk)
	if err := makeDisk(m.disk); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "booting %s with kvm-amd in %s\n", filepath.Base(k.image), emulator)
	machineErr := m.run(v.line)
	complaint, err := m.complaint()
	if err != nil {
		return false, err
	}
	return v.finish(machineErr, complaint), nil
}

// plan builds what the chosen suites need.
func (b *builder) plan(o options, v *verdict) (p plan.Plan, err error) {
	for _, s := range suites {
		if o.suite != "" && o.suite != s.dir {
			continue
		}
		pattern := o.pattern
		if o.short {
			if s.short == nil {
				continue
			}
			if s = s.shortened(); pattern == "" {
				pattern = s.short.tests
			}
		}
		tests, err := b.suite(s, pattern)
		if err != nil {
			return p, err
		}
		if len(tests) == 0 {
			continue
		}
		p.Suites = append(p.Suites, s.planned(tests, o.limit*2/3))
		v.expect = append(v.expect, expected{suite: s, tests: tests})
	}
	if len(p.Suites) == 0 {
		return p, fmt.Errorf("no test of that name")
	}
	return p, nil
}

// suite builds what a suite needs and returns the names of its tests.
func (b *builder) suite(s suite, pattern string) ([]string, error) {
	file, err := b.tests(s.dir)
	if err != nil {
		return nil, err
	}
	names, err := list(s.dir, file)
	if err != nil {
		return nil, err
	}
	if names, err = s.selected(names, pattern); err != nil || len(names) == 0 {
		return nil, err
	}
	for _, dir := range s.programs {
		if _, err := b.program(dir); err != nil {
			return nil, err
		}
	}
	for _, dir := range s.images {
		if err := b.image(dir); err != nil {
			return nil, err
		}
	}
	return names, nil
}

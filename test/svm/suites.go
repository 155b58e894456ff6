package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pvrun/pvrun/test/svm/plan"
)

// suite is the tests of a package and what they need to have been built.
type suite struct {
	dir      string
	images   []string // folders of programs
	programs []string // the same, to run natively
	short    *choice  // nil for none in a short run
	// Tests, and parts of tests, that are left out, and why.
	without map[string]string
	// Tests, or parts of tests, that may say that they skip, and why.
	skips map[string]string
}

// choice is what a short run has of a suite.
type choice struct {
	tests            string // a pattern
	images, programs []string
}

// shortened is the suite of a short run.
func (s suite) shortened() suite {
	s.images, s.programs = s.short.images, s.short.programs
	return s
}

const (
	noGo      = "runs the go command"
	noProcess = "QEMU 7.2 reads the stack of an IRETQ at CPL 3 as the supervisor does, which SMAP forbids"
)

var suites = []suite{
	{dir: "hv/kvm", short: &choice{}},
	{
		dir: "hv",
		images: []string{
			"test/function/web", "test/function/recall", "test/function/asks", "test/function/pipe", "test/function/caller", "test/bench/work", "test/e2e/programs/rest", "images/blk",
		},
		short: &choice{
			tests: "^(TestMeasure|TestPagemap|TestTripleFault|TestLoadedTables|TestDefect|TestModes|TestBlockWakeups|TestHostFileHoles|" +
				"TestNetTAP|TestCloneNastyArguments|TestRewindAfterMuch|TestOwnMemory|TestSnapshotFile|TestRestIdle)$",
			images: []string{"test/function/recall", "test/e2e/programs/rest"},
		},
		without: map[string]string{
			"TestMeasureProcess": noProcess, "TestTablesApart": noProcess, "TestTablesFillMemory": noProcess,
		},
	},
	{dir: "test/guests", images: []string{"test/guests/prog"}, short: &choice{
		tests: "^(TestLivePageTables|TestFlags|TestInsideHypercallPage|TestStackNowhere|TestMaskedExceptions|TestEventStorms|" +
			"TestBlock|TestBlockBad|TestFileMap|TestUnknownCalls|TestExitCodes|TestGoInside)$",
		images: []string{"test/guests/prog"},
	}, without: map[string]string{
		"TestAlignmentCheck": "QEMU 7.2 emulates no #AC",
		"TestLockedRet":      "QEMU 7.2 takes LOCK RET for RET",
		"TestTrapOpcodes":    "QEMU 7.2 itself ends in it, by SIGSEGV",

		"TestInstructions/WRGSBASE_of_nonsense": "QEMU 7.2 takes any address for a base",
		"TestInstructions/WRFSBASE_of_nonsense": "QEMU 7.2 takes any address for a base",
		"TestInstructions/FXRSTOR_of_junk":      "QEMU 7.2 takes any MXCSR",
	}},
	{
		dir: "test/e2e",
		programs: []string{
			"images/hello", "images/markdown", "images/wordcount", "images/primes", "images/script",
			"images/clock", "images/console", "images/exceptions", "images/gc", "images/paging", "images/threads", "images/timer",
			"test/e2e/programs/cases", "test/e2e/programs/syscalls", "test/e2e/programs/sockets", "test/e2e/programs/zeros",
		},
		images: []string{
			"images/hello", "images/markdown", "images/wordcount", "images/primes", "images/script",
			"images/clock", "images/console", "images/exceptions", "images/gc", "images/paging", "images/threads", "images/timer",
			"images/fn-hello", "images/fn-markdown", "images/fn-image", "images/fn-sql",
			"test/e2e/programs/cases", "test/e2e/programs/syscalls", "test/e2e/programs/sockets", "test/e2e/programs/zeros",
			"test/e2e/programs/function", "test/e2e/programs/exchange",
		},
		without: map[string]string{
			"TestBadPackages": noGo, "TestNoGoCommand": noGo, "TestRunOfAPackage": noGo, "TestPlainGo": noGo,
			"TestGoTest": noGo, "TestGoTestCoverPackages": noGo, "TestGoTestEnds": noGo, "TestGoTestFiles": noGo,
			"TestGoTestWritable": noGo, "TestGoTestImages": noGo,
			"TestCPUProfile": noGo, "TestOtherProfiles": noGo, "TestExecutionTrace": noGo, "TestTimeZones": noGo,
			"TestCompare": noGo, "TestCompareAnImage": noGo, "TestCompareInterrupted": noGo,
		},
		short: &choice{
			tests:    "^(TestHandle|TestFunctionHello|TestZeros|TestSyscallInstructions)$",
			images:   []string{"test/e2e/programs/function", "images/fn-hello", "test/e2e/programs/zeros", "test/e2e/programs/syscalls"},
			programs: []string{"test/e2e/programs/zeros", "test/e2e/programs/syscalls"},
		},
	},
	{dir: "test/function", images: []string{
		"test/function/programs/cases", "test/function/programs/greets", "test/function/programs/listens",
	}},
	{dir: "test/network", images: []string{
		"images/httpd", "images/client", "images/grpc", "images/proxy", "test/network/greedy",
	}},
}

// selected is the names of those tests that are to run.
func (s suite) selected(names []string, pattern string) ([]string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	for name := range s.without {
		if top, _, _ := strings.Cut(name, "/"); !slices.Contains(names, top) {
			return nil, fmt.Errorf("%s has no %s to leave out", s.dir, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, out := s.without[name]
		return out || !re.MatchString(name)
	}), nil
}

// planned is how the machine runs tests of a suite.
func (s suite) planned(tests []string, timeout time.Duration) plan.Suite {
	dir := path.Join(sources, s.dir)
	var parts []string
	for name := range s.without {
		if top, part, ok := strings.Cut(name, "/"); ok {
			parts = append(parts, "^"+top+"$/^"+part+"$")
		}
	}
	args := []string{
		path.Join(dir, "built", path.Base(s.dir)+".test"),
		"-test.v=test2json", "-test.timeout=" + timeout.String(), "-test.run=^(" + strings.Join(tests, "|") + ")$",
	}
	if len(parts) > 0 {
		args = append(args, "-test.skip="+strings.Join(parts, "|"))
	}
	return plan.Suite{
		Name: s.dir,
		Dir:  dir,
		Args: args,
		Env:  []string{"PVRUN_KVM=must", "PVRUN_BUILT=yes", "PVRUN_SLOW=yes"},
	}
}

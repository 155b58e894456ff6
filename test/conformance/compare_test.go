package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// made is a result from words: TestX passes, TestX:fail=text fails.
func made(words ...string) *result {
	r := newResult()
	r.Rounds = 1
	for _, w := range words {
		name, how, bad := strings.Cut(w, ":")
		if !bad {
			r.Passed = append(r.Passed, name)
			continue
		}
		st, text, _ := strings.Cut(how, "=")
		r.Other[name] = verdict{Status: status(st), Output: text + "\n"}
	}
	return r
}

func broken(r *result, text string) *result {
	r.Broken = text
	return r
}

const (
	noExec = "fork/exec: processes are not available in a pvrun unikernel"
	oneCPU = "net_test.go:1: skipping on uniprocessor"
)

func TestCompare(t *testing.T) {
	k := newKnown([]exclusion{{"p", "TestKnown", "cpus", "one is not enough"}, {"p", "TestGood", "bug", "mended"}})
	for _, c := range []struct {
		name         string
		native, here *result
		counts       string // passed/native failed skipped, subtests
		gaps         string
		complete     int // 2: even without the exception for exec
	}{
		{"all", made("TestA", "TestA/x", "TestS:skip"), made("TestA", "TestA/x", "TestS"), "1/1 0 0, 1/1", "", 2},
		{"fails", made("TestA", "TestB"), made("TestA", "TestB:fail=x_test.go:1: no"), "1/2 1 0, 0/0", "TestB fail unexplained x_test.go:1: no", 0},
		{"fails on both", made("TestA", "TestB:fail"), made("TestA", "TestB:fail"), "1/1 0 0, 0/0", "", 2},
		{"skips", made("TestA"), made("TestA:skip=" + noExec), "0/1 0 1, 0/0", "TestA skip exec " + noExec, 1},
		{"a subtest skips", made("TestA", "TestA/x", "TestA/y"), made("TestA", "TestA/x", "TestA/y:skip="+noExec), "0/1 0 1, 1/2", "TestA [TestA/y] skip exec " + noExec, 1},
		{"a subtest skips on both", made("TestA", "TestA/x:skip"), made("TestA", "TestA/x:skip"), "1/1 0 0, 0/0", "", 2},
		{"a subtest panics, its parent says it", made("TestA", "TestA/x"), made("TestA:fail=panic: no", "TestA/x:fail"), "0/1 1 0, 0/1", "TestA [TestA/x] fail unexplained panic: no", 0},
		{"subtests with and without a reason", made("TestA", "TestA/x", "TestA/y"),
			made("TestA:fail", "TestA/x:fail="+noExec, "TestA/y:fail=a.go:1: bad", "TestA/y/z:fail=a.go:2: worse"), "0/1 1 0, 0/2", "TestA [TestA/x TestA/y/z] fail unexplained a.go:2: worse", 0},
		{"known", made("TestKnown"), made("TestKnown:fail=x"), "0/1 1 0, 0/0", "TestKnown fail cpus x (one is not enough)", 0},
		{"down", made("TestA", "TestB"), made("TestA:down=pvrun: fault", "TestB"), "1/2 1 0, 0/0", "TestA down unexplained pvrun: fault", 0},
		{"does not run", made("TestA", "TestB"), made("TestA"), "1/2 1 0, 0/0", "TestB fail unexplained it did not run", 0},
		{"is not built", made("TestA", "TestB"), broken(made(), "is not built: x"), "0/2 2 0, 0/0", "(package) fail unexplained is not built: x", 0},
		{"leaks", made("TestA"), broken(made("TestA"), "fails although no test does: x"), "1/1 0 0, 0/0", "(package) fail unexplained fails although no test does: x", 0},
	} {
		got := compare(unit{pkg: "p", name: "p"}, c.native, c.here, k)
		counts := fmt.Sprintf("%d/%d %d %d, %d/%d", got.passed, got.native, got.failed, got.skipped, got.subs, got.nativeSubs)
		if counts != c.counts {
			t.Errorf("%s: got %s, want %s", c.name, counts, c.counts)
		}
		var gaps []string
		for _, g := range got.gaps {
			gaps = append(gaps, show(g))
		}
		if s := strings.Join(gaps, "; "); s != c.gaps {
			t.Errorf("%s: got gaps %s, want %s", c.name, s, c.gaps)
		}
		if n := got.complete + got.completeButExec; n != c.complete {
			t.Errorf("%s: complete: got %d, want %d", c.name, n, c.complete)
		}
	}
	if stale := k.stale(); len(stale) != 1 || stale[0].test != "TestGood" {
		t.Errorf("exclusions that nothing needs: got %v", stale)
	}
}

func show(g gap) string {
	s := g.test
	if len(g.subtests) > 0 {
		s += fmt.Sprint(" ", g.subtests)
	}
	s += fmt.Sprintf(" %s %s %s", g.status, g.capability, g.line)
	if g.note != "" {
		s += " (" + g.note + ")"
	}
	return s
}

func TestReport(t *testing.T) {
	k := newKnown([]exclusion{{"os", "TestB", "cpus", "needs two"}, {"fmt", "TestA", "bug", "was one"}})
	var all []comparison
	add := func(section, group, pkg, name string, n, h *result) {
		all = append(all, compare(unit{section: section, group: group, pkg: pkg, name: name}, n, h, k))
	}
	add("std", "fmt", "fmt", "fmt", made("TestA", "TestA/x", "ExampleF"), made("TestA", "TestA/x", "ExampleF"))
	add("std", "net", "net", "net", made("TestD", "TestE"), made("TestD:skip="+oneCPU, "TestE"))
	add("std", "os", "os", "os", made("TestA", "TestB", "TestC", "TestC/x", "TestC/y", "TestN:fail=os_test.go:1: natively"),
		made("TestA:fail="+noExec, "TestB:skip=os_test.go:2: `one` | two", "TestC:down=panic: at 0xc000123456", "TestC/x:fail", "TestC/y:fail"))
	add("std", "io", "io", "io", made("TestA"), nil)
	add("goroot", "test/chan", "test/chan", "chan/a.go", made("a.go"), made("a.go"))
	add("goroot", "test/chan", "test/chan", "chan/b.go", made("b.go"), made("b.go:fail=exit code 2"))
	add("modules", "example.com/m", "example.com/m/p", "example.com/m/p", made("TestA"), broken(made(), "is not built: no"))
	add("modules", "example.com/m", "example.com/m/net", "example.com/m/net", made("TestA"), made("TestA:skip="+oneCPU))
	all[0].seconds, all[0].nativeSeconds = 2.25, 1
	r := &report{about: "go1.26.8", sections: parts(all), stale: k.stale(), notRun: []string{"std io"}, otherKey: 2}
	golden(t, "report.golden", (&lab{goroot: "/usr/lib/go", out: "/out"}).scrub(r.render()))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s, which -update writes anew: %s", name, strings.Replace(differ(got, string(want)), "of its output", "differs", 1))
	}
}

func TestPercent(t *testing.T) {
	for want, n := range map[string][2]int{"-": {0, 0}, "99.9 %": {9999, 10000}, "100.0 %": {3, 3}, "66.6 %": {2, 3}} {
		if got := percent(n[0], n[1]); got != want {
			t.Errorf("%d of %d: got %s, want %s", n[0], n[1], got, want)
		}
	}
}

func TestScrub(t *testing.T) {
	l := &lab{goroot: "/opt/go", out: "/x/out/conformance"}
	got := l.scrub("/opt/go/src/a.go /any/cache/pvrun/goroot/go1.26.8-0123abcd/src/b.go ../../../../opt/go/test/c.go /x/out/conformance/m/c.go 0xc0001234 10.1.2.3:53")
	if want := "$GOROOT/src/a.go $GOROOT/src/b.go $GOROOT/test/c.go m/c.go 0x… 10.…:53"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSample(t *testing.T) {
	l, err := newLab(t.Context(), t.TempDir(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	units, err := stdUnits(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, u := range units {
		have[u.name] = true
	}
	for _, name := range sampled {
		if !have[name] {
			t.Errorf("%s has no tests", name)
		}
	}
}

func TestJudge(t *testing.T) {
	k := newKnown([]exclusion{{"p", "TestKnown", "bug", "x"}})
	for _, c := range []struct {
		here *result
		ok   bool
		want string
	}{
		{made("TestA", "TestS:skip"), true, "sample: 1 packages, 1 tests passed, 1 skipped, 0 failed as expected, 0 failed; 1s\n"},
		{made("TestA:fail="+noExec, "TestKnown:down"), true, "sample: 1 packages, 0 tests passed, 0 skipped, 2 failed as expected, 0 failed; 1s\n"},
		{made("TestA", "TestB:fail=b"), false, "FAIL p TestB: b\nsample: 1 packages, 1 tests passed, 0 skipped, 0 failed as expected, 1 failed; 1s\n"},
		{broken(made(), "is not built: x"), false, "FAIL p (package): is not built: x\nsample: 1 packages, 0 tests passed, 0 skipped, 0 failed as expected, 1 failed; 1s\n"},
	} {
		var text strings.Builder
		err := judge([]unit{{pkg: "p"}}, []*result{c.here}, k, time.Second, &text)
		if (err == nil) != c.ok || text.String() != c.want {
			t.Errorf("got %v and %q, want %q", err, text.String(), c.want)
		}
	}
}

func TestCode(t *testing.T) {
	for text, want := range map[string]string{"": "", " a|b`c\t\r\n": "`a\\|b'c`", "x\x00y\x1b": "`x\uFFFDy\uFFFD`"} {
		if got := code(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

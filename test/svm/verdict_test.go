package main

import (
	"errors"
	"strings"
	"testing"
)

// good is what a machine says when all is well.
const good = `@begin hv
|` + "\x16" + `=== RUN   TestA
|` + "\x16" + `=== RUN   TestA/part
|    a line of the test's
|` + "\x16" + `    --- PASS: TestA/part (0.00s)
|` + "\x16" + `--- PASS: TestA (0.00s)
|` + "\x16" + `=== RUN   TestB
|no end of line` + "\x16" + `--- PASS: TestB (0.00s)
|` + "\x16" + `=== RUN   TestS
|    s_test.go:1: not here
|` + "\x16" + `--- SKIP: TestS (0.00s)
|PASS
@end hv 3 ok
@done
`

// TestVerdict: what is not known to be well is wrong.
func TestVerdict(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, test := range []struct {
		name, said string
		machine    error
		complaint  string
		want       string // "" for all well
	}{
		{"good", good, nil, "", ""},
		{"carriage returns", strings.ReplaceAll(good, "\n", "\r\n"), nil, "", ""},
		{"nothing", "", nil, "", "hv: not begun"},
		{"failed", change("PASS: TestB", "FAIL: TestB"), nil, "", "hv: TestB failed\n    no end of line"},
		{"failed part", change("PASS: TestA/part", "FAIL: TestA/part"), nil, "", "hv: TestA/part failed\n        a line"},
		{"no result", change("\x16--- PASS: TestB (0.00s)", ""), nil, "", "hv: no result of TestB"},
		{"a test that only says so", change("\x16--- PASS: TestB", "--- PASS: TestB"), nil, "", "hv: no result of TestB"},
		{"unknown skip", change("PASS: TestB", "SKIP: TestB"), nil, "", "hv: TestB skips"},
		{"exit status", change("3 ok", "3 exit status 2"), nil, "", "hv: exit status 2"},
		{"not ended", good[:strings.Index(good, "@end")], nil, "", "hv: not ended"},
		{"not done", change("@done\n", ""), nil, "", "the machine ended before its work was done"},
		{"not set up", "@failed module kvm-amd\n", nil, "", "the machine says: @failed module kvm-amd"},
		{"hangs", good, errors.New("not ready after 1h0m0s"), "", "not ready after 1h"},
		{"kernel", good, nil, "Kernel panic", "the machine's kernel says: Kernel panic"},
	} {
		var out, all strings.Builder
		v := &verdict{out: &out, all: &all}
		v.expect = []expected{{suite: suite{dir: "hv", skips: map[string]string{"TestS": "known"}}, tests: []string{"TestA", "TestB", "TestS"}}}
		for line := range strings.Lines(test.said) {
			v.line(line)
		}
		ok := v.finish(test.machine, test.complaint)
		if ok != (test.want == "") || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: %v, want %q in\n%s", test.name, ok, test.want, &out)
		}
	}
}

// TestTrouble: the kernel's words for what is wrong with it.
func TestTrouble(t *testing.T) {
	for text, want := range map[string]string{
		"a\n[    3.1] Kernel panic - not syncing: x\nb": "[    3.1] Kernel panic - not syncing: x",
		"[ 1.0] BUG: unable to handle page fault":       "[ 1.0] BUG: unable to handle page fault",
		"[ 1.0] reboot: Restarting system":              "",
	} {
		if got := string(trouble.Find([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestSelected: tests are left out by name, with a reason.
func TestSelected(t *testing.T) {
	s := suite{without: map[string]string{"TestB": noGo}}
	got, err := s.selected([]string{"TestA", "TestB", "TestAB", "TestC"}, "^TestA|B")
	if err != nil || strings.Join(got, " ") != "TestA TestAB" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.selected([]string{"TestB"}, "("); err == nil {
		t.Error("a bad pattern is taken")
	}
	if _, err := s.selected([]string{"TestA"}, ""); err == nil {
		t.Error("a name that is none is left out")
	}
	for _, s := range suites {
		for name, why := range s.without {
			if !strings.HasPrefix(name, "Test") || why == "" {
				t.Errorf("%s: %s is left out: %q", s.dir, name, why)
			}
		}
	}
}

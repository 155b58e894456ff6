package main

import "testing"

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name   string
		status status
		output string
		line   string
		capability
	}{
		{"exec", fail, "    x_test.go:1: starting\n    x_test.go:2: fork/exec /bin/true: processes are not available in a pvrun unikernel\n",
			"    x_test.go:2: fork/exec /bin/true: processes are not available in a pvrun unikernel", needsExec},
		{"testenv", skip, "    x_test.go:3: skipping test: cannot exec subprocess on linux/amd64: no\n",
			"    x_test.go:3: skipping test: cannot exec subprocess on linux/amd64: no", needsExec},
		{"no such program", skip, "    x_test.go:3: exec: \"ssh\": executable file not found in $PATH\n",
			"    x_test.go:3: exec: \"ssh\": executable file not found in $PATH", needsExec},
		{"one CPU", skip, "    x_test.go:3: skipping: GOMAXPROCS=1\n", "    x_test.go:3: skipping: GOMAXPROCS=1", "cpus"},
		{"many CPUs", fail, "    x_test.go:3: with GOMAXPROCS=16 it is bad\n", "x_test.go:3: with GOMAXPROCS=16 it is bad", unexplained},
		{"an error", fail, "some output\n    x_test.go:7: got 1, want 2\n    x_test.go:9: more\n", "x_test.go:7: got 1, want 2", unexplained},
		{"two lines", fail, "    x_test.go:7: got:\n        1\n", "x_test.go:7: got: 1", unexplained},
		{"a colon", fail, "got:\nhi\nwant:\nho\n", "got: hi", unexplained},
		{"a panic", fail, "    x_test.go:7: fine so far\npanic: boom\n\ngoroutine 1\n", "panic: boom", unexplained},
		{"a fault", down, "x\npvrun: run p.test: guest fault: #UD\n", "pvrun: run p.test: guest fault: #UD", unexplained},
		{"a skip", skip, "    x_test.go:7: looking\n    x_test.go:9: no such thing\n", "x_test.go:9: no such thing", unexplained},
		{"a bare skip", skip, "\n", "", unexplained},
		{"like exec", fail, "    x_test.go:7: exec: not found\n", "x_test.go:7: exec: not found", unexplained},
	} {
		line, need := explain(c.status, c.output)
		if line != c.line || need != c.capability {
			t.Errorf("%s: got %q, %s; want %q, %s", c.name, line, need, c.line, c.capability)
		}
	}
}

func TestExclusionsFile(t *testing.T) {
	list, err := parseExclusions(exclusionsText)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range list {
		if name := e.pkg + " " + e.test; seen[name] {
			t.Errorf("exclusions.txt: %s is there twice", name)
		} else {
			seen[name] = true
		}
	}
}

func TestParseExclusions(t *testing.T) {
	list, err := parseExclusions("# why\n\nos TestX exec it starts one\nos Test* files  not there \n")
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v", list, err)
	}
	if want := (exclusion{"os", "Test*", "files", "not there"}); list[1] != want {
		t.Errorf("got %v, want %v", list[1], want)
	}
	for _, bad := range []string{"os TestX exec", "os TestX nothing it is", "os Test[ exec it is", "os"} {
		if list, err := parseExclusions(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, list)
		}
	}
}

func TestKnown(t *testing.T) {
	k := newKnown([]exclusion{{"os", "TestX", "exec", ""}, {"os", "TestF*", "files", ""}, {"io", "TestY", "exec", ""}})
	for _, c := range []struct {
		pkg, test string
		want      capability
	}{{"os", "TestX", "exec"}, {"os", "TestXY", ""}, {"io", "TestX", ""}} {
		if e, _ := k.find(c.pkg, c.test); e.capability != c.want {
			t.Errorf("%s %s: got %q, want %q", c.pkg, c.test, e.capability, c.want)
		}
	}
	k.seen["os"] = true
	if stale := k.stale(); len(stale) != 1 || stale[0].test != "TestF*" {
		t.Errorf("got %v, want what of package os was not found", stale)
	}
}

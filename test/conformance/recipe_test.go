package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseRecipe(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"// run\n\n// Copyright\n\npackage main", "run [] [] []"},
		{"// run arg1 'two words'\npackage main", "run [] [arg1 two words] []"},
		{"// run b.go c.go x d.go\npackage main", "run [] [x d.go] [] [b.go c.go]"},
		{"// run -gcflags='all=-N -l'\n\npackage main", "run [-gcflags=all=-N -l] [] []"},
		{"// run -gcflags -l=4\n\npackage main", "run [-gcflags=-l=4] [] []"},
		{"// run -goexperiment fieldtrack -ldflags -k=x\n\npackage main", "run [-ldflags=-k=x] [] [GOEXPERIMENT=fieldtrack]"},
		{"// buildrun -t 10 -gcflags=-d=x\n\npackage main", "buildrun [-gcflags=-d=x] [] []"},
		{"// runindir -gomodversion \"1.23\"\n\npackage ignored", "runindir [] [] [] 1.23"},
		{"// rundir -s -l=4\n\npackage ignored", "rundir [-l=4] [] [] single"},
		{"//go:build linux && gc\n\n// run\n\npackage main", "run [] [] []"},
		{"// run\n\n//go:build !windows && go1.20\n\npackage main", "run [] [] []"},
		{"// run\n\n//go:build windows\n\npackage main", "left out"},
		{"//go:build cgo\n\n// run\n\npackage main", "left out"},
		{"\npackage main // run", "left out"},
		{"// run -t\n\npackage main", "run [] [] []"},
	} {
		r, ok := parseRecipe(c.text)
		got := fmt.Sprint(r.action, " ", r.flags, " ", r.args, " ", r.env)
		if len(r.files) > 0 {
			got += fmt.Sprint(" ", r.files)
		}
		if r.goMod != "" {
			got += " " + r.goMod
		}
		if r.single {
			got += " single"
		}
		if !ok {
			got = "left out"
		}
		if got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
}

func TestGoFlags(t *testing.T) {
	for _, c := range []struct {
		action string
		flags  []string
		want   string
	}{
		{"run", nil, "-buildvcs=false"},
		{"run", []string{"-race", "-gcflags=all=-N -l"}, "-buildvcs=false -race '-gcflags=all=-N -l'"},
		{"rundir", []string{"-l=4", "-w"}, "-buildvcs=false '-gcflags=test/...=-l=4 -w'"},
		{"rundir", []string{"-ldflags=-w=0"}, "-buildvcs=false -ldflags=-w=0"},
	} {
		r := recipe{action: c.action, flags: c.flags}
		if got := r.goFlags(); got != c.want {
			t.Errorf("%s %q: got %s, want %s", c.action, c.flags, got, c.want)
		}
	}
}

// tree writes files, NAME: TEXT each, below a new folder.
func tree(t *testing.T, files ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, f := range files {
		name, text, _ := strings.Cut(f, ": ")
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Native trials of each kind of program, from the sources to the verdict.
func TestTrial(t *testing.T) {
	const hello = "\n\npackage main\n\nfunc main() { println(\"hello\") }\n"
	root := tree(t,
		"hello.go: // run"+hello, "hello.out: hello\n",
		"talks.go: // run"+hello,
		"wrong.go: // run"+hello, "wrong.out: hallo\n",
		"exits.go: // run\n\npackage main\n\nimport \"os\"\n\nfunc main() { os.Exit(len(os.Args)) }\n",
		"args.go: // run a b\n\npackage main\n\nimport \"os\"\n\nfunc main() { os.Exit(len(os.Args) - 3) }\n",
		"two.go: // run two2.go\n\npackage main\n\nfunc main() { f() }\n", "two2.go: package main\n\nfunc f() {}\n",
		"bad.go: // run\n\npackage main\n\nfunc main() { x }\n",
		"dir.go: // rundir\n\npackage ignored", "dir.out: 3\n",
		"dir.dir/a.go: package a\n\nconst A = 1\n", "dir.dir/a2.go: package a\n\nconst B = 2\n",
		"dir.dir/p_test.go: package main\n\nimport \"./a\"\n\nfunc main() { println(a.A + a.B) }\n",
		"in.go: // runindir\n\npackage ignored",
		"in.dir/main.go: package main\n\nimport \"in.dir/p\"\n\nfunc main() { p.F() }\n",
		"in.dir/p/p.go: package p\n\nfunc F() {}\n",
	)
	l, err := newLab(t.Context(), t.TempDir(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"hello.go": "pass", "args.go": "pass", "dir.go": "pass", "two.go": "pass", "in.go": "pass",
		"talks.go": `line 1 of its output: got "hello", want ""`,
		"wrong.go": `line 1 of its output: got "hello", want "hallo"`,
		"exits.go": "exit code 1:",
		"bad.go":   "undefined: x",
	} {
		p, ok, err := readProgram(root, file)
		if err != nil || !ok {
			t.Fatalf("%s: got %v, %v", file, ok, err)
		}
		res, err := l.programUnit(p).run(t.Context(), native, budget{most: buildTime})
		if err != nil {
			t.Fatal(err)
		}
		got := telling(res.Other[file].Output)
		if slices.Equal(res.Passed, []string{file}) {
			got = "pass"
		}
		if !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(l.out, "goroot", "work-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestPrune(t *testing.T) {
	l := &lab{out: tree(t, "cache/pvrun/link/old/image: x", "cache/pvrun/link/new/image: x", "cache/pvrun/goroot/go1/x: x")}
	link := filepath.Join(l.cache(), "pvrun", "link")
	hourAgo := time.Now().Add(-time.Hour)
	for _, dir := range []string{filepath.Join(link, "old"), filepath.Join(l.cache(), "pvrun", "goroot", "go1")} {
		if err := os.Chtimes(dir, hourAgo, hourAgo); err != nil {
			t.Fatal(err)
		}
	}
	l.prune(time.Now().Add(-time.Minute))
	var left []string
	for _, dir := range []string{"goroot/go1", "link/new", "link/old"} {
		if _, err := os.Stat(filepath.Join(l.cache(), "pvrun", dir)); err == nil {
			left = append(left, dir)
		}
	}
	if got, want := strings.Join(left, " "), "goroot/go1 link/new"; got != want {
		t.Errorf("left: got %s, want %s", got, want)
	}
}

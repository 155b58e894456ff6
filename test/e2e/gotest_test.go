package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/internal/need"
)

// testedDir is the module whose tests are run both ways.
const testedDir = "tested"

// goTest runs `go test` or `pvrun test` in the module tested, or in a copy of
// it.
func goTest(t *testing.T, dir string, here bool, env []string, args ...string) outcome {
	t.Helper()
	cmd := exec.Command("go", append([]string{"test", "-count=1"}, args...)...)
	if here {
		need.KVM(t)
		need.Count(1)
		cmd = exec.Command(pvrun, append([]string{"test", "-m", "1g"}, args...)...)
	}
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOMAXPROCS=1"), env...)
	return finish(t, cmd)
}

// copyTested is a copy of the module, to be written into.
func copyTested(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tested")
	if err := os.CopyFS(dir, os.DirFS(testedDir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	times    = regexp.MustCompile(`\(?[0-9]+\.[0-9]+m?s\b\)?`)
	figures  = regexp.MustCompile(`(?m)^(Benchmark\w+).*allocs/op$`)
	jsonTime = regexp.MustCompile(`"(Time|Elapsed)":("[^"]*"|[0-9.]+),?`)
)

// timeless is a test's output without what differs from run to run.
func timeless(s string) string {
	s = figures.ReplaceAllString(times.ReplaceAllString(s, "TIME"), "$1")
	return strings.ReplaceAll(jsonTime.ReplaceAllString(s, ""), ",}", "}")
}

// sameTest compares what go test and pvrun test print and how they end.
func sameTest(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	got, want := goTest(t, testedDir, true, env, args...), goTest(t, testedDir, false, env, args...)
	same(t, "stdout", timeless(got.stdout), timeless(want.stdout))
	same(t, "stderr", timeless(got.stderr), timeless(want.stderr))
	if got.code != want.code {
		t.Errorf("exit code: got %d, want %d\n%s", got.code, want.code, got.stderr)
	}
	return got
}

// TestGoTest runs tests both ways: what they see and print is the same.
func TestGoTest(t *testing.T) {
	t.Parallel()
	t.Run("verbose", func(t *testing.T) {
		out := sameTest(t, []string{"SOMETHING=x"}, "-v", "-bench=.", "-benchtime=10x", "./lib", "-args", "-word=w", "more")
		for _, part := range []string{"--- PASS: TestFiles", "../beside.txt: \"next to", "--- PASS: ExampleSum", "BenchmarkSum", "w [more] x"} {
			if !strings.Contains(out.stdout, part) {
				t.Errorf("no %q in:\n%s", part, out.stdout)
			}
		}
	})
	t.Run("packages", func(t *testing.T) { sameTest(t, nil, "-p=2", "-short", "-run=Fails|Passes|Args", "./...") })
	t.Run("json", func(t *testing.T) { sameTest(t, nil, "-json", "-run=Speaks|Files", "./lib") })
	t.Run("count and skip", func(t *testing.T) {
		sameTest(t, nil, "-v", "-count=2", "-skip=Burn|Art", "-failfast", "./lib")
	})
	t.Run("list", func(t *testing.T) { sameTest(t, nil, "-list=.", "./lib") })
	t.Run("exit", func(t *testing.T) { sameTest(t, []string{"EXIT=1"}, "-run=Exits", "./fails") })
	t.Run("coverage", func(t *testing.T) { sameTest(t, nil, "-cover", "-skip=Burn", "./lib") })
	t.Run("checkptr", func(t *testing.T) {
		sameTest(t, nil, "-v", "-run=Temp|Places", "-gcflags=all=-d=checkptr", "./lib")
		sameTest(t, []string{"GOFLAGS=-gcflags=all=-d=checkptr"}, "-v", "-run=Temp", "./lib")
	})
	t.Run("bubbles", func(t *testing.T) { sameTest(t, nil, "-v", "./bubble") })
	t.Run("trap mode", func(t *testing.T) {
		args := []string{"-v", "-skip=Burn|Art", "./lib"}
		got, want := goTest(t, testedDir, true, nil, append([]string{"--mode", "trap"}, args...)...), goTest(t, testedDir, false, nil, args...)
		same(t, "stdout", timeless(got.stdout), timeless(want.stdout))
		wants(t, got, want.code, got.stdout, "")
	})
	t.Run("no package", func(t *testing.T) { sameTest(t, nil, "./none") })
}

// TestGoTestCoverPackages covers packages by the tests of others.
func TestGoTestCoverPackages(t *testing.T) {
	t.Parallel()
	var profiles []string
	for _, here := range []bool{true, false} {
		file := filepath.Join(t.TempDir(), "cover.out")
		got := goTest(t, testedDir, here, nil, "-p=1", "-run=Double|Speaks", "-coverpkg=./...", "-coverprofile="+file, "./lib", "./two")
		profile, err := os.ReadFile(file)
		if got.code != 0 || err != nil {
			t.Fatalf("exit code %d, %v\n%s%s", got.code, err, got.stdout, got.stderr)
		}
		profiles = append(profiles, string(profile))
	}
	same(t, "cover.out", profiles[0], profiles[1])
	if !strings.Contains(profiles[0], "tested/two/two.go:7.29,7.57 1 1") {
		t.Errorf("got\n%s", profiles[0])
	}
}

// TestGoTestEnds checks ends that print addresses.
func TestGoTestEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, env, run, pkg, want string }{
		{"panic", "PANIC=1", "Panics", "./fails", "panic: it panics"},
		{"timeout", "HANG=1", "Hang", "./lib", "panic: test timed out after 300ms\n\trunning tests:\n\t\tTestHang"},
	} {
		got := goTest(t, testedDir, true, []string{test.env}, "-timeout=300ms", "-run="+test.run, test.pkg)
		if got.code != 1 || !strings.Contains(got.stdout, test.want) || !strings.Contains(got.stdout, "FAIL\texample.com/tested/") {
			t.Errorf("%s: exit code %d\n%s%s", test.name, got.code, got.stdout, got.stderr)
		}
	}
}

// TestGoTestFiles checks what is written to the host, and that nothing else is.
func TestGoTestFiles(t *testing.T) {
	t.Parallel()
	dir := copyTested(t)
	profiles := []string{"-cpuprofile=cpu.out", "-memprofile=mem.out", "-blockprofile=block.out", "-mutexprofile=mutex.out", "-trace=trace.out", "-coverprofile=cover.out"}
	got := goTest(t, dir, true, []string{"WRITE=new"}, append(profiles, "-v", "-artifacts", "-memprofilerate=1024", "./lib")...)
	if got.code != 0 || strings.Count(got.stdout, "read-only file system") != 4 {
		t.Fatalf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	for name, want := range map[string]string{"cpu.out": "tested/lib.Burn", "mem.out": "tested/lib.TestBurn"} {
		top := exec.Command("go", "tool", "pprof", "-top", "-sample_index=0", "lib.test", name)
		top.Dir = dir
		if out := finish(t, top); !strings.Contains(out.stdout, want) {
			t.Errorf("%s: no %s in\n%s%s", name, want, out.stdout, out.stderr)
		}
	}
	cover, err := os.ReadFile(dir + "/cover.out")
	if err != nil || !strings.Contains(string(cover), "lib.go:9.25,11.3 1 1") {
		t.Errorf("cover.out: %v\n%s", err, cover)
	}
	var made []string
	artifacts := 0
	filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		switch rel, _ := filepath.Rel(dir, name); {
		case filepath.Base(name) == "artifact.txt":
			artifacts++
		case !d.IsDir():
			made = append(made, rel)
		}
		return err
	})
	want := []string{"beside.txt", "block.out", "bubble/bubble_test.go", "cover.out", "cpu.out", "fails/fails_test.go", "go.mod", "lib/lib.go", "lib/lib_test.go",
		"lib/testdata/a.txt", "lib/testdata/deep/b.txt", "lib.test", "mem.out", "mutex.out", "trace.out", "two/two.go", "two/two_test.go"}
	slices.Sort(made)
	slices.Sort(want)
	if !slices.Equal(made, want) || artifacts != 1 {
		t.Errorf("got %d artifacts and files %q, want %q", artifacts, made, want)
	}
}

func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern)
	return found
}

// TestGoTestWritable lets tests write into their module and TMPDIR, but not where
// the go command works.
func TestGoTestWritable(t *testing.T) {
	t.Parallel()
	dir, tmp := copyTested(t), t.TempDir()
	got := goTest(t, dir, true, []string{"WRITE=new", "LEFT=left", "TMPDIR=" + tmp}, "--writable", "-v", "-run=Write|Temp", "./lib")
	if got.code != 0 || strings.Contains(got.stdout, "read-only") || strings.Contains(got.stdout, "go-build") {
		t.Fatalf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	for _, name := range []string{dir + "/lib/new", dir + "/lib/new.dir", dir + "/lib/testdata/a2.txt", tmp + "/left"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir + "/lib/testdata/deep/b.txt"); err == nil {
		t.Error("what was removed is there")
	}
}

// TestGoTestImages makes images of tests, and runs one where it has no files.
func TestGoTestImages(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if got := goTest(t, testedDir, true, nil, "-c", "-o", out+"/", "./..."); got != (outcome{}) {
		t.Fatalf("%+v", got)
	}
	need.Count(1)
	got := finish(t, command("run", out+"/fails.test", "-test.v", "-test.run=Passes"))
	if got.code != 0 || !strings.Contains(got.stdout, "--- PASS: TestPasses") {
		t.Errorf("%+v", got)
	}
	if got := finish(t, command("inspect", "-o", "json", out+"/lib.test")); !json.Valid([]byte(got.stdout)) {
		t.Errorf("%+v", got)
	}
}

// TestPlainGo has the go command itself run tests and programs in machines, as
// README.md says.
func TestPlainGo(t *testing.T) {
	t.Parallel()
	need.KVM(t)
	need.Count(2)
	cover := t.TempDir()
	script := `set -e
eval "$(pvrun env)"
go test -v -run='Files|Places' -exec 'pvrun exec -m 256m' ./lib
cd ../programs
GOCOVERDIR=` + cover + ` go run -cover -exec 'pvrun exec' ./cases env HOME`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = testedDir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(pvrun)+":"+os.Getenv("PATH"))
	got := finish(t, cmd)
	if got.code != 0 || !strings.Contains(got.stdout, "--- PASS: TestFiles") || !strings.Contains(got.stdout, `"HOME=`) {
		t.Errorf("%+v", got)
	}
	if len(glob(cover+"/covmeta.*")) != 1 || len(glob(cover+"/covcounters.*")) != 1 {
		t.Errorf("no coverage in %s", cover)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := goBuild(programsDir, plain, "./cases"); err != nil {
		t.Fatal(err)
	}
	wants(t, finish(t, command("exec", plain)), 125, "", "not linked for pvrun")
}

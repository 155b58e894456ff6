package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuild builds programs that are named and put together in all the ways
// that go build knows.
func TestBuild(t *testing.T) {
	vendored := hello(map[string]string{
		"go.mod":                         "module example.com/hello\n\ngo 1.26\n\nrequire example.org/dep v1.0.0\n",
		"main.go":                        "package main\n\nimport \"example.org/dep\"\n\nfunc main() { println(dep.Word) }\n",
		"vendor/modules.txt":             "# example.org/dep v1.0.0\n## explicit; go 1.26\nexample.org/dep\n",
		"vendor/example.org/dep/dep.go":  "package dep\n\nconst Word = \"vendored\"\n",
		"vendor/example.org/dep/LICENSE": "none\n",
	})
	workspace := map[string]string{
		"go.work":      "go 1.26\n\nuse (\n\t./app\n\t./lib\n)\n",
		"app/go.mod":   "module example.com/app\n\ngo 1.26\n",
		"app/main.go":  "package main\n\nimport \"example.com/lib\"\n\nfunc main() { println(lib.Word) }\n",
		"lib/go.mod":   "module example.com/lib\n\ngo 1.26\n",
		"lib/lib.go":   "package lib\n\nconst Word = \"workspace\"\n",
		"lib/other.go": "package lib\n",
	}
	third := hello(map[string]string{
		"go.mod":  "module example.com/hello\n\ngo 1.26.0\n\nrequire golang.org/x/sync v0.24.0\n",
		"go.sum":  sumOf(t, "golang.org/x/sync"),
		"main.go": "package main\n\nimport \"golang.org/x/sync/errgroup\"\n\nfunc main() {\n\tvar g errgroup.Group\n\tg.Go(func() error { println(\"third\"); return nil })\n\tg.Wait()\n}\n",
	})
	twoFiles := hello(map[string]string{
		"main.go":  "package main\n\nfunc main() { println(word) }\n",
		"other.go": "package main\n\nconst word = \"two files\"\n",
	})
	tests := []struct {
		name  string
		files map[string]string
		dir   string // below the files
		pkg   []string
		env   string
		want  string
	}{
		{"current folder", hello(nil), "", nil, "", "hello"},
		{"relative folder", hello(nil), "", []string{"./cmd/x"}, "", "x"},
		{"folder without dot", hello(nil), "", []string{"cmd/x"}, "", "x"},
		{"parent folder", hello(nil), "word", []string{".."}, "", "hello"},
		{"import path", hello(nil), "word", []string{"example.com/hello/cmd/x"}, "", "x"},
		{"go file", hello(nil), "", []string{"cmd/x/main.go"}, "", "x"},
		{"go files", twoFiles, "", []string{"main.go", "other.go"}, "", "two files"},
		{"vendored module", vendored, "", nil, "", "vendored"},
		{"workspace", workspace, "", []string{"./app"}, "", "workspace"},
		{"workspace import path", workspace, "lib", []string{"example.com/app"}, "", "workspace"},
		{"third-party module", third, "", nil, "", "third"},
		{"user's flags", hello(nil), "", nil, "GOFLAGS=-mod=readonly -buildmode=pie", "hello"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeFiles(t, test.files)
			before := snapshot(t, dir)
			cfg := testConfig(t, test.pkg...)
			cfg.Dir = filepath.Join(dir, test.dir)
			if test.env != "" {
				cfg.Env = append(cfg.Env, test.env)
			}
			res := mustBuild(t, cfg)
			if got := execute(t, res.Image); got != test.want+"\n" {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if after := snapshot(t, dir); after != before {
				t.Errorf("the user's tree has changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// TestBuildElsewhere builds a folder that belongs to another module than the
// working directory's.
func TestBuildElsewhere(t *testing.T) {
	dir := writeFiles(t, hello(nil))
	for _, pkg := range [][]string{{dir}, {filepath.Join(dir, "cmd/x")}, {filepath.Join(dir, "cmd/x/main.go")}} {
		execute(t, mustBuild(t, testConfig(t, pkg...)).Image)
	}
}

// sumOf is the lines of this module's go.sum about a module.
func sumOf(t *testing.T, module string) string {
	t.Helper()
	text, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, module+" ") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

func TestTagsAndLdflags(t *testing.T) {
	dir := writeFiles(t, hello(map[string]string{
		"main.go": "package main\n\nvar text = \"unset\"\n\nfunc main() { println(text, tagged) }\n",
		"on.go":   "//go:build special\n\npackage main\n\nconst tagged = true\n",
		"off.go":  "//go:build !special\n\npackage main\n\nconst tagged = false\n",
	}))
	cfg := testConfig(t, dir)
	cfg.Tags, cfg.Ldflags = "special", "-s -w -X main.text=set"
	if got := execute(t, mustBuild(t, cfg).Image); got != "set true\n" {
		t.Errorf("got %q", got)
	}
}

// TestSameBytes builds twice, in different places.
func TestSameBytes(t *testing.T) {
	rootfs := map[string]string{"etc/hosts": "127.0.0.1 localhost\n", "bin/x": "x", "link->": "etc/hosts"}
	var images [2][]byte
	for i := range images {
		cfg := testConfig(t, writeFiles(t, hello(nil)))
		cfg.RootFS = writeFiles(t, rootfs)
		cfg.CacheDir = filepath.Join(t.TempDir(), strings.Repeat("longer", i))
		var err error
		if images[i], err = os.ReadFile(mustBuild(t, cfg).Image); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the images differ")
	}
}

// TestTools runs the tools that read executables on an image.
func TestTools(t *testing.T) {
	cfg := testConfig(t, writeFiles(t, hello(nil)))
	cfg.RootFS = writeFiles(t, map[string]string{"a": "b"})
	image := mustBuild(t, cfg).Image
	for _, args := range [][]string{
		{"version", "-m", image}, {"tool", "nm", image}, {"tool", "objdump", "-s", "main.main", image},
	} {
		out, err := exec.Command("go", args...).CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("go %v: %v\n%s", args, err, out)
		}
	}
	addr2line := exec.Command("go", "tool", "addr2line", image)
	addr2line.Stdin = strings.NewReader("main.main\n")
	if out, err := addr2line.CombinedOutput(); err != nil {
		t.Errorf("go tool addr2line: %v\n%s", err, out)
	}
	readelf, err := exec.LookPath("readelf")
	if err != nil {
		t.Skip("the rest needs readelf")
	}
	out, err := exec.Command(readelf, "-aW", image).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("arning:")) || bytes.Contains(out, []byte("Error:")) {
		t.Errorf("readelf: %v\n%s", err, out)
	}
}

// TestUnsupported runs a program that asks for what a unikernel has not.
func TestUnsupported(t *testing.T) {
	image := mustBuild(t, testConfig(t, "./testdata/unsupported")).Image
	want, err := os.ReadFile("testdata/unsupported/want.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := execute(t, image); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBuildCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Build(ctx, testConfig(t, writeFiles(t, hello(nil)))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

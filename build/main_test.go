package build

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testCache is shared by the tests of a run, so that they derive one tree.
var testCache string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pvrun-build-")
	if err != nil {
		panic(err)
	}
	testCache = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// testConfig builds with a guest that runs on Linux: see testdata/native.
func testConfig(t *testing.T, pkg ...string) Config {
	t.Helper()
	env := append(os.Environ(), "GOFLAGS=", "GOWORK=", "GOTOOLCHAIN=local")
	return Config{Package: pkg, CacheDir: testCache, Env: env, sources: os.DirFS("testdata/native")}
}

// writeFiles makes a folder of files; a name that ends in "->" is a symbolic
// link to its text.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		link, isLink := strings.CutSuffix(name, "->")
		file := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if isLink {
			err = os.Symlink(text, file)
		} else {
			err = os.WriteFile(file, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// hello is a module with a program that prints its words.
func hello(more map[string]string) map[string]string {
	files := map[string]string{
		"go.mod":        "module example.com/hello\n\ngo 1.26\n",
		"main.go":       "package main\n\nimport \"example.com/hello/word\"\n\nfunc main() { println(word.Word) }\n",
		"word/word.go":  "package word\n\nconst Word = \"hello\"\n",
		"cmd/x/main.go": "package main\n\nfunc main() { println(\"x\") }\n",
	}
	for name, text := range more {
		files[name] = text
	}
	return files
}

// mustBuild builds and returns the image.
func mustBuild(t *testing.T, cfg Config) Result {
	t.Helper()
	var messages bytes.Buffer
	cfg.Stdout, cfg.Stderr = &messages, &messages
	if cfg.Output == "" {
		cfg.Output = filepath.Join(t.TempDir(), "image")
	}
	res, err := Build(context.Background(), cfg)
	if err != nil {
		t.Fatalf("build %v: %v\n%s", cfg.Package, err, messages.String())
	}
	return res
}

// execute runs an image on Linux and returns what it prints.
func execute(t *testing.T, image string) string {
	t.Helper()
	if err := os.Chmod(image, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(image).CombinedOutput()
	if err != nil {
		t.Fatalf("run %s: %v\n%s", image, err, out)
	}
	return string(out)
}

// snapshot describes every file below dir.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s.WriteString(name + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

package build

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pvrun/pvrun"
)

// TestWithoutModules builds where nothing can be fetched: programs without sockets,
// and those with them once it can be.
func TestWithoutModules(t *testing.T) {
	nothing := t.TempDir()
	cfg := Config{CacheDir: t.TempDir(), sources: pvrun.Sources}
	cfg.Dir = writeFiles(t, map[string]string{
		"go.mod":       "module example.com/x\n\ngo 1.26\n",
		"plain/x.go":   "package main\n\nfunc main() { println(1) }\n",
		"sockets/x.go": "package main\n\nimport \"net\"\n\nfunc main() { println(net.Dial) }\n",
	})
	build := func(name string, env ...string) (string, error) {
		var text bytes.Buffer
		cfg.Package, cfg.Output = []string{"./" + name}, filepath.Join(t.TempDir(), "image")
		cfg.Stdout, cfg.Stderr, cfg.Env = &text, &text, append(os.Environ(), env...)
		_, err := Build(context.Background(), cfg)
		return text.String(), err
	}
	offline := []string{"GOPROXY=off", "GOMODCACHE=" + nothing}
	if text, err := build("plain", offline...); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	_, err := build("sockets", offline...)
	if err == nil || !strings.Contains(err.Error(), "it imports net, and gvisor.dev/gvisor could not be fetched: ") ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("got error %q", err)
	}
	if text, err := build("sockets"); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestFetchSum refuses a module that is not what go.sum says.
func TestFetchSum(t *testing.T) {
	list, err := pinnedModules()
	if err != nil {
		t.Fatal(err)
	}
	list[1].Sum = "h1:AAAA"
	err = fetch(context.Background(), goTool(t), list)
	if err == nil || !strings.Contains(err.Error(), "has the checksum h1:") {
		t.Errorf("got error %v", err)
	}
}

// TestModulePatches: each pattern is where it was, and no module imports package net
// or x/sys afterwards.
func TestModulePatches(t *testing.T) {
	list, err := pinnedModules()
	if err == nil {
		err = fetch(context.Background(), goTool(t), list)
	}
	var sources []source
	if err == nil {
		sources, err = guestSources(pvrun.Sources)
	}
	tree := t.TempDir()
	if err == nil {
		err = copyModules(tree, list, sources)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range modulePatches {
		text, err := os.ReadFile(filepath.Join(tree, "src", "pvrun", "mod", p.file))
		if err != nil || strings.Contains(string(text), "\n\t\"net\"\n") {
			t.Errorf("%s: %v", p.file, err)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestModulesFile(t *testing.T) {
	list, err := parseModules(modulesText)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 10 {
		t.Errorf("got %d modules, want ten or more", len(list))
	}
	for _, bad := range []string{"example.com/m v1.0.0", "example.com/m v1.0.0 ./..."} {
		if _, err := parseModules(bad); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

// Not every word is a package.
func TestModuleWords(t *testing.T) {
	list, err := parseModules("a v1 h1:x disk -internal/lint -TestX -q:TestY\nb v1 h1:x disk ./p ./q\nc v1 h1:x ./p\n")
	if err != nil || len(list) != 3 {
		t.Fatalf("got %v, %v", list, err)
	}
	l := &lab{out: t.TempDir()}
	for i, want := range []struct{ packages, tmp string }{
		{"./...", "TMPDIR=" + filepath.Join(l.out, "tmp")},
		{"./p ./q", "TMPDIR=" + filepath.Join(l.out, "tmp")},
		{"./p", ""},
	} {
		env, err := list[i].environment(l)
		packages := strings.Join(list[i].packages, " ")
		if got := strings.Join(env, " "); err != nil || got != want.tmp || packages != want.packages {
			t.Errorf("%s: got %q, %q, %v, want %q, %q", list[i].path, packages, got, err, want.packages, want.tmp)
		}
	}
	if got := strings.Join(slices.Concat(list[0].without, list[0].skip), " "); got != "internal/lint TestX q:TestY" {
		t.Errorf("without: got %q", got)
	}
	for pkg, want := range map[string]string{"a": "TestX", "a/p": "TestX", "a/q": "TestX TestY"} {
		if got := strings.Join(list[0].skipped(pkg), " "); got != want {
			t.Errorf("skipped in %s: got %q, want %q", pkg, got, want)
		}
	}
	if list[0].inputs("a") != list[0].inputs("a/p") || list[0].inputs("a") == list[0].inputs("a/q") {
		t.Errorf("inputs: %q, %q, %q", list[0].inputs("a"), list[0].inputs("a/p"), list[0].inputs("a/q"))
	}
	if _, err := os.Stat(filepath.Join(l.out, "tmp")); err != nil {
		t.Error(err)
	}
}

// A module is copied once, whole and writable, and only with the right sum.
func TestFetch(t *testing.T) {
	cached := tree(t, "go.mod: module example.com/m\n", "sub/a_test.go: package sub\n")
	if err := os.Chmod(filepath.Join(cached, "go.mod"), 0o444); err != nil {
		t.Fatal(err)
	}
	// It stands in for the go command.
	bin := tree(t, "go: #!/bin/sh\necho '{\"Dir\": \""+cached+"\", \"Sum\": \"h1:good\"}'\n")
	if err := os.Chmod(filepath.Join(bin, "go"), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	l := &lab{out: t.TempDir()}
	if err := l.makeModule(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(l.out, "modules", "m", "src")
	m := module{path: "example.com/m", version: "v1.0.0", sum: "h1:bad"}
	err := m.fetch(t.Context(), l, dir)
	if err == nil || !strings.Contains(err.Error(), "h1:bad") {
		t.Errorf("a wrong sum: got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a wrong sum: the module is there")
	}
	m.sum = "h1:good"
	if err := m.fetch(t.Context(), l, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), nil, 0o666); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "sub", "a_test.go")); err != nil {
		t.Error(err)
	}
}

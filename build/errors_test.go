package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildErrors checks that every failure is one clear line, after go's own
// message where there is one.
func TestBuildErrors(t *testing.T) {
	goScript := func(version string) string {
		dir := writeFiles(t, map[string]string{"go": "#!/bin/sh\necho /opt/go\necho " + version + "\necho\n"})
		name := filepath.Join(dir, "go")
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	broken := hello(map[string]string{"main.go": "package main\n\nfunc main() {\n\tx := 1\n\tundefinedFunction()\n}\n"})
	cgo := hello(map[string]string{"main.go": "package main\n\n// int one() { return 1; }\nimport \"C\"\n\nfunc main() { println(C.one()) }\n"})
	cgoDep := hello(map[string]string{
		"word/word.go": "package word\n\nconst Word = text\n",
		"word/c.go":    "package word\n\nimport \"C\"\n\nconst text = \"c\"\n",
	})
	tests := []struct {
		name     string
		files    map[string]string
		change   func(*Config)
		want     string // of the error
		message  string // in go's output
		notFound bool
	}{
		{"does not compile", broken, nil, "go build failed", "main.go:4:2: declared and not used: x", false},
		{"does not compile, second message", broken, nil, "go build failed", "main.go:5:2: undefined: undefinedFunction", false},
		{"cgo", cgo, nil, "package example.com/hello needs cgo (main.go), which a unikernel does not have", "build constraints exclude", false},
		{"cgo in a file", cgo, func(c *Config) { c.Package = []string{"main.go"} }, "build main.go: needs cgo (main.go), which a unikernel does not have", "no Go source files", false},
		{"malformed path", hello(nil), func(c *Config) { c.Package = []string{"a b"} }, "build a b: go build failed", "malformed import path", false},
		{"output is a source", hello(nil), func(c *Config) { c.Output = filepath.Join(c.Dir, "main.go") }, "main.go: already exists and is not an image or object file", "", false},
		{"cgo in a dependency", cgoDep, nil, "package example.com/hello/word needs cgo (c.go)", "undefined: text", false},
		{"not main", hello(nil), func(c *Config) { c.Package = []string{"./word"} }, "build ./word: package example.com/hello/word is not a main package", "", false},
		{"no go", hello(nil), func(c *Config) { c.GoCommand = "no-such-go" }, "no go command: ", "", false},
		{"old go", hello(nil), func(c *Config) { c.GoCommand = goScript("go1.25.3") }, "go /opt/go: version go1.25.3 is not supported, use go1.26.x", "", false},
		{"new go", hello(nil), func(c *Config) { c.GoCommand = goScript("go1.260.1") }, "version go1.260.1 is not supported", "", false},
		{"no such folder", hello(nil), func(c *Config) { c.Package = []string{"./none"} }, "build ./none: no such file or directory", "", true},
		{"no such file", hello(nil), func(c *Config) { c.Package = []string{"none.go"} }, "build none.go: no such file or directory", "", true},
		{"no such import path", hello(nil), func(c *Config) { c.Package = []string{"example.com/hello/none"} }, "not found", "", true},
		{"not a package", hello(nil), func(c *Config) { c.Package = []string{"./go.mod"} }, "neither a folder nor a Go file", "", false},
		{"two packages", hello(nil), func(c *Config) { c.Package = []string{".", "./word"} }, "one package at a time", "", false},
		{"mixed files", hello(nil), func(c *Config) { c.Package = []string{"main.go", "x"} }, "x is not a Go file", "", false},
		{"no root file system", hello(nil), func(c *Config) { c.RootFS = "/none/such" }, "root file system /none/such: no such file or directory", "", false},
		{"root file system is a file", hello(nil), func(c *Config) { c.RootFS = "/etc/hosts" }, "root file system /etc/hosts: not a directory", "", false},
		{"output is a folder", hello(nil), func(c *Config) { c.Output = os.TempDir() }, "write " + os.TempDir(), "", false},
		{"output's folder is missing", hello(nil), func(c *Config) { c.Output = "/none/such/x" }, "write /none/such/x: no such file or directory", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Dir = writeFiles(t, test.files)
			cfg.Output = filepath.Join(t.TempDir(), "image")
			var messages bytes.Buffer
			cfg.Stdout, cfg.Stderr = &messages, &messages
			if test.change != nil {
				test.change(&cfg)
			}
			_, err := Build(context.Background(), cfg)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got error %q, want one line with %q", err, test.want)
			}
			if strings.Contains(messages.String(), "-buildmode") || !strings.Contains(messages.String(), test.message) {
				t.Errorf("got message %q, want %q in it", messages.String(), test.message)
			}
			if errors.Is(err, ErrNotFound) != test.notFound {
				t.Errorf("errors.Is(%v, ErrNotFound) = %v", err, !test.notFound)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(cfg.Output), "image")); err == nil {
				t.Error("there is an output")
			}
		})
	}
}

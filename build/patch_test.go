package build

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func installedGo(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestPatches applies each patch to the installed Go.
func TestPatches(t *testing.T) {
	if !supported(runtime.Version()) {
		t.Skipf("%s is not supported", runtime.Version())
	}
	root := installedGo(t)
	for _, p := range patches {
		src, err := os.ReadFile(filepath.Join(root, "src", p.file))
		if err != nil {
			t.Error(err)
			continue
		}
		out, err := p.apply(src)
		if err != nil {
			t.Error(err)
		}
		if got, want := bytes.Count(out, []byte("\n")), bytes.Count(src, []byte("\n")); got != want {
			t.Errorf("%s: %d lines became %d", p.file, want, got)
		}
	}
}

func TestPatchNotFound(t *testing.T) {
	tests := []struct {
		name, src string
		count     int
		want      string
	}{
		{"none", "nothing here\n", 0, `found 0 times, expected at least 1`},
		{"none of one", "nothing here\n", 1, `found 0 times, expected 1`},
		{"too many", "place\nplace\n", 1, `found 2 times, expected 1`},
	}
	for _, test := range tests {
		p := patch{file: "runtime/x.go", why: "a reason", pattern: "^place$", with: "other", count: test.count}
		_, err := p.apply([]byte(test.src))
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		for _, want := range []string{"runtime/x.go", `"^place$"`, "a reason", test.want} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want %s in it", test.name, err, want)
			}
		}
	}
}

// TestPatchedTree derives from a Go whose sources have moved on.
func TestPatchedTree(t *testing.T) {
	root := writeFiles(t, map[string]string{"VERSION": "go1.26.99\n", "src/runtime/sys_linux_amd64.s": "TEXT x(SB)\n\tRET\n"})
	g := goroot{installed: root, version: "go1.26.99"}
	cache := t.TempDir()
	err := g.derive(context.Background(), goTool(t), cache, os.DirFS("testdata/native"))
	if err == nil || !strings.Contains(err.Error(), "patch runtime/sys_linux_amd64.s") || !strings.Contains(err.Error(), "SYSCALL") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "goroot", "*-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// goTool is the go command on PATH.
func goTool(t *testing.T) tool {
	t.Helper()
	found, err := findGo("", os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

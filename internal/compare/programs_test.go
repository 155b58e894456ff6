package compare

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite programs.txt and testdata/*")

// TestPrograms makes sure that the copies are those of images/.
func TestPrograms(t *testing.T) {
	var b strings.Builder
	b.WriteString("The sources of the workloads, copied from images/ by `make golden`.\n" +
		"-- go.mod --\nmodule github.com/pvrun/pvrun/images\n\ngo 1.26.0\n")
	dirs := []string{"internal/ops"}
	for _, w := range Workloads() {
		if !slices.Contains(dirs, w.Program) {
			dirs = append(dirs, w.Program)
		}
	}
	for _, dir := range dirs {
		list, err := filepath.Glob(filepath.Join("../../images", dir, "*.go"))
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: no Go files, %v", dir, err)
		}
		for _, name := range list {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "-- %s/%s --\n%s", dir, filepath.Base(name), text)
		}
	}
	if *update {
		if err := os.WriteFile("programs.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("programs.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != b.String() {
		t.Error("programs.txt is not what images/ has: make golden copies it")
	}
}

// TestUnpack unpacks twice, the second time over a file that has changed.
func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	if err := unpack(dir); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "clock", "main.go")
	if err := os.WriteFile(name, []byte("package wrong\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unpack(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range files(programs) {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v, got\n%s", name, err, got)
		}
	}
	for _, w := range Workloads() {
		if _, err := os.Stat(filepath.Join(dir, w.Program, "main.go")); err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "tmp-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}

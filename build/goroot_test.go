package build

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun"
)

func TestSupported(t *testing.T) {
	for version, want := range map[string]bool{
		"go1.26": true, "go1.26.8": true, "go1.26.10": true, "go1.25.9": false, "go1.27": false,
		"go1.260": false, "devel": false, "": false,
	} {
		if got := supported(version); got != want {
			t.Errorf("supported(%q) = %v", version, got)
		}
	}
}

// TestDerive checks that a derived tree leaves the installed one alone, and
// that a tree is made once.
func TestDerive(t *testing.T) {
	root := installedGo(t)
	cache := t.TempDir()
	var wg sync.WaitGroup
	derived := make([]string, 3)
	for i := range derived {
		wg.Go(func() {
			g := goroot{installed: root, version: "go1.26.8"}
			if err := g.derive(context.Background(), goTool(t), cache, os.DirFS("testdata/native")); err != nil {
				t.Error(err)
			}
			derived[i] = g.derived
		})
	}
	wg.Wait()
	trees, _ := filepath.Glob(filepath.Join(cache, "goroot", "*-*"))
	if len(trees) != 1 || trees[0] != derived[0] || derived[0] != derived[2] {
		t.Fatalf("trees: %v, derived: %v", trees, derived)
	}
	patched := map[string]bool{}
	for _, p := range patches {
		patched[p.file] = true
	}
	for file := range patched {
		a, b := stat(t, filepath.Join(root, "src", file)), stat(t, filepath.Join(derived[0], "src", file))
		if a.Ino == b.Ino && a.Dev == b.Dev {
			t.Errorf("%s is the installed file", file)
		}
	}
	text, err := os.ReadFile(filepath.Join(derived[0], "src/pvrun/guest/guest.go"))
	if err != nil || !strings.Contains(string(text), `import "pvrun/hypercall"`) {
		t.Errorf("guest.go: %v\n%s", err, text)
	}
}

func stat(t *testing.T, name string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t)
}

// TestGuestImports builds lists of the tests of every package that the guest
// imports: one inside such a package must not import the guest.
func TestGuestImports(t *testing.T) {
	g := goroot{installed: installedGo(t), version: "go1.26.8"}
	if err := g.derive(context.Background(), goTool(t), testCache, pvrun.Sources); err != nil {
		t.Fatal(err)
	}
	list := func(args ...string) []string {
		cmd := exec.Command(g.command(), append([]string{"list", "-e"}, args...)...)
		cmd.Env = append(os.Environ(), g.settings()...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list %v: %v", args, err)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	imports := list("-deps", "pvrun/guest/sys", "pvrun/guest/socket")
	tests := list(append([]string{"-test", "-f", "{{.ImportPath}}: {{with .Error}}{{.}}{{end}}"}, imports...)...)
	for _, line := range tests {
		if name, wrong, _ := strings.Cut(line, ": "); wrong != "" {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	if len(imports) < 10 || len(tests) < len(imports) {
		t.Errorf("%d imports and %d tests", len(imports), len(tests))
	}
}

// TestResolveDerived finds the installed Go from inside a derived one.
func TestResolveDerived(t *testing.T) {
	root := installedGo(t)
	g := goroot{installed: root, version: "go1.26.8"}
	if err := g.derive(context.Background(), goTool(t), testCache, os.DirFS("testdata/native")); err != nil {
		t.Fatal(err)
	}
	tool, err := findGo("", append(os.Environ(), "GOROOT="+g.derived))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := resolveGo(context.Background(), tool, t.TempDir()); err != nil || got.installed != root {
		t.Errorf("got %+v, %v, want %s", got, err, root)
	}
}

// TestCopyLinkedTree copies a tree as distributions lay it out.
func TestCopyLinkedTree(t *testing.T) {
	from := writeFiles(t, map[string]string{
		"share/src/fmt/fmt.go": "fmt", "share/src/cmd/go/go.go": "cmd", "share/other/x.go": "x", "share/VERSION": "v",
		"lib/src->": "../share/src", "share/src/other->": "../other", "share/src/fmt/link.go->": "fmt.go",
	})
	to := filepath.Join(t.TempDir(), "src")
	if err := copyTree(context.Background(), to, filepath.Join(from, "lib/src")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"fmt/fmt.go": "fmt", "fmt/link.go": "fmt", "other/x.go": "x", "cmd/go/go.go": "cmd"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if info, err := os.Lstat(filepath.Join(to, "fmt/link.go")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("link.go: %v, %v", info, err)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"go-a", "go-b", "go-c", "go-d", "go-e"} {
		when := time.Now().Add(-time.Duration(i) * time.Hour)
		file := filepath.Join(dir, name)
		if err := os.Mkdir(file, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	prune(dir, "go-*", 2, 150*time.Minute)
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	// a and b are the newest two, c has been used within the age.
	if got := len(left); got != 3 {
		t.Errorf("left: %v", left)
	}
}

// TestUnprivileged builds from a tree that cannot be written, as a user who
// owns nothing but a cache.
func TestUnprivileged(t *testing.T) {
	const nobody = 65534
	if dir := os.Getenv("PVRUN_TEST_UNPRIVILEGED"); dir != "" {
		cfg := testConfig(t)
		cfg.Dir, cfg.CacheDir = dir, ""
		mustBuild(t, cfg)
		return
	}
	if os.Getuid() != 0 || testing.Short() {
		t.Skip("needs root, to be somebody else, and half a minute")
	}
	home, err := os.MkdirTemp("", "pvrun-home-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	tree := filepath.Join(home, "tree")
	if err := os.CopyFS(tree, os.DirFS(writeFiles(t, hello(nil)))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(home, "testdata"), os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "test"), exe, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tree, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(home, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(home, "tmp"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(home, "test"), "-test.run=^TestUnprivileged$")
	cmd.Dir = home
	tmp := filepath.Join(home, "tmp")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tmp, "TMPDIR=" + tmp, "PVRUN_TEST_UNPRIVILEGED=" + tree}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

package pvrun_test

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The rules of this house, executed. A rule that is in the way is changed
// here, with its reason.

const module = "github.com/pvrun/pvrun"

// source is a Go file of this module.
type source struct {
	name    string // slash-separated, from the root
	dir     string
	isTest  bool
	text    []byte
	imports []string
	syntax  *ast.File
}

// sources parses every Go file of the root module.
func sources(t *testing.T) (list []source) {
	t.Helper()
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || otherModule(name) {
			return
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s := source{name: name, dir: path.Dir(name), text: text, syntax: f,
			isTest: strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata/")}
		for _, spec := range f.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			s.imports = append(s.imports, p)
		}
		list = append(list, s)
	})
	return list
}

// walk calls f for every file but those of git and those that are built.
func walk(t *testing.T, f func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || name == "out") {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			f(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// otherModule reports whether a file lies below a go.mod that is not the root's.
func otherModule(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(path.Join(dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// in reports whether dir is one of the folders or below one.
func in(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

// own returns the folder of an import of this module.
func own(imported string) (dir string, ok bool) { return strings.CutPrefix(imported, module+"/") }

func TestImports(t *testing.T) {
	only := map[string][]string{
		"hypercall": {"unsafe"},
		"guest":     {"unsafe", "math/bits", "sync/atomic", module + "/hypercall"},
		"guest/fs":  {"unsafe", "cmp", "slices", "strconv", "strings", "sync", "sync/atomic"},
		// It also runs on the host: nothing of a machine, and no unsafe.
		"guest/fs/vol": {"cmp", "errors", "hash/crc32", "math/bits", "slices", "strconv", "strings", "sync", module + "/guest/fs"},
		"guest/sys":    {"unsafe", "sync", "sync/atomic", module + "/hypercall", module + "/guest", module + "/guest/fs", module + "/guest/fs/vol"},
	}
	for _, s := range sources(t) {
		for _, p := range s.imports {
			dir, isOwn := own(p)
			switch allowed := only[s.dir]; {
			case allowed != nil && !s.isTest && !slices.Contains(allowed, p):
				t.Errorf("%s imports %s; %s may import %q", s.name, p, s.dir, allowed)
			case !isOwn:
			case in(s.dir, "hv") && s.isTest && dir == "build": // to have a guest
			case in(s.dir, "hv") && in(dir, "guest", "build", "cmd"):
				t.Errorf("%s imports %s: the host knows guests by the contract alone", s.name, p)
			case in(s.dir, "guest") && in(dir, "hv", "build", "cmd", "internal"):
				t.Errorf("%s imports %s: a guest knows its host by the contract alone", s.name, p)
			case in(s.dir, "build") && in(dir, "hv", "guest", "cmd"):
				t.Errorf("%s imports %s: build makes files and nothing else", s.name, p)
			case in(dir, "cmd"):
				t.Errorf("%s imports %s: everything but text and flags is in a library", s.name, p)
			case in(s.dir, "hv/device") && !(s.isTest && dir == "hypercall"):
				t.Errorf("%s imports %s: a PC's devices know nothing of this machine", s.name, p)
			case in(s.dir, "hv/engine", "hv/disk", "internal/image", "internal/need") && dir != "hypercall":
				t.Errorf("%s imports %s", s.name, p)
			}
		}
	}
}

// Only the engine reaches for KVM. Block devices have ioctls of their own.
func TestEngineCalls(t *testing.T) {
	calls := regexp.MustCompile(`\bSYS_(IOCTL|PTRACE)\b`)
	for _, s := range sources(t) {
		if s.isTest || in(s.dir, "hv/kvm") || in(s.name, "hv/disk/device_unsafe.go", "hv/pagemap_unsafe.go") || s.dir == "." {
			continue
		}
		if found := calls.Find(s.text); found != nil {
			t.Errorf("%s: %s belongs in hv/kvm", s.name, found)
		}
	}
}

// Libraries have no flags, print nothing and do not exit.
func TestOnlyCommandsTalk(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest || in(s.dir, "cmd", "test", "internal/need") {
			continue
		}
		for _, p := range []string{"flag", "log", "github.com/spf13/cobra", "github.com/spf13/pflag"} {
			if slices.Contains(s.imports, p) {
				t.Errorf("%s imports %s", s.name, p)
			}
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			if pkg == nil || pkg.Obj != nil {
				return true
			}
			switch name := pkg.Name + "." + sel.Sel.Name; name {
			case "os.Exit", "fmt.Print", "fmt.Println", "fmt.Printf", "os.Stdout", "os.Stderr":
				t.Errorf("%s uses %s", s.name, name)
			}
			return true
		})
	}
}

// Files that are unsafe say so in their name; all of the guest and of the
// contract is.
func TestUnsafeNames(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest || in(s.dir, "guest", "hypercall", "test") || !slices.Contains(s.imports, "unsafe") {
			continue
		}
		if !strings.HasSuffix(s.name, "_unsafe.go") {
			t.Errorf("%s imports unsafe and is not named *_unsafe.go", s.name)
		}
	}
}

func TestSizes(t *testing.T) {
	const most, mostOfTest = 400, 500 // lines
	for _, s := range sources(t) {
		limit := most
		if s.isTest {
			limit = mostOfTest
		}
		if n := bytes.Count(s.text, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines; %d are allowed", s.name, n, limit)
		}
	}
}

// No drawers.
func TestNames(t *testing.T) {
	drawer := regexp.MustCompile(`(^|/)(utils?|common|misc|helpers?|shared)(_[a-z]+)*(\.go|/)`)
	walk(t, func(name string) {
		if drawer.MatchString(name) {
			t.Errorf("%s: say what is in it", name)
		}
	})
}

// Nothing in a file belongs to one machine.
func TestNoPlaces(t *testing.T) {
	place := regexp.MustCompile(`/(root|home/[a-z]+|work|tmp)/[a-z]|proxy\.golang\.` + `org`)
	allowed := regexp.MustCompile(`"/tmp/|/tmp/[a-z-]+"|/tmp/[a-z]`)
	walk(t, func(name string) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			for _, found := range place.FindAllString(lines.Text(), -1) {
				if !allowed.MatchString(found) {
					t.Errorf("%s:%d: names %s", name, n, found)
				}
			}
		}
	})
}

// Start-up is paid at every run: what `pvrun run` does not need is not linked.
func TestCommandIsSmall(t *testing.T) {
	for _, p := range strings.Fields(goOutput(t, "list", "-deps", "./cmd/pvrun")) {
		switch {
		case p == "net/http", p == "crypto/tls", p == "html/template", p == "expvar", p == "go/build", p == "go/parser",
			p == "testing", strings.HasPrefix(p, "image/"), strings.HasPrefix(p, "google.golang.org/"),
			strings.HasPrefix(p, "github.com/prometheus/"), strings.HasPrefix(p, "gonum.org/"),
			strings.HasPrefix(p, "github.com/google/go-containerregistry"), strings.HasPrefix(p, "gvisor.dev/"),
			strings.HasPrefix(p, "github.com/spf13/cobra/doc"), strings.HasPrefix(p, module+"/internal/vmtest"):
			t.Errorf("cmd/pvrun links %s", p)
		}
	}
}

// What answers messages needs no network: package net is a third of a small image, and
// a stack that every clone would have.
func TestFunctionIsSmall(t *testing.T) {
	for _, p := range strings.Fields(goOutput(t, "list", "-C", "function", "-tags", "pvrun", "-deps", ".")) {
		switch {
		case p == "net", strings.HasPrefix(p, "net/"), strings.HasPrefix(p, "crypto/"), p == "encoding/json":
			t.Errorf("function links %s", p)
		}
	}
	if list := goOutput(t, "list", "-C", "function", "-m", "all"); strings.Count(list, "\n") != 1 {
		t.Errorf("function needs %s", list)
	}
}

// The root module needs little. What only images, benchmarks or tests need has
// a go.mod of its own.
func TestDirectDependencies(t *testing.T) {
	allowed := []string{
		"github.com/cespare/xxhash/v2", // of a snapshot's pages
		"github.com/hashicorp/go-multierror",
		"github.com/spf13/cobra",
		"github.com/spf13/pflag", // of cobra's commands
		"github.com/u-root/u-root",
		"github.com/vishvananda/netlink", // TAPs and bridges
		"golang.org/x/arch",
		"golang.org/x/sync",
		"golang.org/x/sys",
		"gvisor.dev/gvisor", // guest/socket; no host program links it
		"golang.org/x/time", // the rate of a NIC
	}
	text := goOutput(t, "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all")
	for _, p := range strings.Fields(text) {
		if !slices.Contains(allowed, p) {
			t.Errorf("go.mod requires %s", p)
		}
	}
}

func goOutput(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %q: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// The first screen of the README has the two commands, and CI does the second.
func TestCommands(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	first := strings.Join(lines[:min(40, len(lines))], "\n")
	for _, command := range []string{"go run ./cmd/pvrun run ./images/hello", "make test"} {
		if !strings.Contains(first, "\n    "+command+"\n") {
			t.Errorf("README.md: no %q in a line of its own among the first 40", command)
		}
	}
	ci, err := os.ReadFile(".ci/run")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(ci), "\nmake test\n") {
		t.Error(".ci/run does not do what README.md says")
	}
}

func TestMakefile(t *testing.T) {
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range strings.Fields("help build images run test e2e test-svm durability fuzz bench conformance sample sample-trap trade-off fmt vet lint golden check ci clean") {
		if !regexp.MustCompile(`(?m)^` + target + `:.* ## `).Match(text) {
			t.Errorf("Makefile: no target %s with a line of help", target)
		}
	}
}

// A test that looks for KVM by itself skips in silence.
func TestSkipsShow(t *testing.T) {
	hidden := regexp.MustCompile(`PVRUN_KVM"|Skipf?\([^)]*KVM`)
	for _, s := range sources(t) {
		uses := slices.Contains(s.imports, module+"/internal/need") || slices.Contains(s.imports, module+"/internal/vmtest")
		switch {
		case !s.isTest || in(s.dir, "internal/need") || s.dir == ".":
		case hidden.Match(s.text):
			t.Errorf("%s: skips tests without KVM by itself; package need says so aloud", s.name)
		case uses && !hasMain(t, s.dir):
			t.Errorf("%s: its package has no TestMain with need.Main", s.name)
		}
	}
}

func hasMain(t *testing.T, dir string) bool {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(name string) bool {
		text, err := os.ReadFile(name)
		return err == nil && bytes.Contains(text, []byte("need.Main(m)"))
	})
}

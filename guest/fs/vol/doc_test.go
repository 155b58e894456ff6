package vol

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	constRow = regexp.MustCompile("^\\| `(\\w+)` \\| ([^|]+) \\|")
	fieldRow = regexp.MustCompile(`^\| (\d+) \| `)
)

// exported are the package's constants, from format.go.
func constants(t *testing.T) *types.Scope {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "format.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		g, ok := d.(*ast.GenDecl)
		return !ok || g.Tok != token.CONST
	})
	f.Imports = nil
	pkg, err := (&types.Config{Importer: importer.Default()}).Check("vol", files, []*ast.File{f}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg.Scope()
}

// TestDocument compares docs/volume.md with the constants: each exported one is
// there with its value, and so is the offset of each field.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../../docs/volume.md")
	if err != nil {
		t.Fatal(err)
	}
	scope := constants(t)
	told, section := map[string]bool{"Version": true}, ""
	fields := map[string][]string{}
	for n, line := range strings.Split(string(text), "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if m := constRow.FindStringSubmatch(line); m != nil {
			told[m[1]] = true
			checkConst(t, n+1, scope, m[1], m[2])
		} else if m := fieldRow.FindStringSubmatch(line); m != nil {
			fields[section] = append(fields[section], m[1])
		}
	}
	if !strings.Contains(string(text), "\nVersion: `Version` = "+scope.Lookup("Version").(*types.Const).Val().String()+".") {
		t.Error("the version is not the code's")
	}
	for _, name := range scope.Names() {
		if token.IsExported(name) && !told[name] {
			t.Errorf("%s is not in the document", name)
		}
	}
	for section, prefix := range map[string]string{"The superblock": "super", "Pointers and trees": "pointer",
		"The inode file": "inode", "Folders": "entry", "The bitmap": "slot"} {
		checkOffsets(t, scope, section, prefix, fields[section])
	}
}

func checkConst(t *testing.T, line int, scope *types.Scope, name, text string) {
	t.Helper()
	c, ok := scope.Lookup(name).(*types.Const)
	if !ok {
		t.Errorf("line %d: there is no constant %s", line, name)
		return
	}
	if got := c.Val().ExactString(); got != text {
		t.Errorf("line %d: %s is %s, not %s", line, name, got, text)
	}
}

// checkOffsets finds each constant whose name begins so in the section's rows.
func checkOffsets(t *testing.T, scope *types.Scope, section, prefix string, rows []string) {
	t.Helper()
	for _, name := range scope.Names() {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || rest == "" || rest[0] < 'A' || rest[0] > 'Z' || rest == "TypeShift" {
			continue
		}
		c := scope.Lookup(name).(*types.Const)
		if v := constant.ToInt(c.Val()).ExactString(); !slices.Contains(rows, v) {
			t.Errorf("%s: no row for %s at %s", section, name, v)
		}
	}
}

package hypercall

import (
	"flag"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/abi.golden")

// contract is the package, read from its source and laid out as the compiler
// does.
func contract(t *testing.T) (*types.Package, types.Sizes) {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	sizes := types.SizesFor("gc", "amd64")
	cfg := types.Config{Importer: importer.Default(), Sizes: sizes}
	pkg, err := cfg.Check("hypercall", fset, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg, sizes
}

// describe is the whole contract as text: the version, every constant with its
// value, every structure with its sizes and offsets.
func describe(t *testing.T) string {
	t.Helper()
	pkg, sizes := contract(t)
	scope := pkg.Scope()
	var consts, structs []string
	for _, name := range scope.Names() {
		switch o := scope.Lookup(name).(type) {
		case *types.Const:
			consts = append(consts, fmt.Sprintf("const %s %s = %s", name, typeName(o.Type()), value(o.Val())))
		case *types.TypeName:
			if s, ok := o.Type().Underlying().(*types.Struct); ok {
				structs = append(structs, layout(name, s, sizes))
			}
		case *types.Var:
			if name != "callNames" {
				t.Errorf("the contract has a variable, %s", name)
			}
		}
	}
	for i := range CallEnd {
		consts = append(consts, fmt.Sprintf("call %d %s", i, i))
	}
	return fmt.Sprintf("version %d\n%s\n%s\n", Version, strings.Join(consts, "\n"), strings.Join(structs, "\n"))
}

func typeName(t types.Type) string {
	return types.TypeString(t, func(*types.Package) string { return "" })
}

func value(v constant.Value) string {
	if v.Kind() == constant.Int && constant.Sign(v) >= 0 {
		if n, ok := constant.Uint64Val(v); ok && n > 4096 {
			return fmt.Sprintf("%#x", n)
		}
	}
	return v.ExactString()
}

func layout(name string, s *types.Struct, sizes types.Sizes) string {
	fields := make([]*types.Var, s.NumFields())
	for i := range fields {
		fields[i] = s.Field(i)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "struct %s size %d align %d", name, sizes.Sizeof(s), sizes.Alignof(s))
	for i, off := range sizes.Offsetsof(fields) {
		fmt.Fprintf(&b, "\n\t%4d %2d %s %s", off, sizes.Sizeof(fields[i].Type()), fields[i].Name(), typeName(fields[i].Type()))
	}
	return b.String()
}

// TestGolden fails when the contract changes. A change is its own commit: it
// raises Version, writes the golden anew (go test ./hypercall -update) and has
// a line in docs/abi.md and the change log.
func TestGolden(t *testing.T) {
	const file = "testdata/abi.golden"
	got := describe(t)
	old, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if string(old) == got {
		return
	}
	oldVersion, _, _ := strings.Cut(string(old), "\n")
	if newVersion, _, _ := strings.Cut(got, "\n"); len(old) > 0 && oldVersion == newVersion {
		t.Errorf("the contract has changed and its version has not (%s):\n%s", newVersion, diff(string(old), got))
		if released {
			return
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !t.Failed() {
		t.Errorf("%s is of another version: go test ./hypercall -update", file)
	}
}

// released is true from the first release on: until then the version may still
// change, and -update writes it.
const released = false

func diff(old, new string) string {
	a, b := strings.Split(old, "\n"), strings.Split(new, "\n")
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// TestShape holds the rules for structures: fixed widths, no holes, sizes that
// are multiples of 8, and no pointers.
func TestShape(t *testing.T) {
	pkg, sizes := contract(t)
	for _, name := range pkg.Scope().Names() {
		o, ok := pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		s, ok := o.Type().Underlying().(*types.Struct)
		if !ok {
			continue
		}
		if n := sizes.Sizeof(s); n%8 != 0 {
			t.Errorf("%s has %d bytes", name, n)
		}
		checkFields(t, name, s, sizes)
	}
}

func checkFields(t *testing.T, name string, s *types.Struct, sizes types.Sizes) {
	t.Helper()
	var fields []*types.Var
	for f := range s.Fields() {
		fields = append(fields, f)
	}
	end := int64(0)
	for i, off := range sizes.Offsetsof(fields) {
		if off != end {
			t.Errorf("%s.%s: a hole of %d bytes before it", name, fields[i].Name(), off-end)
		}
		end = off + sizes.Sizeof(fields[i].Type())
		if !fixed(fields[i].Type()) {
			t.Errorf("%s.%s is a %v", name, fields[i].Name(), fields[i].Type())
		}
	}
	if n := sizes.Sizeof(s); n != end {
		t.Errorf("%s: a hole of %d bytes at the end", name, n-end)
	}
}

// fixed says whether a type has the same form on both sides.
func fixed(typ types.Type) bool {
	switch u := typ.Underlying().(type) {
	case *types.Basic:
		switch u.Kind() {
		case types.Uint8, types.Uint16, types.Uint32, types.Uint64, types.Int8, types.Int16, types.Int32, types.Int64:
			return true
		}
	case *types.Array:
		return fixed(u.Elem())
	case *types.Struct:
		for f := range u.Fields() {
			if !fixed(f.Type()) {
				return false
			}
		}
		return true
	}
	return false
}

// TestImports: the contract depends on nothing.
func TestImports(t *testing.T) {
	pkg, _ := contract(t)
	for _, p := range pkg.Imports() {
		if p.Path() != "unsafe" {
			t.Errorf("the contract imports %s", p.Path())
		}
	}
}

func TestStrings(t *testing.T) {
	seen := map[string]bool{}
	for c := Call(1); c < CallEnd; c++ {
		if s := c.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("call %d is called %q", c, s)
		} else {
			seen[s] = true
		}
	}
	for _, c := range []Call{0, CallEnd, 1 << 63} {
		if s := c.String(); s != "unknown" {
			t.Errorf("call %d is called %q", uint64(c), s)
		}
	}
	for f, want := range map[Feature]string{
		0: "", FeatureConsole: "console", FeatureConsole | FeatureTrapMode: "console,trap", 1 << 63: "bit63",
		FeaturesKnown: "console,hostfile,suspend,alias,jit,block,net,trap,message,stream",
	} {
		if got := f.String(); got != want {
			t.Errorf("features %#x: %q, want %q", uint64(f), got, want)
		}
	}
}

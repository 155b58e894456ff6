package hypercall

import (
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	constRow  = regexp.MustCompile("^\\| `(\\w+)` \\| ([^|]+) \\|")
	callRow   = regexp.MustCompile(`^\| (\d+) \| ([a-z_]+) \|`)
	structRow = regexp.MustCompile(`^\| (\d+) \| (\d+) \| (\w+) \| ([^|]+) \|`)
	structTop = regexp.MustCompile("^### `(\\w+)`, (\\d+) bytes$")
	codeWord  = regexp.MustCompile("`([A-Z]\\w+)`")
)

// TestDocument compares docs/abi.md with the package: every constant, call and
// structure is there, and what is there is right.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/abi.md")
	if err != nil {
		t.Fatal(err)
	}
	pkg, sizes := contract(t)
	consts, calls, structs := map[string]bool{"Version": true}, map[Call]bool{}, map[string]string{}
	open := ""
	for n, line := range strings.Split(string(text), "\n") {
		if m := structTop.FindStringSubmatch(line); m != nil {
			open = m[1]
			structs[open] = m[2]
		} else if strings.HasPrefix(line, "#") || line == "| constant | value | meaning |" {
			open = ""
		}
		if m := constRow.FindStringSubmatch(line); m != nil {
			consts[m[1]] = true
			checkConst(t, n+1, pkg.Scope(), m[1], strings.TrimSpace(m[2]))
		} else if m := structRow.FindStringSubmatch(line); m != nil && open != "" {
			structs[open] += "\n" + strings.Join(m[1:], " ")
		} else if m := callRow.FindStringSubmatch(line); m != nil {
			nr, _ := strconv.Atoi(m[1])
			calls[Call(nr)] = true
			if got := Call(nr).String(); got != m[2] {
				t.Errorf("line %d: call %d is %s, not %s", n+1, nr, got, m[2])
			}
		}
		checkWords(t, n+1, pkg.Scope(), line)
	}
	if want := fmt.Sprintf("Version: `Version` = %d.", Version); !strings.Contains(string(text), want) {
		t.Errorf("the document does not say %q", want)
	}
	for c := Call(1); c < CallEnd; c++ {
		if !calls[c] {
			t.Errorf("call %d, %v, is not in the document", c, c)
		}
	}
	for _, name := range pkg.Scope().Names() {
		o := pkg.Scope().Lookup(name)
		if _, ok := o.(*types.Const); ok && token.IsExported(name) && !strings.HasPrefix(name, "Call") && !consts[name] {
			t.Errorf("the constant %s is not in the document", name)
		}
		if s, ok := o.Type().Underlying().(*types.Struct); ok && structs[name] != documented(s, sizes) {
			t.Errorf("the structure %s is not in the document as it is:\n%s", name, documented(s, sizes))
		}
	}
}

// checkConst compares a row's value.
func checkConst(t *testing.T, line int, scope *types.Scope, name, text string) {
	t.Helper()
	c, ok := scope.Lookup(name).(*types.Const)
	if !ok {
		t.Errorf("line %d: there is no constant %s", line, name)
		return
	}
	kind := token.INT
	if strings.HasPrefix(text, `"`) {
		kind = token.STRING
	}
	if v := constant.MakeFromLiteral(text, kind, 0); !constant.Compare(v, token.EQL, c.Val()) {
		t.Errorf("line %d: %s is %v, not %s", line, name, c.Val(), text)
	}
}

// checkWords finds names in code style that mean nothing.
func checkWords(t *testing.T, line int, scope *types.Scope, text string) {
	t.Helper()
	for _, m := range codeWord.FindAllStringSubmatch(text, -1) {
		known := scope.Lookup(m[1]) != nil
		for _, s := range []string{"SharedInfo", "VCPUInfo", "StartInfo", "UpcallArgs"} {
			known = known || hasField(scope, s, m[1])
		}
		if !known {
			t.Errorf("line %d: nothing is called %s", line, m[1])
		}
	}
}

func hasField(scope *types.Scope, name, field string) bool {
	for f := range scope.Lookup(name).Type().Underlying().(*types.Struct).Fields() {
		if f.Name() == field {
			return true
		}
	}
	return false
}

// documented is a structure as the document's rows spell it.
func documented(s *types.Struct, sizes types.Sizes) string {
	var fields []*types.Var
	for f := range s.Fields() {
		fields = append(fields, f)
	}
	text := fmt.Sprint(sizes.Sizeof(s))
	for i, off := range sizes.Offsetsof(fields) {
		f := fields[i]
		text += fmt.Sprintf("\n%d %d %s %s", off, sizes.Sizeof(f.Type()), f.Name(), typeName(f.Type()))
	}
	return text
}
